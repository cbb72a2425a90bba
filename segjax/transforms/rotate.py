"""Turning by any angle, about the centre."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from segjax.contracts import Example
from segjax.transforms.entries import move, size_of, unmoved
from segjax.transforms.fields import check_number, check_probability
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour
from segjax.transforms.kinds import Motion
from segjax.transforms.warp import (
    Border,
    about_centre,
    check_border,
    project,
    resampled,
    resampled_nearest,
    rotation,
)


@dataclass(frozen=True)
class RandomRotate:
    """Turned about its centre by an angle uniform in ± `degrees`, with `probability`.

    PSPNet's: 10 degrees, and in its code half of the examples. The size stays; what comes from
    outside is `fill` in the image (one number or one a channel, in its own units; the default
    fits any image, as `RandomCrop`'s), 255 in the label (NaN if it holds floats) and 0 in a
    weight map. The same pixels come from outside in all three. Images and weight maps are
    bilinear, labels nearest.

    With `border="reflect"` the example is mirrored outside instead, its label too. Boxes are
    then refused, because mirrored objects would have none.
    """

    degrees: float = 10.0
    probability: float = 0.5
    fill: float | tuple[float, ...] = MEAN_COLOUR
    border: Border = None

    def __post_init__(self):
        check_number(self, "degrees", 0, most=180)
        check_probability(self)
        check_number_or_colour("RandomRotate", self.fill)
        check_border(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the turned example, or the example itself.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        fill = None if self.border else self.fill
        if rng.random() >= self.probability:
            repeats = self.border is not None
            return unmoved(example, by="RandomRotate", fill=fill, repeats=repeats)
        degrees = rng.uniform(-self.degrees, self.degrees)
        if self.border is None:
            return rotate(example, degrees, fill=self.fill)
        matrix = about_centre(rotation(degrees), *size_of(example, by="RandomRotate"))
        return project(example, matrix, by="RandomRotate", border=self.border)


def rotate(example: Example, degrees: float, *, fill: float | tuple[float, ...] = 0) -> Example:
    """Returns the example turned counter-clockwise about its centre; see `RandomRotate`."""
    h, w = size_of(example, by="RandomRotate")
    turn = lambda image, method, colour: image.rotate(degrees, method, fillcolor=colour)
    motion = Motion(
        by="RandomRotate",
        size=(h, w),
        bilinear=lambda planes, fill: resampled(planes, turn, fill),
        nearest=lambda label, fill: resampled_nearest(label, turn, fill),
        places=lambda xy: _rotated_places(xy, degrees, centre=(w / 2, h / 2)),
        fill=fill,
    )
    return move(example, motion)


def _rotated_places(
    xy: Float64[np.ndarray, "n 2"], degrees: float, *, centre: tuple[float, float]
) -> Float64[np.ndarray, "n 2"]:
    """Returns places after a counter-clockwise turn about `centre`; y points down."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    return (xy - centre) @ np.array([[cosine, -sine], [sine, cosine]]) + centre
