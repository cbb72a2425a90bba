"""Maps of a network as one class a pixel: what the local page paints."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from segjax.contracts import IGNORE
from segjax.data.palette import palette_of
from segjax.drawing.composite import foreground
from segjax.errors import InputError

Maps = np.ndarray
"""Probabilities h w k."""

MOST_PLANES = 7
"""Whose combinations 8 bits hold beside 255."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """Classes that exclude one another, made of a network's maps.

    Attributes:
      class_names: of the ids 0, 1, ….
      palette: their colours, 256 × 3.
      label: maps → ids h w, uint8.
      alpha: (maps, ids of some classes) → how much of each pixel belongs to them, 0 … 1.
    """

    class_names: tuple[str, ...]
    palette: np.ndarray
    label: Callable[[Maps], np.ndarray]
    alpha: Callable[[Maps, Sequence[int]], np.ndarray]


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
