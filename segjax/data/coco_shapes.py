"""COCO's segmentations → masks: polygons as pycocotools draws them, and run lengths.

A segmentation is a list of polygons [x1, y1, x2, y2, …], or a dict of `size` (height, width)
and `counts`: lengths of runs of 0 and 1 in turn, down the columns, as numbers ("uncompressed")
or as pycocotools' text ("compressed").
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from segjax.errors import InputError

FARTHEST = 1e6
"""The largest coordinate in pixels: pycocotools' memory grows with a polygon's length."""

NUMBERS = (int, float)

Mask_HW = Bool[np.ndarray, "h w"]


def is_empty(segmentation: Any) -> bool:
    """Returns whether there is no outline, as where an object has a box only."""
    return segmentation is None or isinstance(segmentation, list) and not any(segmentation)


def check_segmentation(segmentation: Any, *, where: str) -> None:
    """Raises InputError unless `draw` can draw the segmentation.

    Raises:
      InputError: it cannot; the line begins with `where`.
    """
    if isinstance(segmentation, dict):
        _runs(segmentation, where)
    else:
        _polygons(segmentation, where)


def draw(segmentation: Any, *, height: int, width: int, where: str) -> Mask_HW:
    """Returns the pixels of a segmentation in an image of this size, as pycocotools draws them.

    What lies outside the image is cut off.

    Raises:
      InputError: it is neither polygons nor runs, or the runs are of another size; the line
        begins with `where`.
    """
    if isinstance(segmentation, dict):
        counts, size = _runs(segmentation, where)
        if size != (height, width):
            raise InputError(
                f"{where}: its runs are of {size[1]}x{size[0]} pixels, but its image is "
                f"{width}x{height} (width x height): use the image that was annotated."
            )
        return _from_counts(counts, height, width)
    mask = np.zeros((height, width), bool)
    for polygon in _polygons(segmentation, where):
        mask |= _drawn(polygon, height, width)
    return mask


def _drawn(polygon: list[float], height: int, width: int) -> Mask_HW:
    from pycocotools import mask as coco_mask  # Lazily: most datasets do not need it.

    as_polygons: Any = [polygon]  # Its stub knows boxes only.
    runs: Any = coco_mask.frPyObjects(as_polygons, height, width)[0]
    return _from_counts(_uncompressed(runs["counts"]), height, width)


def _polygons(segmentation: Any, where: str) -> list[list[float]]:
    polygons = _nested(segmentation)
    if not isinstance(polygons, list) or not all(isinstance(p, list) for p in polygons):
        raise InputError(
            f"{where}: its segmentation is neither a list of polygons nor run lengths "
            "(size and counts): export it as COCO polygons or RLE."
        )
    for polygon in polygons:
        _check_polygon(polygon, where)
    return polygons


def _check_polygon(polygon: list[Any], where: str) -> None:
    # NaN compares as False; bool is no type of numbers here.
    strange = [v for v in polygon if type(v) not in NUMBERS or not -FARTHEST <= v <= FARTHEST]
    if strange:
        raise InputError(
            f"{where}: its polygon has the coordinate {strange[0]!r}, which is not a place in "
            "an image: correct the polygon, or delete the annotation."
        )
    if len(polygon) < 6 or len(polygon) % 2:
        raise InputError(
            f"{where}: its polygon has {len(polygon)} numbers, but three points or more need 6 "
            "or more, in pairs x, y: correct the polygon, or delete the annotation."
        )


def _runs(segmentation: dict, where: str) -> tuple[Int[np.ndarray, "n"], tuple[int, int]]:
    """Returns the lengths of the runs, and (height, width)."""
    size: Any = segmentation.get("size")
    counts: Any = segmentation.get("counts")
    if (
        not _are_counts(size)
        or len(size) != 2
        or not (isinstance(counts, str | bytes) or counts)
    ):
        raise InputError(
            f"{where}: its run lengths need `size` (height, width) and `counts`: export it "
            "again, or delete the annotation."
        )
    if isinstance(counts, str | bytes):
        lengths = _uncompressed(counts.encode() if isinstance(counts, str) else counts)
    else:
        lengths = np.array(counts if _are_counts(counts) else [-1])
    height, width = size
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise InputError(
            f"{where}: its run lengths do not add up to the {height * width} pixels of its "
            f"size {list(size)}: export it again, or delete the annotation."
        )
    return lengths, (height, width)


def _are_counts(values: Any) -> bool:
    return isinstance(values, Sequence) and all(
        isinstance(n, int) and 0 <= n < 2**40 for n in values
    )


def _from_counts(counts: Int[np.ndarray, "n"], height: int, width: int) -> Mask_HW:
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _uncompressed(text: bytes) -> Int[np.ndarray, "n"]:
    """Returns the lengths that pycocotools' text holds; [-1] if it is not such a text.

    Each number is written in groups of five bits, lowest first, as a character from "0" on; bit
    5 says that another group follows, and bit 4 of the last one is the sign. From the fourth
    number on, the text holds differences to the number two before.
    """
    counts: list[int] = []
    number, shift = 0, 0
    for byte in text:
        group = byte - 48
        if not 0 <= group < 64 or shift > 40:
            return np.array([-1])
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number, shift = 0, 0
    complete = shift == 0 and all(0 <= n < 2**40 for n in counts)
    return np.array(counts if complete else [-1])


def bounds(segmentation: Any) -> tuple[float, float, float, float] | None:
    """Returns left, top, right and bottom of checked polygons; None for run lengths."""
    if isinstance(segmentation, dict):
        return None
    xs = [x for polygon in _nested(segmentation) for x in polygon[::2]]
    ys = [y for polygon in _nested(segmentation) for y in polygon[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def _nested(segmentation: Any) -> Any:
    """Returns a list of polygons, also of one polygon that is not in a list."""
    alone = isinstance(segmentation, list) and segmentation and type(segmentation[0]) in NUMBERS
    return [segmentation] if alone else segmentation
