"""The warping error of Jain et al. (2010): pixels that differ in topology."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from segjax.report.score import Score
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.scores.segments import segment_class, segment_plane

AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours in a circle; those at odd places share a side."""


@dataclasses.dataclass(frozen=True)
class WarpingError(ExtraMetric):
    """The warping error (Jain et al., 2010) of segments and the borders between them.

    The true mask is warped onto the predicted one: pixels where the two differ are flipped in
    the truth, as long as each flip keeps the topology, so that no segment is split, merged,
    created, removed, opened or closed. Pixels that still differ are errors. A border that is
    shifted by less than its width is no error. A gap in a border is one, of few pixels.

    A flip keeps the topology if the pixel is simple: segments connect by sides, the border by
    sides and corners. Pixels are tried from top to bottom and from left to right, again and
    again until none can be flipped. The smallest possible number of errors may be lower, for
    another order; the search is greedy in the paper too. Outside the image is border. Ignored
    pixels take the predicted value and are not counted.

    The score is the share of such pixels of all counted pixels of the set. U-Net reports
    0.000353 for ISBI 2012, from the challenge's own program and test sections.

    Attributes:
      segments: name of the class; None: the second of two classes, or the only plane.
    """

    segments: str | None = None

    shown = {"warping_error": Score("Warping error", is_share=False, higher_is_better=False)}
    definition = (
        "The share of pixels that differ after the truth is warped onto the prediction by "
        "flips that keep its topology (Jain et al., 2010)."
    )

    def check(self, class_names: Sequence[str], *, overlapping: bool) -> None:
        """Raises InputError unless the class is known."""
        segment_class(self.segments, class_names, overlapping=overlapping, who="WarpingError")

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns the pixels that still differ, and the counted pixels."""
        plane = segment_plane(self.segments, image, who="WarpingError")
        truth = np.where(plane.counted, plane.truth, plane.prediction)
        differ = warped(truth, plane.prediction) != plane.prediction
        return np.array([differ.sum(), plane.counted.sum()], np.int64)

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the share of pixels that still differ."""
        errors, pixels = counts.tolist()
        return {"warping_error": errors / pixels if pixels else None}


def warped(
    truth: Bool[np.ndarray, "h w"], prediction: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Returns the truth with simple pixels flipped to the prediction, until none is left.

    >>> shifted = warped(np.array([[0, 1, 1, 0]], bool), np.array([[0, 0, 1, 1]], bool))
    >>> shifted.astype(int).tolist()
    [[0, 0, 1, 1]]
    """
    padded = np.pad(truth, 1)
    width = padded.shape[1]
    mask = padded.ravel().tolist()
    steps = [row * width + column for row, column in AROUND]
    simple = simple_points()
    pending = np.flatnonzero(padded != np.pad(prediction, 1)).tolist()
    before = -1
    while before != len(pending):
        before, left = len(pending), []
        for at in pending:
            around = 0
            for bit, step in enumerate(steps):
                around |= mask[at + step] << bit
            if simple[around]:
                mask[at] = not mask[at]
            else:
                left.append(at)
        pending = left
    return np.array(mask, bool).reshape(padded.shape)[1:-1, 1:-1]


@functools.cache
def simple_points() -> tuple[bool, ...]:
    """Returns for each of 256 neighbourhoods whether the pixel in it is simple.

    Bit i is the neighbour `AROUND[i]`. A pixel is simple if its flip changes neither the number
    of segments, connected by sides, nor that of regions of border, connected by sides and
    corners: among its neighbours exactly one group of segment pixels touches its side, and
    exactly one group of border pixels touches it.
    """
    return tuple(_is_simple([number >> bit & 1 for bit in range(8)]) for number in range(256))


def _is_simple(around: Sequence[int]) -> bool:
    sides = [i for i in range(8) if i % 2]
    inside = _groups([i for i in range(8) if around[i]], lambda i, j: _touch(i, j) == 1)
    outside = _groups([i for i in range(8) if not around[i]], lambda i, j: _touch(i, j) <= 2)
    return sum(any(i in sides for i in group) for group in inside) == 1 and len(outside) == 1


def _touch(i: int, j: int) -> int:
    """Returns the squared distance of two neighbours."""
    (a, b), (c, d) = AROUND[i], AROUND[j]
    return (a - c) ** 2 + (b - d) ** 2


def _groups(places: Sequence[int], connected: Any) -> list[set[int]]:
    groups: list[set[int]] = []
    for place in places:
        joined = [g for g in groups if any(connected(place, other) for other in g)]
        groups = [g for g in groups if g not in joined] + [{place}.union(*joined)]
    return groups
