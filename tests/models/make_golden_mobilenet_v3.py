"""Writes `golden_mobilenet_v3.npz`: what torchvision's MobileNetV3 networks return.

Weights are made from their names as in `make_golden_torchvision.py`. Needs torch and
torchvision (made with 2.13.0 and 0.28.0); the tests need only `image`, `sample`.

    python tests/models/make_golden_mobilenet_v3.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
LARGE = {"c1": 0, "c2": 2, "c3": 4, "c4": 7, "c5": 16}
SMALL = {"c1": 0, "c2": 1, "c3": 2, "c4": 4, "c5": 12}
STEPS = {"c1": (4, 4), "c2": (4, 4), "c3": (2, 8), "c4": (1, 16), "c5": (1, 32), "aspp": (2, 8)}


def image() -> np.ndarray:
    """Returns 1 × 33 × 129 × 3."""
    return MAKER["image"]("mobilenet_v3")[:, :, :129]


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array."""
    pixels, channels = STEPS.get(name, (8, 1))
    return array[:, ::pixels, ::pixels, ::channels]


def main() -> None:
    """Writes the file."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    # torchvision's Python code expects its C++ operators to exist; none is called here.
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    ):
        library.define(schema)
    from torchvision.models import mobilenet_v3_small
    from torchvision.models.segmentation import (
        deeplabv3_mobilenet_v3_large,
        lraspp_mobilenet_v3_large,
    )

    options = {"weights": None, "weights_backbone": None, "num_classes": 21}
    lraspp = lraspp_mobilenet_v3_large(**options)
    deeplab = deeplabv3_mobilenet_v3_large(aux_loss=True, **options)
    small = mobilenet_v3_small(weights=None).features
    layers = {k: lraspp.backbone[str(i)] for k, i in LARGE.items()}
    arrays = {
        **_outputs("lraspp", lraspp, layers),
        **_outputs("deeplab", deeplab, {"aspp": deeplab.classifier[0]}),
        **_outputs("small", small, {k: small[i] for k, i in SMALL.items() if k != "c5"}),
    }
    np.savez_compressed(FOLDER / "golden_mobilenet_v3.npz", **arrays)


def _outputs(prefix: str, model, taps: dict) -> dict[str, np.ndarray]:
    import torch

    state = model.state_dict()
    filled = {
        name: tensor
        if tensor.ndim == 0
        else torch.from_numpy(MAKER["fill"](name, tuple(tensor.shape)))
        for name, tensor in state.items()
    }
    model.load_state_dict(filled)
    arrays = {}
    for name, module in taps.items():
        keep = lambda _, __, output, name=name: arrays.__setitem__(name, output)
        module.register_forward_hook(keep)
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(image()).permute(0, 3, 1, 2))
    arrays |= outputs if isinstance(outputs, dict) else {"c5": outputs}
    to_bhwc = lambda tensor: tensor.permute(0, 2, 3, 1).numpy()
    return {f"{prefix}/{k}": sample(k, to_bhwc(v)) for k, v in arrays.items()}


if __name__ == "__main__":
    main()
