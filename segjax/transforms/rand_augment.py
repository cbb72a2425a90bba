"""RandAugment for segmentation (Cubuk et al., 2020, arXiv:1909.13719).

An operation takes an example, a level from −1 to 1 and a generator, and returns an example. At
level 1 it changes the example most. `OPERATIONS` lists them:

| operation | at level ±1 |
|---|---|
| `identity` | nothing |
| `rotate` | 30 degrees |
| `shear_x`, `shear_y` | 17 degrees |
| `translate_x`, `translate_y` | 30 % of the width, of the height |
| `zoom` | 1.5 times as large or small |
| `brightness`, `contrast`, `saturation` | factor 0.1 or 1.9, as in `ColorJitter` |
| `hue` | a tenth of the circle, as in `ColorJitter` |
| `gamma` | exponent 2 or 1/2 |
| `blur` | a Gaussian of 2 pixels |
| `noise` | a standard deviation of 10 % of full brightness |
| `jpeg` | quality 20 |
| `clahe` | clip limit 4 |

Geometric operations move labels and every other entry with the image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.transforms.affine import affine_matrix
from segjax.transforms.blur import blur as smooth
from segjax.transforms.blur import gaussian
from segjax.transforms.clahe import equalise
from segjax.transforms.color import change_colours
from segjax.transforms.degrade import add_noise, compress
from segjax.transforms.entries import change_images, size_of, unmoved
from segjax.transforms.fields import check_count, check_number
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour
from segjax.transforms.tone import adjust_gamma
from segjax.transforms.warp import Matrix, about_centre, project

Fill = float | tuple[float, ...]

Operation = Callable[[Example, float, np.random.Generator, Fill], Example]
"""(example, level in −1 … 1, generator, colour outside) → example."""

BY = "RandAugment"


def identity(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example itself."""
    return example


def rotate(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example turned by up to 30 degrees."""
    return _moved(example, affine_matrix(30 * level), fill)


def shear_x(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example sheared along x by up to 17 degrees."""
    return _moved(example, affine_matrix(0, shear=(17 * level, 0)), fill)


def shear_y(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example sheared along y by up to 17 degrees."""
    return _moved(example, affine_matrix(0, shear=(0, 17 * level)), fill)


def translate_x(
    example: Example, level: float, rng: np.random.Generator, fill: Fill
) -> Example:
    """Returns the example moved along x by up to 30 % of the width."""
    shift = 0.3 * level * size_of(example, by=BY)[1]
    return _moved(example, affine_matrix(0, translate=(shift, 0)), fill)


def translate_y(
    example: Example, level: float, rng: np.random.Generator, fill: Fill
) -> Example:
    """Returns the example moved along y by up to 30 % of the height."""
    shift = 0.3 * level * size_of(example, by=BY)[0]
    return _moved(example, affine_matrix(0, translate=(0, shift)), fill)


def zoom(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example up to 1.5 times as large or as small, in its own size."""
    return _moved(example, affine_matrix(0, scale=1.5**level), fill)


def brightness(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example with its brightness multiplied by 0.1 to 1.9."""
    return _coloured(example, lambda x: change_colours(x, 1 + 0.9 * level, 1, 1, 0))


def contrast(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example with its contrast multiplied by 0.1 to 1.9."""
    return _coloured(example, lambda x: change_colours(x, 1, 1 + 0.9 * level, 1, 0))


def saturation(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example with its saturation multiplied by 0.1 to 1.9; only RGB changes."""
    return _coloured(example, lambda x: change_colours(x, 1, 1, 1 + 0.9 * level, 0))


def hue(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example with its hue turned by up to a tenth; only RGB changes."""
    return _coloured(example, lambda x: change_colours(x, 1, 1, 1, 0.1 * level))


def gamma(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example after an exponent of 1/2 to 2."""
    return _coloured(example, lambda x: adjust_gamma(x, 2.0**level))


def blur(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example smoothed by a Gaussian of up to 2 pixels."""
    weights = gaussian(max(2 * abs(level), 0.01), 4)
    return _coloured(example, lambda x: smooth(x, weights))


def noise(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example with noise of up to 10 % of full brightness."""
    seed = int(rng.integers(2**63))
    return _coloured(example, lambda x: add_noise(x, 0.1 * abs(level), seed))


def jpeg(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example after JPEG compression with a quality of 95 down to 20."""
    return _coloured(example, lambda x: compress(x, round(95 - 75 * abs(level))))


def clahe(example: Example, level: float, rng: np.random.Generator, fill: Fill) -> Example:
    """Returns the example after CLAHE with a clip limit of 1 to 4."""
    return _coloured(example, lambda x: equalise(x, 1 + 3 * abs(level), (8, 8)))


OPERATIONS: tuple[Operation, ...] = (
    *(identity, rotate, shear_x, shear_y, translate_x, translate_y, zoom),
    *(brightness, contrast, saturation, hue, gamma, blur, noise, jpeg, clahe),
)
"""All operations of this file."""


@dataclass(frozen=True)
class RandAugment:
    """`count` operations of a list, each drawn anew, one after the other.

    Each operation has the level `magnitude` / 10 with a random sign; operations without a
    direction ignore the sign. The table at the top of `segjax.transforms.rand_augment` says
    what they do. The size stays. Outside of the example the image is `fill`, labels are 255.
    """

    count: int = 2
    magnitude: float = 9.0
    operations: tuple[Operation, ...] = OPERATIONS
    fill: Fill = MEAN_COLOUR

    def __post_init__(self):
        check_count(self, "count", 0)
        check_number(self, "magnitude", 0, most=10)
        given = self.operations
        if not isinstance(given, tuple) or not given or not all(map(callable, given)):
            raise InputError(
                "RandAugment needs operations, a tuple of functions such as OPERATIONS of "
                f"segjax.transforms.rand_augment, got {given!r}."
            )
        check_number_or_colour("RandAugment", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example after the operations."""
        # What is refused must not depend on which operations are drawn.
        example = unmoved(example, by=BY, fill=self.fill)
        for _ in range(self.count):
            operation = self.operations[rng.integers(len(self.operations))]
            sign = 1 if rng.random() < 0.5 else -1
            example = operation(example, sign * self.magnitude / 10, rng, self.fill)
        return example


def _moved(example: Example, matrix: Matrix, fill: Fill) -> Example:
    h, w = size_of(example, by=BY)
    return project(example, about_centre(matrix, h, w), by=BY, fill=fill)


def _coloured(example: Example, change: Callable[[np.ndarray], np.ndarray]) -> Example:
    return change_images(example, change, by=BY)
