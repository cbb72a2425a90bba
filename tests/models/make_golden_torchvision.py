"""Writes `golden_*.npz`: what torchvision's networks return for weights made from their names.

Needs torch and torchvision (made with 2.13.0 and 0.28.0); the tests need only `fill`, `image`,
`STEPS`.

    python tests/models/make_golden_torchvision.py
"""

import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
STEPS = {
    "c1": (4, 8),
    "c2": (2, 16),
    "c3": (2, 16),
    "c4": (2, 32),
    "c5": (2, 64),
    "aspp": (2, 8),
}
"""Every so many rows and columns, and every so many channels, are kept of a feature map."""


def image(name: str) -> np.ndarray:
    """Returns 1 × 33 × 297 × 3: at stride 8 still wider than the widest rate, 36."""
    return _rng(name).normal(size=(1, 33, 297, 3)).astype(np.float32)


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the tensor that torchvision calls `name`, in PyTorch's layout."""
    rng = _rng(name)
    if len(shape) == 4:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    if name.endswith(("weight", "running_var")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return rng.normal(0, 0.2, shape).astype(np.float32)


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array."""
    pixels, channels = STEPS.get(name, (8, 1))
    return array[:, ::pixels, ::pixels, ::channels]


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def main() -> None:
    """Writes both files."""
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
    from torchvision.models import resnet18
    from torchvision.models.segmentation import deeplabv3_resnet50

    deeplab = deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    )
    taps = {"aspp": deeplab.classifier[0], "c1": deeplab.backbone.relu}
    taps |= {f"c{i + 1}": deeplab.backbone[f"layer{i}"] for i in (1, 2, 3, 4)}
    _write("deeplab_v3_resnet50", deeplab, taps)
    resnet = resnet18(weights=None)
    _write(
        "resnet18", resnet, {f"c{i + 1}": getattr(resnet, f"layer{i}") for i in (1, 2, 3, 4)}
    )


def _write(file: str, model, taps: dict) -> None:
    import torch

    state = model.state_dict()
    model.load_state_dict(
        {
            name: tensor
            if tensor.ndim == 0
            else torch.from_numpy(fill(name, tuple(tensor.shape)))
            for name, tensor in state.items()
        }
    )
    arrays = {}
    for name, module in taps.items():
        keep = lambda _, __, output, name=name: arrays.__setitem__(name, output)
        module.register_forward_hook(keep)
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(image(file)).permute(0, 3, 1, 2))
    if isinstance(outputs, dict):
        arrays |= outputs
    kept = {k: sample(k, v.permute(0, 2, 3, 1).numpy()) for k, v in arrays.items()}
    np.savez_compressed(FOLDER / f"golden_{file}.npz", **kept)


if __name__ == "__main__":
    main()
