"""The contracts that an experiment's parts declare, and messages about what is missing."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

import flax.linen as nn
import numpy as np

from segjax.contracts import (
    Backbone,
    Classifier,
    Dataset,
    Framed,
    LabelledDataset,
    Model,
    Planed,
    Strided,
    WithObjects,
)
from segjax.errors import InputError, first_of

Contract = TypeVar("Contract")

WRITE: Mapping[str, str] = {
    "num_classes": "its number of classes, as a field num_classes: int",
    "output_stride": "the stride of its c5, as a field output_stride: int = 32",
    "dtype": "the dtype it computes in, as a field dtype: Any = jnp.float32",
    "channels": "channels = 3 where its images are RGB, channels = 1 where they are grey",
    "prepare": "def prepare(self), which finds and checks its files, or does nothing",
    "__len__": "def __len__(self), the number of its examples",
    "__getitem__": "def __getitem__(self, index), which returns one example",
    "__call__": "def __call__(self, image, *, train)",
    "class_names": "class_names, one name for each class in the order of the label ids",
    "palette": "palette, 256 × 3 colours by label id in uint8",
    "things": "things, the ids of the classes whose objects are counted",
}
"""The text that tells users what to write for a missing member."""

SPECIAL = ("__call__", "__len__", "__getitem__")
"""Members that Python looks up in the class only, never by `__getattr__`."""


def label_stride(model: object) -> int:
    """Returns the pixels of the image between two scores of a model; 1 by default."""
    return model.label_stride if declares(model, Strided) else 1


def canvas(model: object, height: int, width: int) -> tuple[int, int]:
    """Returns the input size a model needs for height × width pixels; by default the same."""
    return model.canvas(height, width) if declares(model, Framed) else (height, width)


def classifiers(model: object) -> tuple[str, ...]:
    """Returns the paths of a model's layers whose shapes depend on its classes, or ()."""
    return model.classifiers if declares(model, Classifier) else ()


def check_classifiers(model: object, variables: Iterable[str]) -> None:
    """Raises InputError unless each of a model's `classifiers` names some of its variables.

    Args:
      model: the network.
      variables: paths of its variables, such as "params/head/classifier/bias".
    """
    names, who = classifiers(model), type(model).__name__
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        found = "a method" if callable(names) else repr(names)
        raise InputError(
            f"model: {who}.classifiers is {found}; write a tuple of paths of layers, as "
            'classifiers = ("classifier",), or a property that returns one.'
        )
    below = [path.partition("/")[2] for path in variables]
    for name in names:
        if not any(path == name or path.startswith(f"{name}/") for path in below):
            layers = sorted({path.rpartition("/")[0] or path for path in below})
            raise InputError(
                f"model: {who}.classifiers names {name!r}, which is not one of its layers: "
                f"{first_of(layers)}."
            )


def num_classes(model: object) -> int | None:
    """Returns a model's number of classes; None if it declares none, such as a backbone."""
    return model.num_classes if declares(model, Model) else None


def has_planes(data: object) -> bool:
    """Returns whether a dataset declares that its labels are planes, h w k."""
    return declares(data, Planed) and data.has_planes


def has_objects(data: object) -> bool:
    """Returns whether a dataset's examples have objects: it declares `things`, and has some.

    A dataset that has objects as an option, such as `Cityscapes`, has no `things` without it.
    """
    return declares(data, WithObjects) and bool(data.things)


def declares(value: object, contract: type[Contract]) -> TypeGuard[Contract]:
    """Returns whether a value has every member of a protocol, without evaluating properties."""
    return not missing(value, contract)


def missing(value: object, contract: Any) -> list[str]:
    """Returns the members of a protocol that a value lacks; a class itself lacks them all.

    Properties are not evaluated, because a dataset's may read files, and one that fails still
    exists. Only members that a value passes on by `__getattr__` are evaluated.
    """
    names = protocol_members(contract)
    return names if isinstance(value, type) else [n for n in names if not _has(value, n)]


def _has(value: object, name: str) -> bool:
    absent = object()
    if inspect.getattr_static(value, name, absent) is not absent:
        return True
    # Flax's `__getattr__` returns nothing that is not in the module.
    if (
        name in SPECIAL
        or isinstance(value, nn.Module)
        or not hasattr(type(value), "__getattr__")
    ):
        return False
    try:
        getattr(value, name)
    except AttributeError:
        return False
    except Exception:
        return True
    return True


def protocol_members(contract: type) -> list[str]:
    """Returns the member names of a protocol and its bases, including `__call__`."""
    protocols = [cls for cls in contract.__mro__ if getattr(cls, "_is_protocol", False)]
    return [
        name
        for cls in reversed(protocols)
        for name in {**vars(cls).get("__annotations__", {}), **vars(cls)}
        if not name.startswith("_") or name in SPECIAL
    ]


def lacking(value: object, contract: type) -> str | None:
    """Returns one sentence about missing members and what to write; None if none is missing.

    >>> lacking("a name", Backbone)
    'str has no output_stride, dtype, __call__; write ...'
    """
    if isinstance(value, type):
        return f"{value.__name__} is a class; write {value.__name__}(...)"
    if isinstance(value, functools.partial):
        made = getattr(value.func, "__name__", "the function")
        return f"partial({made}, ...) is not called; write {made}(...)"
    if not (names := missing(value, contract)):
        return None
    remedies = "; ".join(WRITE.get(name, name) for name in names)
    return f"{type(value).__name__} has no {', '.join(names)}; write {remedies}"


def check_dataset(data: object, *, field: str) -> None:
    """Raises InputError unless a dataset has all members that every task needs."""
    if reason := lacking(data, Dataset):
        raise InputError(f"{field}: {reason}.")


def labelled(data: object, *, field: str = "eval_data") -> LabelledDataset:
    """Returns the dataset itself, after checking that it has class names and colours.

    Raises:
      InputError: members are missing; the message names them and says what to write.
    """
    if declares(data, LabelledDataset):
        return data
    raise InputError(f"{field}: {lacking(data, LabelledDataset)}.")


def check_has_objects(data: object, *, field: str) -> None:
    """Raises InputError unless a dataset's examples have objects.

    Raises:
      InputError: it has no `things`, or they are empty; the message says what to write.
    """
    if reason := lacking(data, WithObjects):
        raise InputError(f"{field}: {reason}.")
    if not has_objects(data):
        raise InputError(
            f"{field}: the examples of this {type(data).__name__} have no objects: set its "
            "field `objects`, or let its `things` name the classes whose objects are counted."
        )


def check_model(model: object, *, field: str = "model") -> None:
    """Raises InputError unless a model and its parts have the members that segjax reads.

    The fields `backbone` and `network` are checked for segjax's own models only.
    """
    if reason := lacking(model, Model):
        raise InputError(f"{field}: {reason}.")
    is_ours = any(cls.__module__.startswith("segjax.models.") for cls in type(model).__mro__)
    for name, contract in (("backbone", Backbone), ("network", Model)) if is_ours else ():
        part = vars(model).get(name)
        if part is not None and (reason := lacking(part, contract)):
            raise InputError(f"{field}.{name}: {reason}.")
    _check_member(model, "num_classes", _is_count, "a whole number, at least 1", field=field)
    if declares(model, Strided):
        _check_member(
            model, "label_stride", _is_count, "a whole number, at least 1", field=field
        )
    if not _takes_train(model):
        raise InputError(
            f"{field}: {type(model).__name__} cannot be called with train; write "
            f"{WRITE['__call__']}."
        )


def check_values(data: Any, *, field: str) -> None:
    """Raises InputError unless a dataset's properties have the types that a task reads.

    It checks `channels`, `class_names` and `palette`. A property that still fails, for example
    because its files were not found yet, is skipped.
    """
    _check_member(data, "channels", _is_count, "a whole number, such as 3", field=field)
    if declares(data, LabelledDataset):
        names = 'a tuple of names, such as ("background", "cell")'
        _check_member(data, "class_names", _are_names, names, field=field)
        _check_member(data, "palette", _is_palette, "a 256 × 3 array of uint8", field=field)


def _check_member(
    value: Any, name: str, is_right: Callable[[Any], bool], what: str, *, field: str
) -> None:
    try:
        found = getattr(value, name)
    except Exception:
        return  # The property raises its own error when it is needed.
    if not is_right(found):
        raise InputError(
            f"{field}.{name}={_short(found)} must be {what}; correct it in "
            f"{type(value).__name__}."
        )


def _is_count(value: Any) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and bool(value >= 1)


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)


def _is_palette(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (value.shape, value.dtype) == ((256, 3), np.uint8)


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 40 else f"({type(value).__name__})"


def _takes_train(model: object) -> bool:
    try:
        inspect.signature(type(model).__call__).bind(model, None, train=False)
    except TypeError:
        return False
    return True


def check_grid(model: object, size: tuple[int, int], grid: tuple[int, int]) -> None:
    """Raises InputError unless logits lie on the grid that the model declares.

    Labels are brought to this grid; on another one they would belong to other pixels.

    Args:
      model: the network.
      size: height and width of an image.
      grid: height and width of its logits.
    """
    stride = label_stride(model)
    scores = (-(-size[0] // stride), -(-size[1] // stride))
    if grid == scores or (declares(model, Framed) and _is_framed(model, size, grid)):
        return
    name, (height, width), (h, w) = type(model).__name__, size, grid
    raise InputError(
        f"model: {name} returns {h}×{w} scores for {height}×{width} pixels, but "
        f"label_stride={stride} means {scores[0]}×{scores[1]}. Return logits of the image's "
        "size, or give the model label_stride, the pixels between two scores, or canvas("
        "height, width), the input size that it needs for the logits of so many pixels."
    )


def _is_framed(model: Framed, size: tuple[int, int], grid: tuple[int, int]) -> bool:
    """Returns whether `size` is large enough for logits of size `grid`, but not of a larger."""
    enough, more = model.canvas(*grid), model.canvas(grid[0] + 1, grid[1] + 1)
    sides = zip(enough, size, more, strict=True)
    return all(least <= side < next_larger for least, side, next_larger in sides)
