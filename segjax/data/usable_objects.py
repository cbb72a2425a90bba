"""Faults of an image's objects: each is one line that names the file, the id and the remedy."""

import math
import pathlib
from collections.abc import Hashable, Iterable, Sequence
from functools import partial

import numpy as np

from segjax.data.drawn_objects import Box, DrawnObject, ObjectRule
from segjax.data.faults import Fault, report

REMEDY = "correct it, delete it, or set broken_objects='drop'"


def usable_objects(
    objects: Sequence[DrawnObject],
    size: tuple[int, int],
    rule: ObjectRule,
    *,
    file: pathlib.Path,
) -> tuple[list[DrawnObject], list[str]]:
    """Returns the objects without a fault, and a line for each one that is dropped.

    Args:
      objects: of one image.
      size: of the image: height and width.
      rule: which classes count, and whether faults are refused.
      file: the one that a `Fault` is about.

    Raises:
      InputError: an object has a fault, and the rule refuses it.
    """
    usable, faults = [], []
    keys: set[Hashable] = set()
    for each in objects:
        fault = _fault(each, size, rule.things, twice=each.key in keys)
        keys.add(each.key)
        if fault is None:
            usable.append(each)
        else:
            faults.append(f"{each.where} {fault}")
    if rule.broken == "drop":
        return usable, faults
    report([partial(Fault, "broken_object", f"{text}: {REMEDY}.", file) for text in faults])
    return usable, []


def clipped_box(each: DrawnObject, size: tuple[int, int]) -> Box:
    """Returns the part of an object's box inside an image of this size, as COCO's users clip.

    torchvision's references do the same (`ConvertCocoPolysToMask`).
    """
    h, w = size
    x0, y0, x1, y1 = each.outline() if each.box is None else each.box
    inside = lambda value, limit: float(min(max(value, 0.0), limit))
    return inside(x0, w), inside(y0, h), inside(x1, w), inside(y1, h)


def _fault(
    each: DrawnObject, size: tuple[int, int], things: Iterable[int], *, twice: bool
) -> str | None:
    """Returns what is wrong with an object, as the end of a line that it begins, or None."""
    h, w = size
    if twice:
        return "has an id that an earlier object of its image has"
    if each.fault is not None:
        return each.fault
    if each.class_id not in things:
        known = _ranges(sorted(things))
        return f"has the class id {each.class_id}, but classes of objects have ids {known}"
    if each.box is not None:
        x0, y0, x1, y1 = each.box
        shown = f"x {x0:.9g} to {x1:.9g} and y {y0:.9g} to {y1:.9g}"
        if not all(map(math.isfinite, each.box)):
            return f"has a box with {shown}, which are not places"
        if not (x1 > x0 and y1 > y0):
            return f"has a box without area ({shown})"
        if x0 >= w or y0 >= h or x1 <= 0 or y1 <= 0:
            return f"lies outside of its image of {w}x{h} pixels ({shown})"
        x0, y0, x1, y1 = np.array(clipped_box(each, size), np.float32)
        if not (x1 > x0 and y1 > y0):
            return f"has a box that is too narrow for float32 ({shown})"
    if not each.mask.any():
        return "has a mask without a pixel in its image"
    return None


def _ranges(ids: Sequence[int]) -> str:
    """Returns ids in words: "1 to 80", "1, 3".

    >>> _ranges([1, 2, 3]), _ranges([1, 3]), _ranges([])
    ('1 to 3', '1, 3', 'none')
    """
    if len(ids) > 2 and ids[-1] - ids[0] == len(ids) - 1:
        return f"{ids[0]} to {ids[-1]}"
    return ", ".join(map(str, ids)) or "none"
