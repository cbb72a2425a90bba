"""Sizes by one side: height and width keep their ratio."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.transforms.entries import size_of
from segjax.transforms.fields import is_count
from segjax.transforms.geometric import resize_to


@dataclass(frozen=True)
class ResizeShortSide:
    """The shorter side becomes `side` pixels long.

    With `side=(low, high)` its length is drawn: each whole number from low to high is equally
    likely, as in the `RandomResize` of torchvision's reference training for segmentation.
    Images and weight maps are bilinear, labels nearest.
    """

    side: int | tuple[int, int]

    def __post_init__(self):
        _check_side(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example at its new size."""
        return _resized(self, example, min, rng)


@dataclass(frozen=True)
class ResizeLongSide:
    """The longer side becomes `side` pixels long, also where it was shorter.

    `ShrinkTo` only makes examples smaller. With `side=(low, high)` the length is drawn, as in
    `ResizeShortSide`.
    """

    side: int | tuple[int, int]

    def __post_init__(self):
        _check_side(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example at its new size."""
        return _resized(self, example, max, rng)


def _resized(transform: Any, example: Example, which: Any, rng: np.random.Generator) -> Example:
    name, side = type(transform).__name__, transform.side
    h, w = size_of(example, by=name)
    if isinstance(side, tuple):
        side = int(rng.integers(side[0], side[1] + 1))
    scale = side / which(h, w)
    size = max(1, round(h * scale)), max(1, round(w * scale))
    return resize_to(example, size, by=name)


def _check_side(transform: Any) -> None:
    side = transform.side
    sides = side if isinstance(side, tuple) else (side, side)
    if len(sides) != 2 or not all(map(is_count, sides)) or not 1 <= sides[0] <= sides[1]:
        raise InputError(
            f"{type(transform).__name__} needs side: a positive whole number of pixels, or "
            f"(low, high), got {side!r}."
        )
