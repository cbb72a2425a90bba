"""What the parts of an experiment declare of their contracts, and what they lack."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeGuard, TypeVar

from segjax.contracts import (
    Backbone,
    Classifier,
    Dataset,
    Framed,
    LabelledDataset,
    Model,
    Planed,
    Strided,
)
from segjax.errors import InputError

Contract = TypeVar("Contract")

WRITE: Mapping[str, str] = {
    "num_classes": "the classes it tells apart, as a field num_classes: int",
    "output_stride": "the stride of its c5, as a field output_stride: int = 32",
    "dtype": "what it computes in, as a field dtype: Any = jnp.float32",
    "channels": "channels = 3 where its images are RGB, channels = 1 where they are grey",
    "prepare": "def prepare(self), which finds and checks its files, or does nothing",
    "__len__": "def __len__(self), the number of its examples",
    "__getitem__": "def __getitem__(self, index), which returns one example",
    "__call__": "def __call__(self, image, *, train)",
    "class_names": "class_names, one name a class in the order of the label ids",
    "palette": "palette, 256 × 3 colours by label id in uint8",
}
"""What to write for each member that may be missing."""


def label_stride(model: object) -> int:
    """Pixels of the image between two scores of a model: 1 unless it declares others."""
    return model.label_stride if declares(model, Strided) else 1


def canvas(model: object, height: int, width: int) -> tuple[int, int]:
    """What a model must see to answer for height × width pixels: these unless it says more."""
    return model.canvas(height, width) if declares(model, Framed) else (height, width)


def classifiers(model: object) -> tuple[str, ...]:
    """Paths of a model's layers whose shapes depend on its classes; () where it names none."""
    return model.classifiers if declares(model, Classifier) else ()


def num_classes(model: object) -> int | None:
    """How many classes a model tells apart; None where it does not say, as backbones."""
    return model.num_classes if declares(model, Model) else None


def has_planes(data: object) -> bool:
    """Whether a dataset's labels have a plane a class, h w k: not unless it says so."""
    return declares(data, Planed) and data.has_planes


def declares(value: object, contract: type[Contract]) -> TypeGuard[Contract]:
    """Whether a value has every member of a protocol; no property is evaluated."""
    return not missing(value, contract)


def missing(value: object, contract: Any) -> list[str]:
    """The members of a protocol that a value lacks; no property is evaluated.

    A dataset's properties may read files, and one that fails is there all the same.
    """
    absent = object()
    names = members(contract)
    return [name for name in names if inspect.getattr_static(value, name, absent) is absent]


def members(contract: type) -> list[str]:
    """Names that a protocol and those it extends define, `__call__` and the like included."""
    protocols = [cls for cls in contract.__mro__ if getattr(cls, "_is_protocol", False)]
    special = ("__call__", "__len__", "__getitem__")
    return [
        name
        for cls in reversed(protocols)
        for name in {**vars(cls).get("__annotations__", {}), **vars(cls)}
        if not name.startswith("_") or name in special
    ]


def lacking(value: object, contract: type) -> str | None:
    """One sentence on what a value lacks and what to write, or None where it lacks nothing.

    >>> lacking("a name", Backbone)
    'str has no output_stride, dtype, __call__; write ...'
    """
    if not (names := missing(value, contract)):
        return None
    remedies = "; ".join(WRITE.get(name, name) for name in names)
    return f"{type(value).__name__} has no {', '.join(names)}; write {remedies}"


def check_dataset(data: object, *, field: str) -> None:
    """Nothing where a dataset has all that every task asks for.

    Raises:
      InputError: members are missing; they are named, with what to write.
    """
    if reason := lacking(data, Dataset):
        raise InputError(f"{field}: {reason}.")


def labelled(data: object, *, field: str = "eval_data") -> LabelledDataset:
    """The dataset itself, which has class names and colours too.

    Raises:
      InputError: members are missing; they are named, with what to write.
    """
    if declares(data, LabelledDataset):
        return data
    raise InputError(f"{field}: {lacking(data, LabelledDataset)}.")


def check_model(model: object, *, field: str = "model") -> None:
    """Nothing where a model has its number of classes, and its parts what it reads of them.

    Raises:
      InputError: members are missing; they are named, with what to write.
    """
    if reason := lacking(model, Model):
        raise InputError(f"{field}: {reason}.")
    for name, contract in (("backbone", Backbone), ("network", Model)):
        part = vars(model).get(name)
        if part is not None and (reason := lacking(part, contract)):
            raise InputError(f"{field}.{name}: {reason}.")


def check_grid(model: object, size: tuple[int, int], grid: tuple[int, int]) -> None:
    """Nothing where logits lie where the model says: labels are brought to this grid.

    Args:
      model: the network.
      size: height and width of an image.
      grid: height and width of its logits.

    Raises:
      InputError: they lie elsewhere, so that labels would be those of other pixels.
    """
    stride = label_stride(model)
    scores = (-(-size[0] // stride), -(-size[1] // stride))
    if grid == scores or (declares(model, Framed) and _is_framed(model, size, grid)):
        return
    name, (height, width), (h, w) = type(model).__name__, size, grid
    raise InputError(
        f"model: {name} answers {height}×{width} pixels with {h}×{w} scores, where "
        f"label_stride={stride} makes {scores[0]}×{scores[1]}. Return logits of the image's "
        "size, or give the model label_stride, the pixels between two scores, or canvas("
        "height, width), the image that it needs to answer for so many pixels in its centre."
    )


def _is_framed(model: Framed, size: tuple[int, int], grid: tuple[int, int]) -> bool:
    """Whether an image is large enough for so many pixels in its centre, and not for more."""
    enough, more = model.canvas(*grid), model.canvas(grid[0] + 1, grid[1] + 1)
    sides = zip(enough, size, more, strict=True)
    return all(least <= side < next_larger for least, side, next_larger in sides)
