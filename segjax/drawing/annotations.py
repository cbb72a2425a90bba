"""Label maps as annotations that other tools open: COCO's regions and Labelme's shapes.

With a tolerance of 0 both are exact: painted by pycocotools, or in order by Labelme's own rule,
they give the label map back. Otherwise their outlines are simplified to that many pixels.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segjax.drawing.polygons import Region, area, bridged, centres, edges, simplified

Label_HW = UInt8[np.ndarray, "h w"]


def coco_categories(class_names: Sequence[str], classes: Collection[int]) -> list[dict]:
    """Returns COCO's categories of `classes`; their ids are the class ids plus 1, since 0 is
    none.
    """
    return [{"id": index + 1, "name": class_names[index]} for index in sorted(classes)]


def coco_regions(
    label: Label_HW, classes: Collection[int], *, tolerance: float
) -> Iterator[dict[str, Any]]:
    """Returns one COCO annotation for each region of `classes`, but for `id` and `image_id`.

    Each has a single polygon, `area` and `bbox` of that polygon, and `iscrowd` 0. COCO's
    polygons have no holes, so that a hole is joined to the outline by a bridge of no width.

    Raises:
      ValueError: `tolerance` is negative or no number.
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
    """Returns the simplified ring, or the ring where nothing would be left of it."""
    smooth = simplified(ring, tolerance=tolerance)
    return smooth if area(smooth) > 0 else ring


def labelme_shapes(
    label: Label_HW, class_names: Sequence[str], *, background: int | None, tolerance: float
) -> list[dict[str, Any]]:
    """Returns Labelme's polygons of a label map, in the order in which they are to be painted.

    Labelme fills a polygon with all that it encloses, so that larger ones come first and what
    lies in a hole is painted over it. The class `background` is what nothing is painted on:
    it has shapes only where it may be enclosed.

    Raises:
      ValueError: `tolerance` is negative or no number.
    """
    height, width = label.shape
    found = []
    for index in np.unique(label).tolist():
        for ring in centres(label == index):
            at_border = (ring < 1).any() or (ring > (width - 1, height - 1)).any()
            if index != background or not at_border:
                found.append((area(ring), class_names[index], ring))
    found.sort(key=lambda shape: -shape[0])
    return [_shape(name, simplified(ring, tolerance=tolerance)) for _, name, ring in found]


def _shape(name: str, ring: np.ndarray) -> dict[str, Any]:
    # A polygon has three points or more, also where a region is a pixel or a row of them.
    points = np.concatenate([ring, ring[:1].repeat(max(3 - len(ring), 0), axis=0)])
    return {
        "label": name,
        "points": points.tolist(),
        "group_id": None,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
    }
