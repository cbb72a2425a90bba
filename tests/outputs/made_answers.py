"""Made-up answers of tasks of objects: overlapping rectangles, a ring, segments of things."""

import numpy as np

from segjax.objects import Objects, PanopticMap, Segment, encoded

NAMES = ("background", "cell", "grain")
SIZE = 20, 30


def rectangle(top, left, height, width) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def ring() -> np.ndarray:
    return rectangle(8, 14, 9, 12) & ~rectangle(11, 18, 3, 4)


def objects(*found, masks: bool = True) -> Objects:
    """Objects of (mask, class id, score)."""
    boxes = [
        (c.min(), r.min(), c.max() + 1, r.max() + 1)
        for r, c in (np.nonzero(mask) for mask, *_ in found)
    ]
    return Objects(
        SIZE,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([index for _, index, _ in found], np.int32),
        np.array([score for *_, score in found], np.float32),
        np.zeros(len(found), bool),
        tuple(encoded(mask) for mask, *_ in found) if masks else None,
    )


def four(*, masks: bool = True) -> Objects:
    """Out of order: a cell of two parts, a better one over it, a ring, an unlikely one."""
    parts = rectangle(1, 1, 6, 9) | rectangle(12, 2, 3, 3)
    return objects(
        (parts, 1, 0.7),
        (rectangle(4, 5, 6, 8), 2, 0.9),
        (ring(), 1, 0.8),
        (rectangle(0, 20, 3, 3), 2, 0.2),
        masks=masks,
    )


THING_NAMES = ("sky", "car", "road")
THINGS = (1,)


def segments() -> PanopticMap:
    """Sky, road and two cars, one with an id above 255; a row without a segment."""
    ids = np.full(SIZE, 1, np.int32)
    ids[10:] = 2
    ids[8:14, 3:9] = 7
    ids[9:15, 15:27] = 70_000
    ids[-1] = 0
    return PanopticMap(
        ids,
        (
            Segment(1, 0, False),
            Segment(2, 2, False),
            Segment(7, 1, True, score=0.75),
            Segment(70_000, 1, True, score=0.5),
        ),
    )
