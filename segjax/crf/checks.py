"""Checks before CRF inference starts; values that `jit` traces cannot be checked."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import numpy as np

from segjax.crf.mean_field import NORMALIZATIONS, Normalization

_LEAST_WIDTH = 1e-6
_LARGEST_ENERGY = 1e20
"""Sums of such energies over an image's pixels and classes stay finite in float32."""

_SUM_TOLERANCE = 0.05
"""Far above the rounding of float16, bfloat16 or 8 bits, far below sums of sigmoid scores."""

_FARTHEST = 1e5
"""The largest distance of two values, in widths, at which float32 still places them right."""


def traced(*trees: Any) -> bool:
    """Returns whether any leaf is traced."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def each(name: str, width: Any, count: int | None) -> tuple[Any, ...]:
    """Returns `count` widths, from one width or from `count`; floats unless they are traced.

    Args:
      name: the widths' name in a message.
      width: a number, or a tuple, list or array of numbers.
      count: how many widths there must be; None accepts any number of them.

    Raises:
      ValueError: there are not `count` widths, or one is not a number of at least 1e-6.
    """
    several = isinstance(width, tuple | list) or getattr(width, "ndim", 0) == 1
    widths = tuple(width) if several else (width,) * (count or 1)
    if len(widths) != count and (count is not None or not widths):
        needed = count or "one for each channel"
        raise ValueError(f"{name} must be one width or {needed}, got {width}.")
    return tuple(one if traced(one) else _width(name, one) for one in widths)


def _width(name: str, width: Any) -> float:
    number = np.asarray(width)
    if number.dtype.kind not in "iuf" or number.ndim or not _LEAST_WIDTH <= number < np.inf:
        raise ValueError(f"{name} must be a number above 0 (1e-6 at least), got {width!r}.")
    return float(number)


def check_distances(name: str, widths: Sequence[Any], farthest: Sequence[int]) -> None:
    """Raises ValueError if values lie too many widths apart for a lattice in float32.

    Args:
      name: the widths' name in a message.
      widths: a width for each axis; traced ones are not checked.
      farthest: the largest distance of two values along each axis.
    """
    for width, far in zip(widths, farthest, strict=True):
        if not traced(width) and far > _FARTHEST * width:
            raise ValueError(
                f"{name}={width:g} is too small: the lattice can place values up to "
                f"{_FARTHEST:g} widths apart, but these are {far} apart; give at least "
                f"{far / _FARTHEST:g}."
            )


def check_energies(name: str, energies: Any) -> None:
    """Raises ValueError unless the energies are numbers of size below 1e20, or traced."""
    if traced(energies):
        return
    values = np.asarray(energies)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers, got {energies!r}.")
    wrong = ~(np.abs(values) < _LARGEST_ENERGY)
    if wrong.any():
        raise ValueError(f"{name} must be below 1e20 in size, got {values[wrong].flat[0]}.")


def checked_rounds(iterations: Any, normalization: Any) -> tuple[int, Normalization]:
    """Returns the number of iterations and the normalisation, once both are valid.

    Raises:
      ValueError: `iterations` is not a whole number of at least 0, or the normalisation is
        unknown.
    """
    whole = isinstance(iterations, int | np.integer) and not isinstance(iterations, bool)
    if not whole or iterations < 0:
        raise ValueError(f"iterations must be a whole number, at least 0, got {iterations!r}.")
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {normalization!r}."
        )
    return int(iterations), normalization


def check_sizes(what: str, scores: Any, image: Any) -> None:
    """Raises ValueError unless the image is uint8 and the scores fit it; `what` names them."""
    if image.dtype != np.uint8 or image.ndim not in (3, 4):
        raise ValueError(
            f"The image must be uint8 of shape h w c or b h w c, got {image.dtype} of shape "
            f"{image.shape}; give the image as it was before normalisation."
        )
    if scores.ndim != image.ndim or scores.shape[:-1] != image.shape[:-1]:
        raise ValueError(
            f"{what} of shape {scores.shape} do not fit an image of shape {image.shape}; "
            "resize them to its height and width first."
        )
    names = ("images", "rows", "columns")[-image.ndim + 1 :]
    sizes = [*image.shape[:-1], image.shape[-1], scores.shape[-1]]
    for name, size in zip((*names, "channels", "classes"), sizes, strict=True):
        if not size:
            raise ValueError(
                f"There are no {name}: the image has shape {image.shape} and {what.lower()} "
                f"have shape {scores.shape}."
            )
    if scores.shape[-1] == 1:
        pair = "(1 − p, p)" if what == "Probabilities" else "(0, z)"
        raise ValueError(
            f"{what} of shape {scores.shape} have one class, which would be 1 everywhere; for "
            f"a binary task give two channels, {pair}, stacked on the last axis."
        )


def check_probabilities(probabilities: Any) -> None:
    """Raises ValueError unless probabilities lie in 0 … 1 and sum to 1 over the classes.

    They are not empty. Errors of rounding to 16 or 8 bits pass, and so do traced values.
    """
    if traced(probabilities):
        return
    least, most = np.min(probabilities), np.max(probabilities)
    if not (least >= 0 and most <= 1 + 1e-3):
        raise ValueError(
            f"Probabilities must be finite and lie in 0 … 1, got {least} to {most}; apply a "
            "softmax to a network's logits first."
        )
    sums = np.sum(np.asarray(probabilities), axis=-1, dtype=np.float32)
    farthest = sums.flat[np.argmax(np.abs(sums - 1))]
    if abs(farthest - 1) > _SUM_TOLERANCE:
        raise ValueError(
            f"Probabilities of a pixel must sum to 1 over the classes, got {farthest:g}; "
            "divide them by their sum, or apply a softmax to logits first."
        )
