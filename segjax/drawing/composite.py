"""Pictures made with a prediction: background blurred, replaced or removed; areas of classes.

`alpha` is the share of foreground in a pixel, 0 … 1. `foreground` computes it from
probabilities, which gives soft edges. NumPy only.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from segjax.labels import as_ids, check_ids, check_on_image, check_same_shape

RGB_HW3 = UInt8[np.ndarray, "..."]
"""h w 3; functions of two maps raise ValueError, with both shapes, if their sizes differ."""

Alpha_HW = Float[np.ndarray, "..."]

BLOCK = 64
"""Number of rows that one product with the kernel's band computes."""


def foreground(
    probabilities: Float[np.ndarray, "h w k"], classes: Sequence[int]
) -> Float32[np.ndarray, "h w"]:
    """Returns the summed probability of `classes` at every pixel, within 0 … 1.

    Raises:
      ValueError: one of `classes` is not within 0 … k − 1.
    """
    count = probabilities.shape[-1]
    for index in classes:
        if not 0 <= index < count:
            raise ValueError(f"Classes must be 0 to {count - 1}, got {index}.")
    kept = probabilities[..., sorted(set(classes))]
    return kept.sum(-1, dtype=np.float32).clip(0, 1)


def blur_background(image: RGB_HW3, alpha: Alpha_HW, *, sigma: float) -> RGB_HW3:
    """Returns the image with its background blurred by a Gaussian of `sigma` pixels.

    The blur is G(image · (1 − α)) / G(1 − α). It averages the background only, so there is no
    halo of foreground colours, and the image does not darken at its border. A `sigma` of 0
    gives the image.

    Raises:
      ValueError: `sigma` is negative or not finite, or image and alpha differ in size.
    """
    check_on_image(image, alpha=alpha)
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"Sigma must be a number of pixels, 0 or more, got {sigma}.")
    weight_HW1 = (1 - alpha[..., None]).astype(np.float32)
    weighted = np.concatenate([image * weight_HW1, weight_HW1], axis=-1)
    blurred = _gaussian_rows(weighted, sigma).swapaxes(0, 1)
    blurred = _gaussian_rows(blurred, sigma).swapaxes(0, 1)
    # The kernel is 1 in its middle: G(1 − α) is 0 only where 1 − α is 0, which has no weight.
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
    """Returns the image with `alpha` as its fourth channel, 255 in the foreground.

    Raises:
      ValueError: image and alpha differ in size.
    """
    check_on_image(image, alpha=alpha)
    return np.dstack([image, np.rint(255 * alpha).astype(np.uint8)])


def areas(label: Any, num_classes: int) -> Int64[np.ndarray, "k"]:
    """Returns the number of pixels of each class, without ignored pixels (255).

    Raises:
      ValueError: the label has other values than class ids and 255.
    """
    ids = np.asarray(as_ids("label", label))
    check_ids("label", ids, num_classes)
    return np.bincount(ids[ids < num_classes], minlength=num_classes).astype(np.int64)


def _mixed(image: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha_HW1 = alpha[..., None].astype(np.float32)
    mixed = alpha_HW1 * image + (1 - alpha_HW1) * background
    return np.rint(mixed.clip(0, 255)).astype(np.uint8)


def _gaussian_rows(values: np.ndarray, sigma: float) -> np.ndarray:
    """Returns weighted sums along the first axis with weights exp(−d² / 2 σ²) up to 3 σ.

    Outside the array there are zeros. One product with the kernel's band computes a block of
    rows. Such sums have no negative terms, so even tiny ones keep float32's relative precision,
    which their quotient needs; those of a Fourier transform would not.
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
