"""Writes `golden_resnet*.npz`: what torchvision's networks return for weights made from names.

ResNet-101 and ResNet-50 at output stride 8 under DeepLab v3's and FCN's heads, which share one
backbone, as its weights are those of its names; ResNet-18 at output stride 32. Needs torch and
torchvision (made with 2.13.0 and 0.28.0); the tests need only `image` and `sample`.

    python tests/models/make_golden_torchvision.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
FILL = runpy.run_path(str(FOLDER.parent / "fill.py"))
SIZES = {"resnet101": (33, 297), "resnet50": (33, 65)}
"""Rows and columns: the first is at stride 8 still wider than the widest rate, 36."""
STEPS = {
    "c1": (4, 8),
    "c2": (4, 16),
    "c3": (2, 16),
    "c4": (2, 32),
    "c5": (2, 64),
    "aspp": (2, 8),
    "out": (8, 2),
    "fcn": (8, 2),
    "aux": (8, 2),
}
"""Every so many rows and columns, and every so many channels, are kept of a feature map."""


def image(name: str) -> np.ndarray:
    """Returns one image b h w c."""
    height, width = SIZES.get(name, (33, 297))
    return FILL["generator"](name).normal(size=(1, height, width, 3)).astype(np.float32)


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array."""
    pixels, channels = STEPS.get(name, (8, 1))
    return array[:, ::pixels, ::pixels, ::channels]


def declare_operators():
    """Lets torchvision's Python code be imported without its C++ operators; none is called.

    Returns what declares them, as long as it lives.
    """
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    ):
        library.define(schema)
    return library


def filled(model):
    """Returns the torch module in evaluation, every tensor made from its name."""
    import torch

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim:
                tensor.copy_(torch.from_numpy(FILL["fill"](name, tuple(tensor.shape))))
    return model.eval()


def outputs(model, taps: dict, x: np.ndarray) -> dict[str, np.ndarray]:
    """Returns, b h w c, what the modules `taps` return, and the model's own outputs by name."""
    import torch

    arrays = {}
    for name, module in taps.items():
        # A later layer may overwrite its input.
        keep = lambda _, __, output, name=name: arrays.__setitem__(name, output.clone())
        module.register_forward_hook(keep)
    with torch.no_grad():
        answer = model(torch.from_numpy(x).permute(0, 3, 1, 2))
    arrays |= answer if isinstance(answer, dict) else {}
    return {k: v.permute(0, 2, 3, 1).numpy() for k, v in arrays.items()}


def main() -> None:
    """Writes the three files."""
    declared = declare_operators()
    from torchvision.models import resnet18, segmentation

    options = {"weights": None, "weights_backbone": None, "num_classes": 21, "aux_loss": True}
    for name in SIZES:
        deeplab = filled(getattr(segmentation, f"deeplabv3_{name}")(**options))
        taps = _levels(deeplab.backbone) | {"aspp": deeplab.classifier[0]}
        arrays = outputs(deeplab, taps, image(name))
        fcn = outputs(filled(getattr(segmentation, f"fcn_{name}")(**options)), {}, image(name))
        assert np.array_equal(fcn["aux"], arrays["aux"])
        _write(name, arrays | {"fcn": fcn["out"]})
    resnet = filled(resnet18(weights=None))
    _write("resnet18", outputs(resnet, _levels(resnet), image("resnet18")))
    del declared


def _levels(resnet) -> dict:
    return {"c1": resnet.relu} | {
        f"c{i}": getattr(resnet, f"layer{i - 1}") for i in (2, 3, 4, 5)
    }


def _write(file: str, arrays: dict[str, np.ndarray]) -> None:
    kept = {k: sample(k, v) for k, v in arrays.items()}
    np.savez_compressed(FOLDER / f"golden_{file}.npz", **kept)


if __name__ == "__main__":
    main()
