"""Objects and a map of stuff, merged into one panoptic map on the host."""

import numpy as np
from jaxtyping import Integer

from segjax.contracts import IGNORE
from segjax.objects import Objects, PanopticMap, Segment


def merge_panoptic(
    objects: Objects,
    stuff: Integer[np.ndarray, "h w"],
    *,
    score: float = 0.5,
    overlap: float = 0.5,
    stuff_area: int = 4096,
) -> PanopticMap:
    """Returns the segments of an image, numbered from 1: objects by falling score, then stuff.

    An object takes the pixels of its mask that no better object has. It is skipped where more
    than `overlap` of its mask is taken. A class of stuff gets its pixels that remain, if they
    are at least `stuff_area`.

    Args:
      objects: with masks; of equal scores the earlier one is better.
      stuff: class ids; 255 where the network says "thing" or nothing.
      score: objects below are left out.
      overlap: a share of an object's mask.
      stuff_area: in pixels of the image's own size.

    Source: Kirillov et al., 2019 (Panoptic Segmentation, arXiv:1801.00868), section 7, with
    detectron2's bounds.
    """
    ids, segments = np.zeros(objects.size, np.int32), []
    for index in np.argsort(-objects.scores, kind="stable").tolist():
        if objects.scores[index] < score:
            break
        mask = objects.mask(index)
        free = mask & (ids == 0)
        area = int(mask.sum())
        if area == 0 or area - int(free.sum()) > overlap * area:
            continue
        number = len(segments) + 1
        ids[free] = number
        confidence = float(objects.scores[index])
        segments.append(Segment(number, int(objects.classes[index]), True, score=confidence))
    remaining = np.where(ids == 0, stuff, IGNORE)
    for class_id, area in zip(*np.unique(remaining, return_counts=True), strict=True):
        if class_id != IGNORE and area >= stuff_area:
            number = len(segments) + 1
            ids[remaining == class_id] = number
            segments.append(Segment(number, int(class_id), False))
    return PanopticMap(ids, tuple(segments))
