"""Grey and gamma: images change, and nothing else."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from segjax.contracts import Example, full_scale
from segjax.transforms.color import GREY, in_range
from segjax.transforms.entries import change_images
from segjax.transforms.fields import check_probability, check_range


@dataclass(frozen=True)
class RandomGrey:
    """An RGB image becomes grey with `probability`: its luma in all three channels.

    The luma is 0.299 R + 0.587 G + 0.114 B, as Pillow's and torchvision's. Images that are not
    RGB do not change.
    """

    probability: float = 0.2

    def __post_init__(self):
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its image grey or as it was."""
        is_grey = rng.random() < self.probability
        change = lambda image: grey(image) if is_grey else image
        return change_images(example, change, by="RandomGrey")


@dataclass(frozen=True)
class RandomGamma:
    """Each value v becomes v ** gamma of full brightness, with `probability`.

    Below 1, `gamma` makes dark parts brighter; above 1, darker. Its logarithm is uniform, so
    that 1/2 and 2 are equally likely. Full brightness is 255 for uint8, 65535 for uint16 and 1
    for float32, where values below 0 count as 0 and values above 1 as 1. Every channel changes
    alone, whatever it shows.
    """

    gamma: tuple[float, float] = (0.7, 1.5)
    probability: float = 0.5

    def __post_init__(self):
        check_range(self, "gamma", 0.01, most=100)
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its image changed or as it was."""
        exponent = float(np.exp(rng.uniform(*np.log(self.gamma))))
        is_changed = rng.random() < self.probability
        change = lambda image: adjust_gamma(image, exponent) if is_changed else image
        return change_images(example, change, by="RandomGamma")


def grey(image: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "h w c"]:
    """Returns an RGB image's luma in all three channels; other images as they are."""
    if image.shape[-1] != 3:
        return image
    luma = in_range(image.astype(np.float32) @ GREY.astype(np.float32), image.dtype)
    return np.repeat(luma[..., None], 3, axis=-1)


def adjust_gamma(
    image: Shaped[np.ndarray, "h w c"], gamma: float
) -> Shaped[np.ndarray, "h w c"]:
    """Returns full brightness · (image / full brightness) ** gamma, in the image's dtype."""
    full = full_scale(image.dtype)
    if image.dtype.kind != "u":
        return in_range(full * (image / full).clip(0, 1) ** gamma, image.dtype)
    values = np.linspace(0, 1, int(full) + 1) ** gamma
    return in_range(full * values, image.dtype)[image]
