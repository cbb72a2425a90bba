"""The objects of an example for `explain transforms`, before and after they are packed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.contracts import Example
from segjax.drawing.object_colours import distinct_colours
from segjax.drawing.objects import DrawnObject, shrunk_mask
from segjax.objects import ENTRIES

SLOTS = ("objects", "masks")
"""What `PackObjects` adds to boxes and classes."""


def object_count(example: Example) -> int | None:
    """Returns the number of objects, crowds included; None of an example without objects."""
    if "boxes" not in example:
        return None
    return int(filled(example).sum())


def filled(example: Example) -> np.ndarray:
    """Returns which boxes are those of objects; after `PackObjects` some slots are empty."""
    if "objects" in example:
        return np.asarray(example["objects"], bool)
    return np.ones(len(example["boxes"]), bool)


def same_objects(first: Example, second: Example) -> bool:
    """Returns whether two examples hold the same objects in the same form."""
    of = lambda example: {key: example[key] for key in (*ENTRIES, *SLOTS) if key in example}
    one, other = of(first), of(second)
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def object_numbers(examples: Sequence[Example]) -> list[list[int]]:
    """Returns for each step a number from 0 on for each box, which an object keeps in all.

    Objects have ids in the dataset; packed ones take those of equal boxes of the step before.
    """
    found: list[list[int]] = []
    known: Mapping[tuple, int] = {}
    for example in examples:
        boxes = [tuple(box) for box in np.asarray(example.get("boxes", ())).tolist()]
        if "instance_ids" in example:
            numbers = np.asarray(example["instance_ids"]).tolist()
        else:
            numbers = [known.get(box, place + 1) for place, box in enumerate(boxes)]
        known = dict(zip(boxes, numbers, strict=True))
        found.append(numbers)
    ids = sorted({number for numbers in found for number in numbers})
    order = {number: place for place, number in enumerate(ids)}
    return [[order[number] for number in numbers] for numbers in found]


def drawn_objects(
    example: Example, numbers: Sequence[int], *, size: tuple[int, int]
) -> list[DrawnObject]:
    """Returns contours and boxes of the objects; those of crowds are dashed.

    Args:
      example: at any step.
      numbers: one a box, which decides on the colour.
      size: height and width of the picture.
    """
    h, w = example["image"].shape[:2]
    scale = np.tile(np.divide(size[::-1], (w, h)), 2)
    colours = distinct_colours(max(numbers, default=0) + 1)
    crowd = example.get("crowd", np.zeros(len(numbers), bool))
    found = []
    for place in np.flatnonzero(filled(example)).tolist():
        mask = _mask(example, place)
        x0, y0, x1, y1 = (example["boxes"][place] * scale).tolist()
        found.append(
            DrawnObject(
                colours[numbers[place]],
                None if mask is None else shrunk_mask(mask, size),
                (x0, y0, x1, y1),
                dashed=bool(crowd[place]),
            )
        )
    return found


def _mask(example: Example, place: int) -> Any:
    """Returns the mask h w of an object; None if the example has boxes alone."""
    if "masks" in example:
        width = example["image"].shape[1]
        return np.unpackbits(np.asarray(example["masks"][place]), axis=-1)[:, :width] > 0
    if "instances" in example:
        return (example["instances"] == example["instance_ids"][place]).any(-1)
    return None
