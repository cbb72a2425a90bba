"""Brightness, contrast, saturation and hue: images change, and nothing else."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from segjax.contracts import Example, full_scale
from segjax.transforms.entries import change_images
from segjax.transforms.fields import check_number

GREY = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601's luma of red, green, blue."""


@dataclass(frozen=True)
class ColorJitter:
    """A random brightness, contrast, saturation and hue for each image.

    The first three are factors uniform in [max(0, 1 − value), 1 + value]: of the image, of its
    distance from its mean luma, of each pixel's distance from its own luma. `hue` turns colours
    about the axis of greys by a part of the circle uniform in [−hue, hue]. Applied in this
    order as one affine map, and clipped to the dtype's range once at the end (0 … 1 for
    float32). Images that are not RGB change in brightness and contrast alone. All images of an
    example change by the same numbers (`segjax.transforms.kinds.Image`), nothing else does.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for name in ("brightness", "contrast", "saturation"):
            check_number(self, name, 0)
        check_number(self, "hue", 0, most=0.5)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example with its image changed."""
        factor = lambda value: rng.uniform(max(0.0, 1 - value), 1 + value)
        brightness, contrast = factor(self.brightness), factor(self.contrast)
        saturation, turn = factor(self.saturation), rng.uniform(-self.hue, self.hue)
        change = lambda image: change_colours(image, brightness, contrast, saturation, turn)
        return change_images(example, change, by="ColorJitter")


def change_colours(
    image: Shaped[np.ndarray, "h w c"],
    brightness: float,
    contrast: float,
    saturation: float,
    turn: float,
) -> Shaped[np.ndarray, "h w c"]:
    """Returns the image after one affine map of its colours; see `ColorJitter`."""
    matrix, luma = np.eye(image.shape[-1]), np.full(image.shape[-1], 1 / image.shape[-1])
    if image.shape[-1] == 3:
        luma = GREY
        desaturated = np.outer(np.ones(3), luma)
        matrix = _turn_hue(turn) @ (saturation * matrix + (1 - saturation) * desaturated)
    mean = brightness * (luma @ image.mean((0, 1), dtype=np.float64))
    changed = image.astype(np.float32) @ (brightness * contrast * matrix.T).astype(np.float32)
    changed += np.float32((1 - contrast) * mean)
    return in_range(changed, image.dtype)


def _turn_hue(turn: float) -> Float64[np.ndarray, "3 3"]:
    """Returns Rodrigues' rotation about (1, 1, 1) by 2π · `turn`: greys stay."""
    cosine, sine = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return cosine * np.eye(3) + sine * cross + (1 - cosine) / 3


def in_range(image: np.ndarray, dtype: np.dtype) -> Shaped[np.ndarray, "h w c"]:
    """Returns an image in a dtype: rounded for integers, and clipped to the dtype's range."""
    rounded = np.rint(image) if np.issubdtype(dtype, np.integer) else image
    return rounded.clip(0, full_scale(dtype)).astype(dtype)
