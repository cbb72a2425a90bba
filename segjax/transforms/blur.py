"""Gaussian blur: images change, and nothing else."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.transforms.averages import as_dtype
from segjax.transforms.entries import change_images
from segjax.transforms.fields import check_count, check_probability, is_number


@dataclass(frozen=True)
class RandomBlur:
    """The image smoothed by a Gaussian of `sigma` pixels, with `probability`.

    The Gaussian is cut off after `reach` pixels on either side and its weights sum to 1; beyond
    its border the image is mirrored. The defaults are those of PSPNet's code: 5 × 5 pixels and
    half of the examples; 1.1 comes near the (1, 4, 6, 4, 1) / 16 that OpenCV takes for them.
    Put it behind the crop, which leaves fewer pixels to blur.
    """

    sigma: float = 1.1
    reach: int = 2
    probability: float = 0.5

    def __post_init__(self):
        if not is_number(self.sigma) or self.sigma <= 0:
            raise InputError(f"RandomBlur needs sigma > 0, got {self.sigma!r}.")
        check_count(self, "reach", 1)
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its image blurred or as it was."""
        weights = gaussian(self.sigma, self.reach)
        is_blurred = rng.random() < self.probability
        change = lambda image: blur(image, weights) if is_blurred else image
        return change_images(example, change, by="RandomBlur")


def gaussian(sigma: float, reach: int) -> Float64[np.ndarray, "n"]:
    """Returns weights at −reach … reach, which sum to 1.

    >>> gaussian(1.1, 2).round(4).tolist()
    [0.0708, 0.2445, 0.3695, 0.2445, 0.0708]
    """
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def blur(
    image: Shaped[np.ndarray, "h w c"], weights: Float64[np.ndarray, "n"]
) -> Shaped[np.ndarray, "h w c"]:
    """Returns the image smoothed by an odd number of weights along both axes, in its dtype."""
    reach = len(weights) // 2
    h, w, _ = image.shape
    around = ((reach, reach), (reach, reach), (0, 0))
    x = np.pad(image, around, mode="reflect").astype(np.float32)
    zero, weights = np.zeros((), np.float32), weights.astype(np.float32)
    x = sum((weight * x[i : i + h] for i, weight in enumerate(weights)), start=zero)
    x = sum((weight * x[:, i : i + w] for i, weight in enumerate(weights)), start=zero)
    return as_dtype(x, image.dtype)
