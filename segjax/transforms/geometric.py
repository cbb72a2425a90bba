"""Scale, crop, flip and turn: all entries of an example move together.

A transform is a frozen dataclass, called as `(example, rng) → example`. It returns a new
example and keeps dtypes. Images are h w c in uint8, uint16 or float32; labels, h w or h w k,
are moved by nearest neighbours, so that no id appears that was not there.
`segjax.transforms.entries` says how each entry moves. An entry that it does not know is an
`InputError` that names it; maps of two sizes are one that names both shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped
from PIL import Image

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.ops.resize import resize_axis
from segjax.transforms.averages import as_dtype
from segjax.transforms.entries import move, size_of, unmoved
from segjax.transforms.fields import (
    check_count,
    check_probability,
    check_scales,
    check_step,
    pair_of,
)
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour, filled
from segjax.transforms.kinds import Motion


@dataclass(frozen=True)
class RandomScale:
    """Both sides times one factor, uniform in [minimum, maximum], or on its grid of `step`.

    torchvision draws from the interval (`step=None`), DeepLab's code from minimum, minimum +
    step, …, maximum with a step of 0.25. The factor is uniform itself, not its logarithm.
    Images and weight maps are bilinear, with Pillow's wider filter when they shrink; labels are
    nearest.
    """

    minimum: float = 0.5
    maximum: float = 2.0
    step: float | None = None

    def __post_init__(self):
        check_scales(self)
        check_step(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example at a random scale, at least one pixel high and wide."""
        size = self.drawn(size_of(example, by="RandomScale"), rng)
        return resize_to(example, size, by="RandomScale")

    def drawn(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        """Returns a random size for an example of this size, at least 1 × 1."""
        if self.step is None:
            factor = rng.uniform(self.minimum, self.maximum)
        else:
            steps = int((self.maximum - self.minimum) / self.step + 1e-6)
            factor = self.minimum + self.step * rng.integers(steps + 1)
        h, w = size
        return max(1, round(h * factor)), max(1, round(w * factor))


@dataclass(frozen=True)
class Resize:
    """Every example at one `size`: (height, width), or one number for a square."""

    size: int | tuple[int, int]

    def __post_init__(self):
        pair_of(self.size, "Resize")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example at `size`."""
        return resize_to(example, pair_of(self.size, "Resize"), by="Resize")


@dataclass(frozen=True)
class ShrinkTo:
    """Examples whose longer side exceeds `side` pixels become smaller, to that side.

    Height and width keep their ratio; smaller examples stay as they are. The predictor of
    `segjax.evaluate.longest_side.LongestSide(side)` shrinks images to the same size.
    """

    side: int

    def __post_init__(self):
        if not isinstance(self.side, int) or isinstance(self.side, bool) or self.side < 1:
            raise InputError(f"ShrinkTo needs a whole number of pixels, got {self.side!r}.")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its longer side at most `side`."""
        h, w = size_of(example, by="ShrinkTo")
        scale = self.side / max(h, w)
        if scale >= 1:
            return example
        size = max(1, round(h * scale)), max(1, round(w * scale))
        return resize_to(example, size, by="ShrinkTo")


@dataclass(frozen=True)
class RandomCrop:
    """A window of `size` ((height, width), or one number for a square) at a random place.

    An example that is smaller than the window lies at a random place inside it. Around it the
    image is `fill`, one number or one a channel, in the image's own units (the default fits any
    image, see `fill_for`); the label is 255, NaN if it holds floats, and a weight map 0.
    """

    size: int | tuple[int, int]
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        pair_of(self.size, "RandomCrop")
        check_number_or_colour("RandomCrop", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the window; its corner is uniform over all places that waste no pixel.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        have, size = size_of(example, by="RandomCrop"), pair_of(self.size, "RandomCrop")
        top, left = random_corner(have, size, rng)
        return crop(example, top, left, size, fill=self.fill, by="RandomCrop")


@dataclass(frozen=True)
class MirrorPad:
    """`pixels` more on each side, the example's maps mirrored about the border pixels.

    With 92 of them a 572² crop of the result has any place of the original in the 388² centre
    that U-Net's valid convolutions answer for (Ronneberger et al., 2015, figure 2). Points have
    no mirror images; boxes are refused, as the objects' mirror images would have none.
    """

    pixels: int

    def __post_init__(self):
        check_count(self, "pixels", 0)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example with its mirrored surroundings."""
        h, w = size_of(example, by="MirrorPad")
        pixels = self.pixels
        mirrored = lambda plane, _: np.pad(
            plane, [(pixels, pixels)] * 2 + [(0, 0)] * (plane.ndim - 2), mode="reflect"
        )
        motion = Motion(
            by="MirrorPad",
            size=(h + 2 * pixels, w + 2 * pixels),
            bilinear=mirrored,
            nearest=mirrored,
            places=lambda xy: xy + pixels,
            repeats=True,
        )
        return move(example, motion)


@dataclass(frozen=True)
class RandomFlip:
    """Left and right exchanged with `probability`.

    Labels move but keep their classes: a class "left hand" stays one on the right of the image.
    Leave the flip out where classes tell left from right.
    """

    probability: float = 0.5

    def __post_init__(self):
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example or its mirror image."""
        if rng.random() >= self.probability:
            return unmoved(example, by="RandomFlip")
        h, w = size_of(example, by="RandomFlip")
        mirrored = lambda xy: xy * (-1, 1) + (w, 0)
        return _rearranged(example, _mirror, mirrored, size=(h, w), by="RandomFlip")


@dataclass(frozen=True)
class RandomFlipVertical:
    """Top and bottom exchanged with `probability`: for images without an up, as of cells."""

    probability: float = 0.5

    def __post_init__(self):
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example or its mirror image."""
        if rng.random() >= self.probability:
            return unmoved(example, by="RandomFlipVertical")
        h, w = size_of(example, by="RandomFlipVertical")
        mirrored = lambda xy: xy * (1, -1) + (0, h)
        return _rearranged(
            example, lambda plane: plane[::-1], mirrored, size=(h, w), by="RandomFlipVertical"
        )


@dataclass(frozen=True)
class RandomRotate90:
    """Turned by 0, 90, 180 or 270 degrees, each as likely; sides change places."""

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the turned example."""
        turns = int(rng.integers(4))
        h, w = size_of(example, by="RandomRotate90")
        size = (w, h) if turns % 2 else (h, w)
        # Counter-clockwise, as `np.rot90`; y points down.
        turned = (
            lambda xy: xy,
            lambda xy: xy[:, ::-1] * (1, -1) + (0, w),
            lambda xy: xy * -1 + (w, h),
            lambda xy: xy[:, ::-1] * (-1, 1) + (h, 0),
        )[turns]
        pixels = lambda plane: np.rot90(plane, turns)
        return _rearranged(example, pixels, turned, size=size, by="RandomRotate90")


def random_corner(
    have: tuple[int, int], size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Returns (top, left) of a window, uniform over all places that waste no pixel.

    Numbers are negative where the window is larger than the example.
    """
    top, left = (
        int(rng.integers(min(0, old - new), max(0, old - new) + 1))
        for old, new in zip(have, size, strict=True)
    )
    return top, left


def crop(
    example: Example,
    top: int,
    left: int,
    size: tuple[int, int],
    *,
    fill: float | tuple[float, ...] = MEAN_COLOUR,
    by: str,
) -> Example:
    """Returns the window of an example whose corner is (top, left); see `RandomCrop`."""
    window = lambda plane, fill: _window(plane, top, left, *size, fill)
    motion = Motion(
        by=by,
        size=size,
        bilinear=window,
        nearest=window,
        places=lambda xy: xy - (left, top),
        fill=fill,
    )
    return move(example, motion)


def resize_to(
    example: Example, size: tuple[int, int], *, by: str, antialias: bool = True
) -> Example:
    """Returns the example at (height, width): images bilinear, labels nearest.

    Args:
      example: what the transform was given.
      size: height and width of the result.
      by: the transform's name, for messages.
      antialias: whether images that shrink are averaged, as Pillow does.
    """
    h, w = size_of(example, by=by)
    bilinear = resize_with_pillow if antialias else resize_between
    factors = np.array([size[1] / w, size[0] / h])
    motion = Motion(
        by=by,
        size=size,
        bilinear=lambda planes, _: bilinear(planes, *size),
        nearest=lambda label, _: resize_nearest(label, *size),
        places=lambda xy: xy * factors,
    )
    return move(example, motion)


def resize_with_pillow(
    image: Shaped[np.ndarray, "h w c"],
    h: int,
    w: int,
    *,
    box: tuple[float, float, float, float] | None = None,
) -> Shaped[np.ndarray, "h2 w2 c"]:
    """Returns the image at h × w by Pillow's BILINEAR, in its own dtype; half-pixel centres.

    `box` is the part that is resized, (left, top, right, bottom) in the image's pixels; pixels
    around it are still averaged with those inside.
    """
    resize = lambda plane: np.asarray(
        Image.fromarray(plane).resize((w, h), Image.Resampling.BILINEAR, box=box)
    )
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return resize(image)
    # Channel by channel: Pillow would take two or four channels for colours with transparency.
    planes = [image[..., c] for c in range(image.shape[-1])]
    if image.dtype != np.uint8:
        planes = [plane.astype(np.float32) for plane in planes]
    resized = np.stack([resize(np.ascontiguousarray(plane)) for plane in planes], axis=-1)
    return as_dtype(resized, image.dtype)


def resize_between(
    image: Shaped[np.ndarray, "h w c"], h: int, w: int
) -> Shaped[np.ndarray, "h2 w2 c"]:
    """Returns the image at h × w, each pixel between the four nearest; half-pixel centres.

    Images that shrink are not averaged, as in torchvision's detectors.
    """
    values = resize_axis(resize_axis(image.astype(np.float32), 0, h), 1, w)
    return as_dtype(values, image.dtype)


def resize_nearest(
    label: Shaped[np.ndarray, "h w ..."], h: int, w: int
) -> Shaped[np.ndarray, "h2 w2 ..."]:
    """Returns the label at h × w: each pixel takes the old one under its centre."""
    y, x = (
        under_centres(np.arange(new), of=new, old=old)
        for new, old in zip((h, w), label.shape[:2], strict=True)
    )
    # Axis by axis: several times as fast as both indices at once.
    return label.take(x, axis=1).take(y, axis=0)


def under_centres(
    pixels: Integer[np.ndarray, " n"], *, of: int, old: int
) -> Integer[np.ndarray, " n"]:
    """Returns which of `old` pixels lies under the centre of each of `of` in their place."""
    return (2 * pixels + 1) * old // (2 * of)


def _window(plane: np.ndarray, top: int, left: int, h: int, w: int, fill: Any) -> np.ndarray:
    """Returns h rows from `top` and w columns from `left`; `fill` outside the plane."""
    rows, columns = plane.shape[:2]
    y0, y1, x0, x1 = max(top, 0), min(top + h, rows), max(left, 0), min(left + w, columns)
    if (y1 - y0, x1 - x0) == (h, w):
        return np.ascontiguousarray(plane[y0:y1, x0:x1])
    window = filled((h, w, *plane.shape[2:]), plane.dtype, fill)
    window[y0 - top : y1 - top, x0 - left : x1 - left] = plane[y0:y1, x0:x1]
    return window


def _rearranged(
    example: Example,
    pixels: Callable[[np.ndarray], np.ndarray],
    places: Callable[[np.ndarray], np.ndarray],
    *,
    size: tuple[int, int],
    by: str,
) -> Example:
    """Returns the example with its pixels in another order; nothing is interpolated."""
    plain = lambda plane, _: np.ascontiguousarray(pixels(plane))
    return move(example, Motion(by=by, size=size, bilinear=plain, nearest=plain, places=places))


def _mirror(plane: np.ndarray) -> np.ndarray:
    """Returns the plane with left and right exchanged."""
    if plane.ndim == 2:
        return plane[:, ::-1]
    # Copying a reversed view goes value by value, and takes twice as long.
    return plane.take(np.arange(plane.shape[1])[::-1], axis=1)
