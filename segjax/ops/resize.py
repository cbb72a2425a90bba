"""Bilinear interpolation: one small matrix per axis and one einsum; two taps on long axes.

Where the samples of 4 pixels lie on 2 pixels:

    align_corners=False    |  0     |     1  |     pixels are areas: the images' edges coincide
                            0   1   2   3          source = (i + ½) · in / out − ½
    align_corners=True     0        .        1     pixels are points: the corners' centres
    coincide
                           0     1     2     3     source = i · (in − 1) / (out − 1)
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.symbolic_shapes import positions

MOST_WEIGHTS = 2**20
"""Entries of the largest matrix, such as 512 × 2048. On longer axes two taps are as fast or
faster on two CPU cores (their gradient from 512 to 4096 on), and need memory for the axis, not
for its square."""


def resize_bilinear(
    x: Float[Array, "b h w c"], size: tuple[int, int], *, align_corners: bool = False
) -> Float[Array, "b oh ow c"]:
    """Returns `x` interpolated to `size`, like PyTorch's `interpolate(mode="bilinear")`.

    Shrinking does not smooth first (no antialiasing), unlike Pillow and `jax.image.resize`.
    Half-precision inputs are interpolated in float32 and rounded once.

    Args:
      x: the image or the logits.
      size: (height, width) to return.
      align_corners: whether corner pixels keep their values; TensorFlow's DeepLab and PSPNet do
        so.

    Raises:
      ValueError: a side is below 1.
    """
    if any(side < 1 for side in (*size, *x.shape[1:3])):
        raise ValueError(f"Sides must be at least 1, got {x.shape[1:3]} to {size}.")
    if x.shape[1:3] == size:
        return x
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    resize = _by_taps if is_long(x.shape[1:3], size) else _by_matrices
    return resize(x.astype(dtype), size, align_corners=align_corners).astype(x.dtype)


def is_long(old: Sequence[int], new: Sequence[int]) -> bool:
    """Returns whether a matrix between these sizes would be too large along an axis.

    Symbolic sizes have matrices.

    >>> is_long((64, 1), (512, 1)), is_long((125_000, 1), (1_000_000, 1))
    (False, True)
    """
    pairs = [*zip(old, new, strict=True)]
    known = all(isinstance(n, (int, np.integer)) for pair in pairs for n in pair)
    return known and any(n != m and n * m > MOST_WEIGHTS for n, m in pairs)


def _by_matrices(
    x: Float[Array, "b h w c"], size: tuple[int, int], *, align_corners: bool
) -> Float[Array, "b oh ow c"]:
    """Returns `x` interpolated by a dense matrix for each axis."""
    rows, columns = (
        jnp.asarray(interpolation_matrix(n, m, align_corners=align_corners), x.dtype)
        for n, m in zip(x.shape[1:3], size, strict=True)
    )
    # Full precision: TF32 or bfloat16 products would change logits by more than interpolation.
    return jnp.einsum("hi,wj,bijc->bhwc", rows, columns, x, precision=lax.Precision.HIGHEST)


def _by_taps(
    x: Float[Array, "b h w c"], size: tuple[int, int], *, align_corners: bool
) -> Float[Array, "b oh ow c"]:
    """Returns `x` interpolated between the two nearest samples, an axis after the other.

    The matrices' other weights are zero. The axis that shrinks most comes first. On a GPU the
    gradient adds in any order, so its last bits may differ between runs.
    """
    for axis in sorted((1, 2), key=lambda axis: size[axis - 1] / x.shape[axis]):
        old, new = x.shape[axis], size[axis - 1]
        if old != new:
            low, part = nearest_two(old, new, align_corners=align_corners)
            parts = np.expand_dims(part, [a for a in range(4) if a != axis]).astype(x.dtype)
            below, above = (_rows(x, np.minimum(low + i, old - 1), axis) for i in (0, 1))
            x = below * (1 - parts) + above * parts
    return x


def _rows(x: Array, index: np.ndarray, axis: int) -> Array:
    """Returns the rows or columns of these numbers, which rise."""
    where = (slice(None),) * axis + (index,)
    return x.at[where].get(mode="promise_in_bounds", indices_are_sorted=True)


def nearest_two(
    size: int, new_size: int, *, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each new sample the lower of its two neighbours, and the upper one's weight.

    >>> [each.tolist() for each in nearest_two(2, 3, align_corners=True)]
    [[0, 0, 0], [0.0, 0.5, 1.0]]
    """
    source, unit = _sources(np.arange(new_size), size, new_size, align_corners=align_corners)
    low = np.minimum(source // unit, max(size - 2, 0))
    return low, (source - low * unit) / unit


def resize_axis(x: Float[np.ndarray, "*shape"], axis: int, new: int) -> np.ndarray:
    """Returns a NumPy array interpolated along one axis to `new` samples, as `resize_bilinear`.

    The centres are those of `align_corners=False`; each sample is between the two nearest.
    """
    old = x.shape[axis]
    source = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    low = np.minimum(source.astype(np.int64), max(old - 2, 0))
    others = [a for a in range(x.ndim) if a != axis]
    part = np.expand_dims((source - low).astype(np.float32), others)
    below, above = x.take(low, axis), x.take(np.minimum(low + 1, old - 1), axis)
    return below + (above - below) * part


def interpolation_matrix(
    size: int, new_size: int, *, align_corners: bool
) -> np.ndarray | Array:
    """Returns the weights of `size` samples in each of `new_size` samples, new_size × size.

    Samples beyond the outermost pixels repeat the outermost values.

    >>> interpolation_matrix(2, 3, align_corners=True).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    index = positions(0, new_size)
    source, unit = _sources(index, size, new_size, align_corners=align_corners)
    distance = abs(source[:, None] - unit * positions(0, size)[None, :])
    return (unit - distance).clip(0) / unit


def _sources(index: Any, size: int, new_size: int, *, align_corners: bool) -> tuple[Any, int]:
    """Returns where new samples lie between the old ones, in integers, and the unit of these.

    Integers up to the last division are exact, also in an export's 32 bits.
    """
    if align_corners:
        source, unit = index * (size - 1), max(new_size - 1, 1)
    else:
        source, unit = (2 * index + 1) * size - new_size, 2 * new_size
    return source.clip(0, (size - 1) * unit), unit
