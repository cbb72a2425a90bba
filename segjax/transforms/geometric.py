"""Scale, crop, flip and turn: image, label and weight map move together.

A transform is a frozen dataclass, called as `(example, rng) → example`. It returns a new
example, keeps dtypes and every key that it does not know. Images are h w c in uint8, uint16 or
float32; labels are moved by nearest neighbours, so that no id appears that was not there. Maps
that are not of one size are an `InputError`, which names the example and both shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from segjax.contracts import IGNORE, Example, full_scale
from segjax.errors import InputError
from segjax.labels import check_planes

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean colour in 8-bit RGB: what fills the room around images by default."""

MEAN_GREY = 117
"""Its luma, for images of any other number of channels."""


def fill_for(
    image: Shaped[np.ndarray, "h w c"], fill: float | tuple[float, ...], *, name: str
) -> float | tuple[float, ...]:
    """`fill` as it is; where it is the default, that colour in the image's channels and units.

    Raises:
      InputError: `fill` has neither one number nor as many as the image has channels; the line
        calls the transform `name`.
    """
    channels = image.shape[-1]
    if fill == MEAN_COLOUR:
        scale = full_scale(image.dtype) / 255
        colour = MEAN_COLOUR if channels == 3 else (MEAN_GREY,) * channels
        return colour if scale == 1 else tuple(value * scale for value in colour)
    if np.size(fill) not in (1, channels):
        raise InputError(
            f"{name} fills with {np.size(fill)} numbers {fill}, but images have {channels} "
            "channel(s): give fill one number, or one a channel."
        )
    return fill


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
        if not 0 < self.minimum <= self.maximum:
            raise InputError(
                f"RandomScale needs 0 < minimum <= maximum, got {self.minimum} and "
                f"{self.maximum}."
            )
        if self.step is not None and self.step <= 0:
            raise InputError(f"RandomScale needs step > 0 or None, got {self.step}.")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The example at a random scale, at least one pixel high and wide."""
        check_planes(example)
        if self.step is None:
            factor = rng.uniform(self.minimum, self.maximum)
        else:
            steps = int((self.maximum - self.minimum) / self.step + 1e-6)
            factor = self.minimum + self.step * rng.integers(steps + 1)
        h, w = example["label"].shape
        return resize_example(example, max(1, round(h * factor)), max(1, round(w * factor)))


@dataclass(frozen=True)
class Resize:
    """Every example at one `size`: (height, width), or one number for a square."""

    size: int | tuple[int, int]

    def __post_init__(self):
        _pair(self.size, "Resize")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The example at `size`."""
        return resize_example(example, *_pair(self.size, "Resize"))


@dataclass(frozen=True)
class RandomCrop:
    """A window of `size` ((height, width), or one number for a square) at a random place.

    An example that is smaller than the window lies at a random place inside it. Around it the
    image is `fill`, one number or one a channel, in the image's own units (the default fits any
    image, see `fill_for`); the label is 255 and a weight map 0.
    """

    size: int | tuple[int, int]
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        _pair(self.size, "RandomCrop")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The window; its corner is uniform over all places that waste no pixel.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        check_planes(example)
        fill = fill_for(example["image"], self.fill, name="RandomCrop")
        (top, h), (left, w) = (
            (int(rng.integers(min(0, have - want), max(0, have - want) + 1)), want)
            for have, want in zip(
                example["label"].shape, _pair(self.size, "RandomCrop"), strict=True
            )
        )
        return _map_planes(
            example,
            image=lambda image: _window(image, top, left, h, w, fill),
            label=lambda label: _window(label, top, left, h, w, IGNORE),
            weight=lambda weight: _window(weight, top, left, h, w, 0),
        )


@dataclass(frozen=True)
class MirrorPad:
    """`pixels` more on each side, image, label and weight map mirrored about the border pixels.

    With 92 of them a 572² crop of the result has any place of the original in the 388² centre
    that U-Net's valid convolutions answer for (Ronneberger et al., 2015, figure 2).
    """

    pixels: int

    def __post_init__(self):
        if self.pixels < 0:
            raise InputError(f"MirrorPad needs pixels >= 0, got {self.pixels}.")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The example with its mirrored surroundings."""
        around = ((self.pixels, self.pixels), (self.pixels, self.pixels))
        flat = lambda plane: np.pad(plane, around, mode="reflect")
        return _map_planes(
            example,
            image=lambda image: np.pad(image, (*around, (0, 0)), mode="reflect"),
            label=flat,
            weight=flat,
        )


@dataclass(frozen=True)
class RandomFlip:
    """Left and right exchanged with `probability`."""

    probability: float = 0.5

    def __post_init__(self):
        _check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The example or its mirror image."""
        if rng.random() >= self.probability:
            return dict(example)
        return _map_all(example, lambda plane: plane[:, ::-1])


@dataclass(frozen=True)
class RandomFlipVertical:
    """Top and bottom exchanged with `probability`: for images without an up, as of cells."""

    probability: float = 0.5

    def __post_init__(self):
        _check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The example or its mirror image."""
        if rng.random() >= self.probability:
            return dict(example)
        return _map_all(example, lambda plane: plane[::-1])


@dataclass(frozen=True)
class RandomRotate90:
    """Turned by 0, 90, 180 or 270 degrees, each as likely; sides change places."""

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The turned example."""
        turns = int(rng.integers(4))
        return _map_all(example, lambda plane: np.rot90(plane, turns))


def resize_example(example: Example, h: int, w: int) -> Example:
    """The example at h × w: image and weight map bilinear, label nearest."""
    return _map_planes(
        example,
        image=lambda image: resize_bilinear(image, h, w),
        label=lambda label: resize_nearest(label, h, w),
        weight=lambda weight: resize_bilinear(weight[..., None], h, w)[..., 0],
    )


def resize_bilinear(
    image: Shaped[np.ndarray, "h w c"], h: int, w: int
) -> Shaped[np.ndarray, "h2 w2 c"]:
    """The image at h × w by Pillow's BILINEAR, in its own dtype; half-pixel centres."""
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR))
    # Channel by channel: Pillow would take two or four channels for colours with transparency.
    planes = [image[..., c] for c in range(image.shape[-1])]
    if image.dtype != np.uint8:
        planes = [plane.astype(np.float32) for plane in planes]
    resized = np.stack(
        [
            np.asarray(Image.fromarray(plane).resize((w, h), Image.Resampling.BILINEAR))
            for plane in map(np.ascontiguousarray, planes)
        ],
        axis=-1,
    )
    if np.issubdtype(image.dtype, np.integer):
        resized = np.rint(resized)
    return resized.astype(image.dtype)


def resize_nearest(
    label: Shaped[np.ndarray, "h w"], h: int, w: int
) -> Shaped[np.ndarray, "h2 w2"]:
    """The label at h × w: each pixel is the old one under its centre (half-pixel centres)."""
    y, x = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip((h, w), label.shape, strict=True)
    )
    return label[y[:, None], x]


def _window(plane: np.ndarray, top: int, left: int, h: int, w: int, fill: Any) -> np.ndarray:
    """Rows from `top` and columns from `left`, h × w; `fill` where the plane has none."""
    rows, columns = plane.shape[:2]
    y0, y1, x0, x1 = max(top, 0), min(top + h, rows), max(left, 0), min(left + w, columns)
    if (y1 - y0, x1 - x0) == (h, w):
        return np.ascontiguousarray(plane[y0:y1, x0:x1])
    window = np.empty((h, w, *plane.shape[2:]), plane.dtype)
    window[...] = fill
    window[y0 - top : y1 - top, x0 - left : x1 - left] = plane[y0:y1, x0:x1]
    return window


def _map_planes(example: Example, **functions: Callable[[np.ndarray], np.ndarray]) -> Example:
    """A new example in which each named array that is there went through its function."""
    check_planes(example)
    moved = {key: f(example[key]) for key, f in functions.items() if key in example}
    return {**example, **moved}


def _map_all(example: Example, function: Callable[[np.ndarray], np.ndarray]) -> Example:
    contiguous = lambda plane: np.ascontiguousarray(function(plane))
    return _map_planes(example, image=contiguous, label=contiguous, weight=contiguous)


def _pair(size: Any, name: str) -> tuple[int, int]:
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise InputError(
            f"{name} needs size: one positive integer or (height, width), got {size!r}."
        )
    return pair


def _check_probability(transform: Any) -> None:
    if not 0 <= transform.probability <= 1:
        raise InputError(
            f"{type(transform).__name__} needs probability in 0 ... 1, got "
            f"{transform.probability}."
        )
