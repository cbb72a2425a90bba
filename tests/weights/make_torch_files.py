"""Writes what the tests of weights need of PyTorch: two small files, and torchvision's names.

`tensors.pth` and `tensors_legacy.pth` hold what `tensors` says in PyTorch's two formats;
`torchvision_names.json.gz` has {network: {tensor: shape}}. Needs torch and torchvision (made
with 2.13.0 and 0.28.0); the tests need only `tensors`.

    python tests/weights/make_torch_files.py
"""

import gzip
import json
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
CLASSIFIERS = (
    *("resnet18", "resnet50", "vgg16", "vgg16_bn", "densenet121"),
    *("mobilenet_v3_large", "mobilenet_v3_small"),
)
SEGMENTATION = ("deeplabv3_resnet50", "fcn_resnet50", "deeplabv3_mobilenet_v3_large")


def tensors() -> dict[str, np.ndarray]:
    """Returns what both files hold, in float32; `half` and `bfloat16` are saved as such."""
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {
        "whole": whole,
        "transposed": whole.transpose(2, 0, 1),
        "part": whole[1:, :2],
        "half": whole / 8,
        "bfloat16": whole - 12,
        "scalar": np.float32(7),
        "none": np.zeros((0, 3), np.float32),
    }


def main() -> None:
    """Writes the three files."""
    import torch

    found = {name: torch.from_numpy(np.array(array)) for name, array in tensors().items()}
    # Two views of a storage that is written once, and in another order.
    found["transposed"] = found["whole"].permute(2, 0, 1)
    found["part"] = found["whole"][1:, :2]
    found["half"], found["bfloat16"] = found["half"].half(), found["bfloat16"].bfloat16()
    found["whole"] = torch.nn.Parameter(found["whole"])
    torch.save({"state_dict": found, "epoch": 3}, FOLDER / "tensors.pth")
    torch.save(found, FOLDER / "tensors_legacy.pth", _use_new_zipfile_serialization=False)
    text = json.dumps({name: _shapes(model) for name, model in _torchvision().items()})
    data = gzip.compress(text.encode(), mtime=0)
    (FOLDER / "torchvision_names.json.gz").write_bytes(data)


def _torchvision() -> dict:
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
    from torchvision import models

    no_weights = {"weights": None, "weights_backbone": None, "num_classes": 21}
    # Shapes only: no weight is drawn.
    with torch.device("meta"):
        found = {name: getattr(models, name)(weights=None) for name in CLASSIFIERS}
        for name in SEGMENTATION:
            found[name] = getattr(models.segmentation, name)(**no_weights, aux_loss=True)
        name = "lraspp_mobilenet_v3_large"
        found[name] = getattr(models.segmentation, name)(**no_weights)
    return found


def _shapes(model) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    main()
