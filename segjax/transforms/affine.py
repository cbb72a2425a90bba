"""Affine and perspective maps: one resampling, whatever they combine."""

import math
from dataclasses import dataclass

import numpy as np

from segjax.contracts import Example
from segjax.transforms.entries import size_of, unmoved
from segjax.transforms.fields import check_number, check_probability, check_range
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour
from segjax.transforms.warp import (
    Border,
    Matrix,
    about_centre,
    check_border,
    homography,
    project,
    rotation,
)


@dataclass(frozen=True)
class RandomAffine:
    """Rotation, scale, shear and translation about the centre, with `probability`.

    The map is torchvision's `RandomAffine`: p → c + t + R · S · z · (p − c), for the centre c.
    The size stays. Entries are sampled once: images and weight maps bilinearly, without a
    smoothing filter where they shrink, and labels by nearest neighbours.

    Attributes:
      degrees: the angle is uniform in ± `degrees`, counter-clockwise.
      scale: the factor z is uniform in (low, high); 2 shows everything twice as large.
      translate: t is uniform in ± this share of the width and of the height.
      shear: the angle is uniform in ± `shear` degrees, for x and for y.
      probability: of a change.
      fill: the colour outside; see `RandomCrop`. Labels are 255 there, weight maps 0.
      border: "reflect" mirrors the example outside instead. Boxes are then refused, because
        mirrored objects would have none.
    """

    degrees: float = 10.0
    scale: tuple[float, float] = (0.9, 1.1)
    translate: float = 0.1
    shear: float = 5.0
    probability: float = 0.5
    fill: float | tuple[float, ...] = MEAN_COLOUR
    border: Border = None

    def __post_init__(self):
        check_number(self, "degrees", 0, most=180)
        check_range(self, "scale", 0.05, most=20)
        check_number(self, "translate", 0, most=1)
        check_number(self, "shear", 0, most=60)
        check_probability(self)
        check_number_or_colour("RandomAffine", self.fill)
        check_border(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the moved example, or the example itself.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        if rng.random() >= self.probability:
            return skipped(self, example)
        h, w = size_of(example, by="RandomAffine")
        matrix = affine_matrix(
            rng.uniform(-self.degrees, self.degrees),
            scale=rng.uniform(*self.scale),
            shear=tuple(rng.uniform(-self.shear, self.shear, 2).tolist()),
            translate=tuple(rng.uniform(-self.translate, self.translate, 2) * (w, h)),
        )
        matrix = about_centre(matrix, h, w)
        return project(example, matrix, by="RandomAffine", fill=self.fill, border=self.border)


@dataclass(frozen=True)
class RandomPerspective:
    """The image seen from the side, with `probability`.

    As torchvision's `RandomPerspective`: each corner moves inwards by a share of the width and
    of the height that is uniform in 0 … `distortion` / 2. The size stays; outside, the image
    is `fill`, labels are 255 and weight maps 0.
    """

    distortion: float = 0.3
    probability: float = 0.5
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        # Above 2/3 the four corners may not be those of a convex shape.
        check_number(self, "distortion", 0, most=0.6)
        check_probability(self)
        check_number_or_colour("RandomPerspective", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the moved example, or the example itself.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        if rng.random() >= self.probability:
            return unmoved(example, by="RandomPerspective", fill=self.fill)
        h, w = size_of(example, by="RandomPerspective")
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
        inwards = 1 - 2 * corners
        moved = corners + inwards * rng.uniform(0, self.distortion / 2, (4, 2))
        matrix = homography(corners * (w, h), moved * (w, h))
        return project(example, matrix, by="RandomPerspective", fill=self.fill)


def affine_matrix(
    degrees: float,
    *,
    scale: float = 1.0,
    shear: tuple[float, float] = (0.0, 0.0),
    translate: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """Returns the map of `RandomAffine` about the origin, as torchvision composes it.

    Args:
      degrees: counter-clockwise (torchvision turns clockwise).
      scale: the factor of all lengths.
      shear: angles in degrees along x and y.
      translate: (x, y) in pixels.
    """
    along_x, along_y = (math.tan(math.radians(angle)) for angle in shear)
    sheared = np.array([[1, -along_x, 0], [-along_y, 1 + along_x * along_y, 0], [0, 0, 1]])
    moved = rotation(degrees) @ (sheared * [[scale], [scale], [1]])
    moved[:2, 2] = translate
    return moved


def skipped(transform: RandomAffine, example: Example) -> Example:
    """Returns an example that chance leaves as it is, after the checks that a move makes."""
    return unmoved(
        example,
        by="RandomAffine",
        fill=None if transform.border else transform.fill,
        repeats=transform.border is not None,
    )
