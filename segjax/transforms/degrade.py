"""Noise and JPEG compression: images change, and nothing else."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from segjax.contracts import Example, full_scale
from segjax.errors import InputError
from segjax.transforms.color import in_range
from segjax.transforms.entries import change_images
from segjax.transforms.fields import check_number, check_probability, is_count


@dataclass(frozen=True)
class RandomNoise:
    """Gaussian noise on every value of the image, with `probability`.

    Its standard deviation is a share of full brightness (255, 65535 or 1), uniform in
    0 … `sigma`. Values are clipped to the range of their dtype. Channels have independent
    noise, whatever they show. Images of one size and dtype in an example have the same noise.
    """

    sigma: float = 0.05
    probability: float = 0.5

    def __post_init__(self):
        check_number(self, "sigma", 0, most=1)
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its image with noise or as it was."""
        sigma, seed = rng.uniform(0, self.sigma), int(rng.integers(2**63))
        is_noisy = rng.random() < self.probability
        change = lambda image: add_noise(image, sigma, seed) if is_noisy else image
        return change_images(example, change, by="RandomNoise")


@dataclass(frozen=True)
class RandomJPEG:
    """The image after JPEG compression, with `probability`.

    The quality is a whole number uniform in `quality`, from 1 (blocks) to 100. Pillow encodes
    and decodes, as for any JPEG file: RGB images with their colours at half the resolution,
    other images channel by channel. Images of 16 bits and of floats go through 8 bits, which
    JPEG has, and back.
    """

    quality: tuple[int, int] = (40, 95)
    probability: float = 0.5

    def __post_init__(self):
        given = self.quality
        are_counts = isinstance(given, tuple) and len(given) == 2 and all(map(is_count, given))
        if not are_counts or not 1 <= given[0] <= given[1] <= 100:
            raise InputError(
                "RandomJPEG needs quality as (low, high), whole numbers in 1 ... 100, got "
                f"{given!r}."
            )
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its image compressed or as it was."""
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))
        is_compressed = rng.random() < self.probability
        change = lambda image: compress(image, quality) if is_compressed else image
        return change_images(example, change, by="RandomJPEG")


def add_noise(
    image: Shaped[np.ndarray, "h w c"], sigma: float, seed: int
) -> Shaped[np.ndarray, "h w c"]:
    """Returns the image with noise of a standard deviation `sigma` · full brightness."""
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return in_range(image + noise * np.float32(sigma * full_scale(image.dtype)), image.dtype)


def compress(image: Shaped[np.ndarray, "h w c"], quality: int) -> Shaped[np.ndarray, "h w c"]:
    """Returns the image as a JPEG file of this quality would give it back."""
    scale = full_scale(image.dtype) / 255
    eight_bits = image
    if image.dtype != np.uint8:
        eight_bits = np.rint(image / scale).clip(0, 255).astype(np.uint8)
    if image.shape[-1] == 3:
        found = _through_jpeg(eight_bits, quality)
    else:
        channels = np.moveaxis(eight_bits, -1, 0)
        planes = [_through_jpeg(np.ascontiguousarray(plane), quality) for plane in channels]
        found = np.stack(planes, axis=-1)
    return found if image.dtype == np.uint8 else in_range(found * scale, image.dtype)


def _through_jpeg(
    image: Shaped[np.ndarray, "h w ..."], quality: int
) -> Shaped[np.ndarray, "h w ..."]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    with Image.open(file) as decoded:
        return np.array(decoded)
