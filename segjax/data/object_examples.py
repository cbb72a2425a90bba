"""What an example with objects must be, whatever dataset it comes from."""

from collections.abc import Sequence

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.objects import ENTRIES

SHAPES = {
    "boxes": "n 4 of floats, (x0, y0, x1, y1) in pixels",
    "classes": "n integers, class ids",
    "instance_ids": "n integers, the values in 'instances'",
    "crowd": "n booleans",
    "instances": "h w l of uint16, layers of object ids",
}
"""What each entry is, in words."""


def check_objects(example: Example, things: Sequence[int]) -> None:
    """Raises InputError unless an example has the five entries of objects, which fit.

    Args:
      example: as its dataset gives it, before transforms.
      things: the ids of the classes whose objects are counted.

    Raises:
      InputError: names the example, the entry and what is wrong.
    """
    who = f"Example {example.get('name', '(without a name)')!r}"
    for key in ENTRIES:
        if key not in example:
            raise InputError(
                f"{who} has no {key!r}: let the dataset give it, as {SHAPES[key]}."
            )
        if not _fits(key, example[key]):
            found = example[key]
            shown = (
                f"{found.dtype} of shape {found.shape}"
                if isinstance(found, np.ndarray)
                else type(found).__name__
            )
            raise InputError(f"{who} has {key!r} as {shown}; it must be {SHAPES[key]}.")
    _check_counts(who, example)
    _check_values(who, example, things)


def _fits(key: str, value: object) -> bool:
    if not isinstance(value, np.ndarray):
        return False
    kind, shape = value.dtype.kind, value.shape
    return {
        "boxes": kind == "f" and shape[1:] == (4,),
        "classes": kind in "iu" and value.ndim == 1,
        "instance_ids": kind in "iu" and value.ndim == 1,
        "crowd": kind == "b" and value.ndim == 1,
        "instances": value.dtype == np.uint16 and value.ndim == 3,
    }[key]


def _check_counts(who: str, example: Example) -> None:
    counts = {key: len(example[key]) for key in ENTRIES if key != "instances"}
    if len({*counts.values()}) > 1:
        listed = ", ".join(f"{n} {key}" for key, n in counts.items())
        raise InputError(f"{who} has {listed}: give one item an object in each.")
    size, layers = example["image"].shape[:2], example["instances"].shape
    if layers[:2] != size:
        raise InputError(
            f"{who} has 'instances' of shape {layers} for an image of {size[0]} x {size[1]}: "
            "both must have the same height and width."
        )


def _check_values(who: str, example: Example, things: Sequence[int]) -> None:
    ids, boxes = example["instance_ids"], example["boxes"]
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{who} has the instance id {values[counts > 1][0]} twice.")
    if values.size and values[0] < 1:
        raise InputError(f"{who} has the instance id {values[0]}: number objects from 1 on.")
    for number, class_id in zip(ids.tolist(), example["classes"].tolist(), strict=True):
        if class_id not in things:
            raise InputError(
                f"{who}: object {number} has the class id {class_id}, which is not one of the "
                f"dataset's things, {', '.join(map(str, things))}."
            )
    wrong = ~(np.isfinite(boxes).all(-1) & (boxes[:, 2:] > boxes[:, :2]).all(-1))
    if wrong.any():
        raise InputError(
            f"{who}: object {ids[wrong][0]} has the box {boxes[wrong][0].tolist()}, which has "
            "no area: boxes are (x0, y0, x1, y1) with x0 < x1 and y0 < y1."
        )
