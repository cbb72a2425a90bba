"""What a prediction is good for in a picture: blur, replace or drop the background; areas.

`alpha` says how much of a pixel is foreground, 0 … 1. Soft edges come from probabilities:
`foreground` sums those of the classes to keep. NumPy only.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from segjax.labels import as_ids, check_ids, check_on_image, check_same_shape

RGB_HW3 = UInt8[np.ndarray, "..."]
"""h w 3; functions of two maps raise ValueError, with both shapes, where they differ."""

Alpha_HW = Float[np.ndarray, "..."]

BLOCK = 64
"""Rows that one product with the kernel's band gives."""


def foreground(
    probabilities: Float[np.ndarray, "h w k"], classes: Sequence[int]
) -> Float32[np.ndarray, "h w"]:
    """Returns the summed probability of `classes` at every pixel, within 0 … 1; of none of
    them, 0.

    Raises:
      ValueError: one of `classes` is none of the k.
    """
    count = probabilities.shape[-1]
    for index in classes:
        if not 0 <= index < count:
            raise ValueError(f"Classes are 0 to {count - 1} here, got {index}.")
    kept = probabilities[..., sorted(set(classes))]
    return kept.sum(-1, dtype=np.float32).clip(0, 1)


def blur_background(image: RGB_HW3, alpha: Alpha_HW, *, sigma: float) -> RGB_HW3:
    """Returns the image with its background blurred by a Gaussian of `sigma` pixels.

    The blur is G(image · (1 − α)) / G(1 − α): it averages background alone, so that no colour
    of the foreground bleeds into a halo around it, and nothing darkens at the image's border.
    A `sigma` of 0 gives the image.

    Raises:
      ValueError: `sigma` is negative or not finite, or image and alpha differ in size.
    """
    check_on_image(image, alpha=alpha)
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"Sigma is a number of pixels, 0 or more, got {sigma}.")
    weight_HW1 = (1 - alpha[..., None]).astype(np.float32)
    weighted = np.concatenate([image * weight_HW1, weight_HW1], axis=-1)
    blurred = _gaussian_rows(weighted, sigma).swapaxes(0, 1)
    blurred = _gaussian_rows(blurred, sigma).swapaxes(0, 1)
    # A kernel is 1 in its middle, so that G(1 − α) is 0 only where 1 − α is, and it counts not.
    background = blurred[..., :3] / np.maximum(blurred[..., 3:], np.finfo(np.float32).tiny)
    return _mixed(image, background, alpha)


def replace_background(image: RGB_HW3, alpha: Alpha_HW, background: RGB_HW3) -> RGB_HW3:
    """Returns α · image + (1 − α) · background, rounded.

    Raises:
      ValueError: image, alpha and background differ in size.
    """
    check_on_image(image, alpha=alpha)
    check_same_shape(image=image, background=background)
    return _mixed(image, background, alpha)


def cut_out(image: RGB_HW3, alpha: Alpha_HW) -> UInt8[np.ndarray, "h w 4"]:
    """Returns the image with `alpha` as its fourth channel, 255 where all is foreground.

    Raises:
      ValueError: image and alpha differ in size.
    """
    check_on_image(image, alpha=alpha)
    return np.dstack([image, np.rint(255 * alpha).astype(np.uint8)])


def areas(label: Any, num_classes: int) -> Int64[np.ndarray, "k"]:
    """Returns pixels by class; 255, the ignored label, is not counted.

    Raises:
      ValueError: the label is not a map of class ids and 255.
    """
    ids = np.asarray(as_ids("label", label))
    check_ids("label", ids, num_classes)
    return np.bincount(ids[ids < num_classes], minlength=num_classes).astype(np.int64)


def _mixed(image: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha_HW1 = alpha[..., None].astype(np.float32)
    mixed = alpha_HW1 * image + (1 - alpha_HW1) * background
    return np.rint(mixed.clip(0, 255)).astype(np.uint8)


def _gaussian_rows(values: np.ndarray, sigma: float) -> np.ndarray:
    """Returns weighted sums along the first axis, weights exp(−d² / 2 σ²), 0 from 3 σ on and
    outside.

    A block of rows is one product with the kernel's band. Sums of products that are never
    negative stay exact to float32's relative precision, however small; a Fourier transform's
    would not, and they are divided by one another.
    """
    if sigma == 0:
        return values
    height = values.shape[0]
    reach = min(math.ceil(3 * sigma), height)
    padded = np.pad(values, [(reach, reach + -height % BLOCK), (0, 0), (0, 0)])
    distance = np.arange(BLOCK + 2 * reach) - np.arange(BLOCK)[:, None] - reach
    kernel = np.exp(-0.5 * (distance / sigma) ** 2) * (abs(distance) <= reach)
    band = kernel.astype(np.float32)
    rows = padded.reshape(len(padded), -1)
    blocks = [band @ rows[top : top + BLOCK + 2 * reach] for top in range(0, height, BLOCK)]
    return np.concatenate(blocks)[:height].reshape(values.shape)
