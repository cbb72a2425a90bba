"""Sizes by one side, or within two: height and width keep their ratio."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.transforms.entries import size_of
from segjax.transforms.fields import check_flag, is_count
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


@dataclass(frozen=True)
class ResizeSides:
    """As large as possible with a shorter side up to `short` and a longer side up to `long`.

    This is how detectors see images: 800 and 1333 in torchvision and detectron2. Sizes are
    rounded down, as torchvision does; detectron2 rounds to the nearest number, and so may be a
    pixel larger. Images are bilinear; labels and objects' masks are nearest, and an object that
    loses its last pixel is dropped.

    With several numbers one is drawn, each as likely: detectron2 trains with
    `ResizeSides((640, 672, 704, 736, 768, 800), 1333)`.

    Images that grow are the same for both values of `antialias`. The task's `antialias` is the
    same choice for prediction.

    Attributes:
      short: pixels of the shorter side, or several numbers.
      long: the most pixels of the longer side.
      antialias: whether images that shrink are averaged, as in Pillow and detectron2. False is
        torchvision's: each pixel lies between the four nearest.
    """

    short: int | tuple[int, ...] = 800
    long: int = 1333
    antialias: bool = True

    def __post_init__(self):
        check_flag(self, "antialias")
        short, long = self.short, self.long
        choices = short if isinstance(short, tuple) else (short,)
        if not choices or not all(is_count(side) and side >= 1 for side in choices):
            raise InputError(
                "ResizeSides needs short: a positive whole number of pixels, or several of "
                f"which one is drawn, such as (640, 800), got {short!r}."
            )
        if not is_count(long) or long < max(choices):
            raise InputError(
                f"ResizeSides needs long: a whole number of at least {max(choices)}, the side "
                f"`short`, got {long!r}."
            )

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example at its new size."""
        size = size_of(example, by="ResizeSides")
        short = self.short
        if isinstance(short, tuple):
            short = short[int(rng.integers(len(short)))]
        sides = sides_within(size, short=short, long=self.long)
        return resize_to(example, sides, by="ResizeSides", antialias=self.antialias)


def sides_within(size: tuple[int, int], *, short: int, long: int) -> tuple[int, int]:
    """Returns height and width of an image of `size` after `ResizeSides(short, long)`.

    >>> sides_within((480, 640), short=800, long=1333)
    (800, 1066)
    >>> sides_within((1024, 2048), short=800, long=1333)
    (666, 1333)
    """
    # In torchvision's order, whose rounding it shares: 322 x 500 becomes 799 x 1242.
    scale = min(short / min(size), long / max(size))
    h, w = (max(1, math.floor(side * scale)) for side in size)
    return h, w


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
