"""Recognising checkpoints of torchvision, timm and segjax, and renaming their arrays."""

import collections
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from segjax.backbones.vgg import fc_kernel
from segjax.errors import InputError
from segjax.pretrained import backbone_names as names
from segjax.pretrained.fc_layers import fc_layers
from segjax.pretrained.head_names import HEADS

BACKBONE = "backbone."
"""The prefix of the backbone in torchvision's segmentation networks."""

FC6 = "params/box_head/fc6/kernel"
"""The fully connected layer that reads a box's pooled features."""

POOLED = 7
"""Rows and columns of those features."""

COUNTERS = r"(.*\.)?(num_batches_tracked|n_averaged)"
"""Counters of BatchNorm and of averaged models, which no network uses."""


WRAPPER = (
    r"(?:^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_fpw_module|_checkpoint_wrapped_module)\."
    r"(?:module\.)?"
)
"""What torch.compile, FSDP and checkpointing put before the names of a module that they wrap,
at any depth, and what DataParallel adds within it."""


DETECTOR = r"(?:(?<=^backbone\.)|(?<=\.backbone\.))body\.|(?:^|(?<=\.))backbone\.(?=fpn\.)"
"""What torchvision's detectors have in their names and our networks do not."""


class Family(NamedTuple):
    """A family of backbones, in the layout of torchvision, timm or both."""

    name: str
    mark: str  # A regular expression of a module that no family above it has.
    rename: names.Rename
    classifier: str  # A regular expression of the modules that only classify.
    remark: str = ""  # A line for users of such a checkpoint.


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
      layout: the recognised layout.
      arrays: the arrays, with our order of axes.
      names: their names in the file.
      unknown: names in the file that have no path here.
      classifies: whether it is a classification network, whose backbone alone is used.
      left_out: names in the file of layers that only classify.
      remarks: lines for the user.
      prefix: the prefix of each name in the file.
    """

    layout: str
    arrays: dict[str, np.ndarray]
    names: dict[str, str]
    unknown: tuple[str, ...] = ()
    classifies: bool = False
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    prefix: str = ""


def is_known(tensors: Iterable[str]) -> bool:
    """Returns whether `translate` recognises the layout of these names."""
    tensors = [*tensors]
    known = any("/" in name for name in tensors)
    return known or _recognised(_by_plain_name(tensors)) is not None


def translate(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> Checkpoint | None:
    """Returns the checkpoint with our names; None if its layout is not recognised.

    Prefixes that wrappers add to names, such as `module.`, are removed. So are the parts of
    `WRAPPER` anywhere in a name, unless two names would become equal.

    Args:
      arrays: the arrays of one state dict, by name.
      shapes: the shapes of the network's variables, by path; they decide where a backbone goes.

    Raises:
      InputError: the arrays are those of several networks, or of detectron2.
    """
    if any("/" in name for name in arrays):
        own = Checkpoint("segjax's own", dict(arrays), {name: name for name in arrays})
        return with_norms_of(own, shapes)
    if any(".bottom_up." in name for name in arrays):
        raise InputError(
            "has detectron2's layout, in which classes, encoded boxes and colours have another "
            "order; segjax does not read it. Use torchvision's weights or segjax's own."
        )
    arrays = {n: a for n, a in arrays.items() if not re.fullmatch(COUNTERS, n)}
    theirs = _by_plain_name(arrays)
    recognised = _recognised(theirs)
    if recognised is None:
        return None
    family, prefixes = recognised
    if len(prefixes) > 1:
        keys = [_with_wrappers(prefix, theirs).rstrip(".") for prefix in prefixes]
        raise InputError(
            f"holds {len(keys)} networks, under {', '.join(map(repr, keys))}; choose one with "
            f"key={keys[0]!r}."
        )
    prefix = prefixes[0]
    if all(name.startswith(f"{prefix}{BACKBONE}") for name in theirs):
        prefix += BACKBONE  # A backbone alone, without the network around it.
    inside = {n.removeprefix(prefix): t for n, t in theirs.items() if n.startswith(prefix)}
    outside = tuple(theirs[name] for name in theirs if not name.startswith(prefix))
    found = _of_family({name: arrays[t] for name, t in inside.items()}, family, shapes)
    found = with_norms_of(found, shapes)
    prefix = _with_wrappers(prefix, theirs)
    return found._replace(
        names={path: inside[name] for path, name in found.names.items()},
        unknown=(*(inside[name] for name in found.unknown), *outside),
        left_out=tuple(inside[name] for name in found.left_out),
        remarks=(*_remarks(prefix, tuple(inside.values()), len(arrays)), *found.remarks),
        prefix=prefix,
    )


def _by_plain_name(tensors: Iterable[str]) -> dict[str, str]:
    """Returns {name without the parts of wrappers: name in the file}, if names stay unique.

    The backbone of torchvision's detectors is `backbone.body`, their pyramid `backbone.fpn`;
    here they are `backbone` and `fpn`, as in our networks.
    """
    plain = {name: re.sub(DETECTOR, "", re.sub(WRAPPER, "", name)) for name in tensors}
    times = collections.Counter(plain.values())
    return {short if times[short] == 1 else name: name for name, short in plain.items()}


def _with_wrappers(prefix: str, theirs: Mapping[str, str]) -> str:
    """Returns the longest common prefix of the file's names that equals `prefix` unwrapped."""
    inside = [name for plain, name in theirs.items() if plain.startswith(prefix)]
    common = os.path.commonprefix(inside)
    heads = [common[: dot.end()] for dot in re.finditer(r"\.", common)]
    fitting = [head for head in heads if re.sub(WRAPPER, "", head) == prefix]
    return fitting[-1] if fitting else prefix


def _remarks(prefix: str, inside: Sequence[str], count: int) -> Iterator[str]:
    """Returns lines about the prefixes and wrapper parts that are removed from the names."""
    if prefix:
        how_many = f"{len(inside)} of the {count}" if len(inside) < count else f"all {count}"
        yield f"the prefix {prefix!r} is removed from {how_many} names"
    found = {name: re.findall(WRAPPER, name.removeprefix(prefix)) for name in inside}
    if parts := sorted({part for each in found.values() for part in each}):
        wrapped = sum(map(bool, found.values()))
        yield (f"the wrappers' {', '.join(map(repr, parts))} is removed from {wrapped} names")


def _recognised(tensors: Iterable[str]) -> tuple[Family, list[str]] | None:
    """Returns the family of a network, and the prefix of its modules' names.

    Several networks have several prefixes; one without a prefix contains the others.
    """
    modules = _modules(tensors)
    for family in FAMILIES:
        mark = re.compile(rf"((?:.+?\.)??)(?:{re.escape(BACKBONE)})?(?:{family.mark})")
        prefixes = sorted({match[1] for match in map(mark.fullmatch, modules) if match})
        if prefixes:
            return family, [""] if "" in prefixes else prefixes
    return None


def _of_family(
    arrays: Mapping[str, np.ndarray], family: Family, shapes: Mapping[str, tuple[int, ...]]
) -> Checkpoint:
    """Returns the checkpoint of arrays whose names have no prefix."""
    backbone = [n.removeprefix(BACKBONE) for n in arrays if n.startswith(BACKBONE)]
    modules = _modules(backbone or arrays)
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
    if (fc6 := found.get(FC6)) is not None:
        # Its inputs are rows, columns, channels here, and channels, rows, columns there.
        kernel = fc_kernel(fc6[1][0, 0].T, POOLED)
        found[FC6] = (fc6[0], kernel.reshape(1, 1, -1, kernel.shape[-1]))
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
        remarks=(family.remark,) if family.remark else (),
        unknown=tuple(name for name in others if name not in classifier),
        left_out=tuple(name for name in classifier if name not in used),
    )


def with_norms_of(checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    """Returns the checkpoint with scales and offsets of norms where the network has them.

    They are parameters of `BatchNorm` and statistics of `FrozenBatchNorm`.
    """
    other = {"params": "batch_stats", "batch_stats": "params"}

    def place(path: str) -> str:
        kind, _, below = path.partition("/")
        moved = f"{other.get(kind)}/{below}"
        is_affine = below.endswith(("/scale", "/bias"))
        return moved if is_affine and path not in shapes and moved in shapes else path

    return checkpoint._replace(
        arrays={place(path): array for path, array in checkpoint.arrays.items()},
        names={place(path): name for path, name in checkpoint.names.items()},
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
    """Returns {our path: (their name, array)}, and the names without a path of their own."""
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
    """Returns PyTorch's o i h w as h w i o (so transposed i o h w as h w o i).

    A fully connected layer, o i, is a 1×1 convolution.
    """
    if array.ndim == 2:
        return array.T[None, None]
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


LAYOUTS = (
    f"torchvision's segmentation networks, {', '.join(family.name for family in FAMILIES)}, "
    "and segjax's own"
)
"""The recognised layouts, in words."""
