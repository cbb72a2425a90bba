"""Label maps as annotations for other tools: regions of COCO and shapes of Labelme.

With a tolerance of 0 both are exact: drawn by pycocotools, or in order by Labelme's rule, they
give the same label map. Otherwise outlines are simplified to within that many pixels.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from segjax.drawing.polygons import Region, area, bridged, centres, edges, simplified

Label_HW = UInt8[np.ndarray, "h w"]

PREDICTED = "Predicted by segjax"
"""The description in COCO files that segjax writes."""


def coco_categories(class_names: Sequence[str], classes: Collection[int]) -> list[dict]:
    """Returns COCO categories of `classes`; ids are class ids plus 1, as COCO's begin at 1."""
    return [{"id": index + 1, "name": class_names[index]} for index in sorted(classes)]


def coco_regions(
    label: Label_HW, classes: Collection[int], *, tolerance: float
) -> Iterator[dict[str, Any]]:
    """Returns a COCO annotation, without `id` and `image_id`, for each region of `classes`.

    Each has one polygon, its `area` and `bbox`, and `iscrowd` 0. Polygons of COCO have no
    holes, so a bridge of zero width joins a hole to the outline.

    Raises:
      ValueError: `tolerance` is negative or not a number.
    """
    for index in np.intersect1d(label, sorted(classes)).tolist():
        for region in edges(label == index):
            smooth = Region(
                _with_area(region.outer, tolerance),
                tuple(_with_area(hole, tolerance) for hole in region.holes),
            )
            low, high = smooth.outer.min(0), smooth.outer.max(0)
            yield {
                "category_id": index + 1,
                "segmentation": [bridged(smooth).astype(int).ravel().tolist()],
                "area": area(smooth.outer) - sum(map(area, smooth.holes)),
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "iscrowd": 0,
            }


def _with_area(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns the simplified ring, or the ring itself if the simplified one has no area."""
    smooth = simplified(ring, tolerance=tolerance)
    return smooth if area(smooth) > 0 else ring


def labelme_shapes(
    label: Label_HW, class_names: Sequence[str], *, background: int | None, tolerance: float
) -> list[dict[str, Any]]:
    """Returns Labelme polygons of a label map, in the order in which they must be drawn.

    Labelme fills all that a polygon encloses, so larger polygons come first, and polygons
    inside a hole are drawn over them. The class `background` has polygons only where another
    one may enclose it.

    Raises:
      ValueError: `tolerance` is negative or not a number.
    """
    found = _outlines(label, background)
    return [_shape(class_names[i], simplified(ring, tolerance=tolerance)) for i, ring in found]


def labelme_objects(
    ids: Integer[np.ndarray, "h w"],
    names: Mapping[int, str],
    *,
    background: int | None,
    tolerance: float,
) -> list[dict[str, Any]]:
    """Returns Labelme polygons of objects, in the order in which they must be drawn.

    The parts of an object share its id as their `group_id`.

    Args:
      ids: h w, the object of each pixel, or 0.
      names: {id: name of the class}, and for 0 the name of pixels of no object.
      background: 0 if those pixels have polygons only where an object may enclose them.
      tolerance: pixels by which outlines are simplified.

    Raises:
      ValueError: `tolerance` is negative or not a number.
    """
    return [
        _shape(names[i], simplified(ring, tolerance=tolerance), group=i or None)
        for i, ring in _outlines(ids, background)
    ]


def _outlines(ids: np.ndarray, background: int | None) -> list[tuple[int, np.ndarray]]:
    """Returns (id, outline) of each region, the largest first."""
    height, width = ids.shape
    found = []
    for index in np.unique(ids).tolist():
        for ring in centres(ids == index):
            at_border = (ring < 1).any() or (ring > (width - 1, height - 1)).any()
            if index != background or not at_border:
                found.append((area(ring), index, ring))
    found.sort(key=lambda shape: -shape[0])
    return [(index, ring) for _, index, ring in found]


def _shape(name: str, ring: np.ndarray, *, group: int | None = None) -> dict[str, Any]:
    # A polygon needs three points, even for a region of one pixel or one row.
    points = np.concatenate([ring, ring[:1].repeat(max(3 - len(ring), 0), axis=0)])
    return {
        "label": name,
        "points": points.tolist(),
        "group_id": group,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
    }
