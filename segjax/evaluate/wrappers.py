"""Wrappers, predictor → predictor, for `evaluation.predictor`: one, or a tuple of them.

The first of a tuple is the innermost, next to the network; the last receives whole images:

    (MultiScale(), Flip())                        each scale of the image and its mirror image
    (Flip(), SlidingWindow(513))                  each window and its mirror image
    (Flip(), SlidingWindow(513), MultiScale())    windows of each scale, as in PSPNet's code

This module has the wrappers that average several passes. `windows` has those that choose the
input sizes, and `crf` the CRF. Wrappers before one of `windows` or `crf` are compiled with the
network; wrappers after it run in NumPy on whole images.
"""

import dataclasses
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np

from segjax.errors import InputError
from segjax.evaluate.predictors import Predictor
from segjax.ops.resize import resize_axis, resize_bilinear


@dataclasses.dataclass(frozen=True)
class Flip:
    """The mean of the probabilities of an image and of its left-right mirror image."""

    def __call__(self, predict: Predictor) -> Predictor:
        """Returns the wrapped predictor."""

        def both(variables, image):
            mirrored = predict(variables, image[:, :, ::-1])
            return (predict(variables, image) + mirrored[:, :, ::-1]) / 2

        return both


@dataclasses.dataclass(frozen=True)
class MultiScale:
    """Probabilities of the resized image, resized back and combined over the scales.

    "mean" averages probabilities, not logits, as DeepLab v3 (Chen et al., 2017, section 4.1).
    "max" takes the element-wise maximum, as DeepLab v1 and v2, and divides by its sum, which
    changes no class. Sides become max(1, round(side · scale)). Interpolation is bilinear
    without antialiasing; integer images are rounded, so that their dtype does not change.

    Raises:
      InputError: `scales` is not a tuple of numbers above 0, or `combine` is another word.
    """

    scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    combine: str = "mean"

    def __post_init__(self) -> None:
        if not isinstance(self.scales, tuple) or not self.scales:
            raise InputError(f"scales={self.scales!r} must be a tuple such as (0.5, 1.0, 1.5).")
        for scale in self.scales:
            if not _is_number(scale) or not 0 < scale < float("inf"):
                raise InputError(
                    f"scales={self.scales} must be numbers above 0, got {scale!r}."
                )
        if self.combine not in ("mean", "max"):
            raise InputError(f"combine={self.combine!r} must be 'mean' or 'max'.")

    def __call__(self, predict: Predictor) -> Predictor:
        """Returns the wrapped predictor."""

        def pyramid(variables, image):
            """Returns probabilities of every pixel, in NumPy or traced, like the image."""
            xp: Any = np if isinstance(image, np.ndarray) else jnp
            join = xp.add if self.combine == "mean" else xp.maximum
            at_scale = lambda scale: [max(1, round(n * scale)) for n in size]
            size = image.shape[1:3]
            found = reduce(
                join,
                (
                    resized(predict(variables, resized(image, at_scale(scale))), size)
                    for scale in self.scales
                ),
            )
            if self.combine == "mean":
                return found / len(self.scales)
            return found / found.sum(axis=-1, keepdims=True)

        return pyramid


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def resized(x: Any, size: Any) -> Any:
    """Returns `x` resized as by `resize_bilinear`; NumPy or JAX arrays of any dtype."""
    if x.shape[1:3] == tuple(size):
        return x
    if isinstance(x, np.ndarray):
        tall = resize_axis(x.astype(np.float32), 1, size[0])
        result, xp = resize_axis(tall, 2, size[1]), np
    else:
        result, xp = resize_bilinear(x.astype(jnp.float32), tuple(size)), jnp
    return (xp.rint(result) if x.dtype.kind in "iu" else result).astype(x.dtype)
