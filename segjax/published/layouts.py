"""A checkpoint of torchvision's, timm's or our own: recognised, renamed, its axes in order."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from segjax.published import backbone_names as names
from segjax.published.fc_layers import fc_layers
from segjax.published.head_names import HEADS

BACKBONE = "backbone."
"""Where torchvision's segmentation networks keep theirs."""


class Family(NamedTuple):
    """A family of backbones as torchvision, timm or both publish it."""

    name: str
    mark: str  # A regular expression of a module that no family above it has.
    rename: names.Rename
    classifier: str  # A regular expression of the modules that only classify.
    remark: str = ""  # What whoever uses such a checkpoint should know.


FAMILIES = (
    Family("ResNet", r"layer1\.0\.conv1", names.resnet, "fc"),
    Family(
        "DenseNet",
        r"features\.denseblock1\.denselayer1\.conv\.?1",
        names.densenet,
        "classifier",
    ),
    Family(
        "torchvision's MobileNetV3",
        r"(features\.)?1\.block\.0\.0",
        names.mobilenet_v3,
        r"classifier\.[03]",
    ),
    Family(
        "timm's MobileNetV3",
        r"blocks\.0\.0\.conv_dw",
        names.timm_mobilenet_v3,
        "conv_head|classifier",
        "timm trains MobileNetV3 with BatchNorm's epsilon at 1e-5, the backbone has "
        "torchvision's 1e-3: fine-tune before you compare",
    ),
    Family(
        "timm's Xception",
        r"blocks\.0\.stack\.conv1\.conv_dw",
        names.timm_xception,
        r"head\.fc",
    ),
    Family(
        "VGG",
        r"features\.0",
        names.vgg,
        r"classifier\.[036]|pre_logits\.fc[12]|head\.fc",
    ),
)


class Checkpoint(NamedTuple):
    """Arrays by our paths, such as `params/backbone/conv1/kernel`.

    Attributes:
      layout: what it was recognised as.
      arrays: with our order of axes.
      names: what the file calls them.
      unknown: names in the file that stand for nothing here.
      classifies: a classification network, of which the backbone is of use.
      left_out: the names in the file of what only classifies in it.
      remark: what its user should know.
    """

    layout: str
    arrays: dict[str, np.ndarray]
    names: dict[str, str]
    unknown: tuple[str, ...] = ()
    classifies: bool = False
    left_out: tuple[str, ...] = ()
    remark: str = ""


def translate(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> Checkpoint | None:
    """The checkpoint by the names of a network with such `shapes`; None for no known layout."""
    if any("/" in name for name in arrays):
        return Checkpoint("segjax's own", dict(arrays), {name: name for name in arrays})
    if all(name.startswith("module.") for name in arrays):  # Saved in the midst of training.
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    arrays = {n: a for n, a in arrays.items() if not n.endswith("num_batches_tracked")}
    backbone = [n.removeprefix(BACKBONE) for n in arrays if n.startswith(BACKBONE)]
    modules = _modules(backbone or arrays)
    family = next(
        (f for f in FAMILIES if any(re.fullmatch(f.mark, module) for module in modules)), None
    )
    if family is None:
        return None
    root = "backbone/" if any(path.startswith("params/backbone/") for path in shapes) else ""
    paths = {module: f"{root}{path}" for module, path in family.rename(modules).items()}
    if backbone:
        return _segmentation(arrays, family, paths)
    return _classification(arrays, family, paths, shapes)


def _segmentation(
    arrays: Mapping[str, np.ndarray], family: Family, paths: Mapping[str, str]
) -> Checkpoint:
    others = _modules(name for name in arrays if not name.startswith(BACKBONE))
    head, table = next((HEADS[mark] for mark in HEADS if mark in others), ("a head", ()))
    paths = {f"{BACKBONE}{module}": path for module, path in paths.items()}
    found, unknown = _renamed(arrays, paths | names.by_table(table, others))
    layout = f"torchvision's {head} on {family.name.split()[-1]}"
    return _checkpoint(layout, found)._replace(unknown=tuple(unknown))


def _classification(
    arrays: Mapping[str, np.ndarray],
    family: Family,
    paths: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
) -> Checkpoint:
    found, others = _renamed(arrays, paths)
    if family.rename is names.vgg:
        found |= fc_layers(arrays, shapes)
    used = {name for name, _ in found.values()}
    classifier = [n for n in others if re.fullmatch(family.classifier, n.rpartition(".")[0])]
    return _checkpoint(family.name, found)._replace(
        classifies=True,
        remark=family.remark,
        unknown=tuple(name for name in others if name not in classifier),
        left_out=tuple(name for name in classifier if name not in used),
    )


def _checkpoint(layout: str, found: Mapping[str, tuple[str, np.ndarray]]) -> Checkpoint:
    arrays = {path: array for path, (_, array) in found.items()}
    return Checkpoint(layout, arrays, {path: name for path, (name, _) in found.items()})


def _modules(tensors: Iterable[str]) -> dict[str, set[str]]:
    modules: dict[str, set[str]] = {}
    for tensor in tensors:
        module, _, leaf = tensor.rpartition(".")
        modules.setdefault(module, set()).add(leaf)
    return modules


_LEAVES = {
    "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}


def _renamed(
    arrays: Mapping[str, np.ndarray], paths: Mapping[str, str]
) -> tuple[dict[str, tuple[str, np.ndarray]], list[str]]:
    """{our path: (their name, array)}, and the names that have none, or one that is taken."""
    found, others = {}, []
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        weight = "params/{}/scale" if array.ndim == 1 else "params/{}/kernel"
        form = weight if leaf == "weight" else _LEAVES.get(leaf)
        path = form.format(paths[module]) if module in paths and form else None
        if path is None or path in found:
            others.append(name)
        else:
            found[path] = (name, _our_axes(array))
    return found, others


def _our_axes(array: np.ndarray) -> np.ndarray:
    """PyTorch's o i h w → h w i o, and i o h w of transposed convolutions → h w o i."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


LAYOUTS = (
    f"torchvision's segmentation networks, {', '.join(family.name for family in FAMILIES)}, "
    "and segjax's own"
)
"""What is recognised, in words."""
