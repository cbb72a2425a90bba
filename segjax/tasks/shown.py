"""What a network found as one class a pixel, and as objects: what the local page paints."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from segjax.contracts import IGNORE
from segjax.data.palette import palette_of
from segjax.drawing.composite import foreground
from segjax.drawing.object_colours import colours_of, segment_colours
from segjax.errors import InputError
from segjax.objects import Objects, PanopticMap
from segjax.outputs.object_kinds import id_map, object_mask
from segjax.outputs.selection import Selection, ranked

Maps = Any
"""Probabilities h w k; or what a task that finds objects answers."""

ShownObjects = list[dict[str, Any]]
"""What the page knows of each object, the best first; see `shown_objects`."""

MOST_PLANES = 7
"""Whose combinations 8 bits hold beside 255."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """Classes that exclude one another, made of a network's maps.

    Attributes:
      class_names: of the ids 0, 1, ….
      palette: their colours, 256 × 3.
      label: maps → ids h w, uint8.
      alpha: (maps, ids of some classes) → how much of each pixel belongs to them, 0 … 1. Of
        objects it takes their `label` in place of maps.
      objects: found → the objects that the page lists; None of a network that gives maps.
      scored: whether people choose among the objects by their score.
    """

    class_names: tuple[str, ...]
    palette: np.ndarray
    label: Callable[[Maps], np.ndarray]
    alpha: Callable[[Maps, Sequence[int]], np.ndarray]
    objects: Callable[[Any], ShownObjects] | None = None
    scored: bool = False


def combinations(
    names: Sequence[str],
    colours: np.ndarray,
    *,
    background: str,
    planes: Callable[[Maps], np.ndarray],
) -> Shown:
    """Returns every combination of classes that may overlap, as a class: "disc + cup".

    Id i is the combination whose classes are the bits of i, 0 the background; its colour is the
    mean of theirs. The probability of a combination takes the planes as independent.

    Args:
      names: one a plane.
      colours: k × 3.
      background: what a pixel of none of them is called.
      planes: maps → 0 and 1, h w k.

    Raises:
      InputError: there are too many planes.
    """
    k = len(names)
    if k > MOST_PLANES:
        raise InputError(
            f"serve draws up to {MOST_PLANES} overlapping classes, but this run has {k}: use "
            "segjax.predict."
        )
    sets = [[i for i in range(k) if number >> i & 1] for number in range(2**k)]
    joined = [" + ".join(names[i] for i in members) or background for members in sets]
    means = [np.rint(colours[members].mean(0)) if members else (0, 0, 0) for members in sets]
    bits = 2 ** np.arange(k)

    def alpha(maps: Maps, ids: Sequence[int]) -> np.ndarray:
        """Returns the summed probability of combinations."""
        inside = np.asarray(maps, np.float32)
        product = lambda members: np.prod(
            [inside[..., i] if i in members else 1 - inside[..., i] for i in range(k)], axis=0
        )
        return foreground(np.stack([product(members) for members in sets], axis=-1), ids)

    assert 2**k <= IGNORE
    return Shown(
        tuple(joined),
        palette_of(np.array(means, np.uint8).tolist()),
        lambda maps: (planes(maps) @ bits).astype(np.uint8),
        alpha,
    )


def shown_objects(class_names: tuple[str, ...], palette: np.ndarray) -> Shown:
    """Returns objects as the page lists them; where there is none, the class 0.

    An object is {"class", "colour", "score", "area", "box", "runs"}: its class id, red, green
    and blue, score, pixels, and its mask. `box` is (x, y, width, height). `runs` are lengths
    along the rows of the box, of pixels outside and inside by turns. The class of a pixel is
    that of the best object with a score of 0.5 or more.
    """

    def label(found: Objects) -> np.ndarray:
        """Returns class ids h w."""
        best = Selection().of(found)
        return np.array([0, *best.classes.tolist()], np.uint8)[id_map(best)]

    def listed(found: Objects) -> ShownObjects:
        """Returns the objects by falling score."""
        best = ranked(found)
        colours = colours_of(best, palette, class_names)
        return [
            {
                "class": int(best.classes[i]),
                "colour": list(colours[i]),
                "score": float(best.scores[i]),
                **_runs(object_mask(best, i)),
            }
            for i in range(len(best))
        ]

    return Shown(class_names, palette, label, _inside, listed, scored=True)


def shown_segments(class_names: tuple[str, ...], palette: np.ndarray) -> Shown:
    """Returns the segments of a panoptic map as objects; pixels of none have the class 255."""

    def label(found: PanopticMap) -> np.ndarray:
        """Returns class ids h w."""
        return found.class_map(none=IGNORE).astype(np.uint8)

    def listed(found: PanopticMap) -> ShownObjects:
        """Returns the segments, as objects."""
        colours = segment_colours(found, palette)
        return [
            {
                "class": each.class_id,
                "colour": list(colours[each.id]),
                "score": float(each.score),
                **_runs(found.ids == each.id),
            }
            for each in found.segments
        ]

    return Shown(class_names, palette, label, _inside, listed)


def _inside(label: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Returns 1 where a pixel has one of these classes, else 0."""
    return np.isin(label, list(ids)).astype(np.float32)


def _runs(mask: np.ndarray) -> dict[str, Any]:
    """Returns area, box and runs of a mask; the first run is of pixels outside, maybe 0."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return {"area": 0, "box": [0, 0, 0, 0], "runs": []}
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    flat = part.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.array([0, *changes.tolist(), flat.size])).tolist()
    height, width = part.shape
    return {
        "area": int(flat.sum()),
        "box": [left, top, width, height],
        "runs": [0, *runs] if flat[0] else runs,
    }
