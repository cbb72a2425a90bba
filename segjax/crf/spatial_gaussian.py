"""The Gaussian filter on the pixel grid, one axis at a time, because its kernel is a product.

It needs no lattice: the kernel exp(−Δx² / 2σx² − Δy² / 2σy²) is one small matrix for each axis.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.dispatch import is_plain, on_cpu

_REACH = 5
"""Standard deviations after which the taps end; the rest is 6e-7 of the sum."""

_MOST_TAPS = 25
"""The most taps to either side. From σ = 6 on, matrices are faster for every image size."""

_LONGEST = 4096
"""The longest axis with a matrix of n × n weights, which is 64 MiB."""

_SHORTEST_BLOCK = 64
"""The fewest values of a block of a longer axis."""


def grid_filter(
    values: Float[Array, "h w k"], widths: tuple[float | Array, float | Array]
) -> Float[Array, "h w k"]:
    """Returns Σ_j exp(−(Δx/σx)² / 2 − (Δy/σy)² / 2) v_j for every pixel, itself included.

    If `in_taps`, and along axes of more than 4096 pixels whose width is not traced, the sum
    ends at 5 σ; otherwise it has all terms. Memory grows with the square of other axes.

    Args:
      values: k numbers for each pixel.
      widths: (σx, σy) in pixels, along the width and along the height.
    """
    width, height = widths
    h, w, _ = values.shape
    if in_taps((h, w), widths):
        return _by_taps((float(height), float(width)), values)
    for axis, (side, sigma) in enumerate(((h, height), (w, width))):
        if _in_blocks(side, sigma):
            along = _blocks(jnp.moveaxis(values, axis, 0), float(sigma))
            values = jnp.moveaxis(along, 0, axis)
    rows, columns = (
        None if _in_blocks(side, sigma) else gaussian_matrix(side, sigma).astype(values.dtype)
        for side, sigma in ((h, height), (w, width))
    )
    sums = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    if rows is None or columns is None:
        values = values if rows is None else sums("ij,jqk->iqk", rows, values)
        return values if columns is None else sums("pq,jqk->jpk", columns, values)
    return sums("ij,pq,jqk->ipk", rows, columns, values)


def _in_blocks(side: int, width: float | Array) -> bool:
    """Returns whether an axis is too long for a matrix of its own square."""
    known = isinstance(width, int | float | np.floating) and math.ceil(_REACH * width) < side
    return side > _LONGEST and known


def _blocks(values: Float[Array, "n *rest"], width: float) -> Float[Array, "n *rest"]:
    """Returns the filter along the first axis: one small matrix for each block of values.

    A block has at least as many values as the taps to one side, so it needs no others than its
    neighbours':

        [matrix] · [block before | block | block after]
    """
    reach, n = math.ceil(_REACH * width), len(values)
    length = max(reach, _SHORTEST_BLOCK)
    count = -(-n // length)
    flat = values.reshape(n, -1)
    padded = jnp.pad(flat, ((length, (count + 1) * length - n), (0, 0)))
    parts = padded.reshape(count + 2, length, -1)
    near = jnp.concatenate([parts[:-2], parts[1:-1], parts[2:]], axis=1)
    place = np.arange(3 * length) - length - np.arange(length)[:, None]
    taps = np.where(abs(place) <= reach, np.exp(-0.5 * (place / width) ** 2), 0)
    matrix = jnp.asarray(taps, values.dtype)
    found = jnp.einsum("ij,bjk->bik", matrix, near, precision=lax.Precision.HIGHEST)
    return found.reshape(count * length, -1)[:n].reshape(values.shape)


def in_taps(size: tuple[int, ...], widths: tuple[Any, ...]) -> bool:
    """Returns whether h × w pixels are summed tap by tap: on a CPU, for few taps.

    Widths must not be traced, at most 5 pixels, and small compared with the image.
    """
    if not on_cpu() or is_plain() or not all(isinstance(x, int | float) for x in widths):
        return False
    reach = [math.ceil(_REACH * x) for x in widths]
    return max(reach) <= _MOST_TAPS and 4 * reach[1] < size[0] and 4 * reach[0] < size[1]


def gaussian_matrix(size: int, width: float | Array) -> Float[Array, "n n"]:
    """Returns exp(−(i − j)² / 2σ²) for i and j from 0 to size − 1.

    >>> gaussian_matrix(2, 1.0).round(4).tolist()
    [[1.0, 0.60649...], [0.60649..., 1.0]]
    """
    place = jnp.arange(size, dtype=jnp.float32)
    return jnp.exp(-0.5 * ((place[:, None] - place[None, :]) / width) ** 2)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_taps(
    widths: tuple[float, float], values: Float[Array, "h w k"]
) -> Float[Array, "h w k"]:
    """Returns the filter as a sum of shifted copies of the values; widths are along h and w."""
    h, w, k = values.shape
    # One step along an axis is a constant distance in memory.
    along_h = lambda x: _shifted_sum(x, widths[0], axis=0, step=1)
    along_w = lambda x: _shifted_sum(x, widths[1], axis=1, step=k)
    # A loop of two: otherwise XLA fuses both, and repeats the sum along h for each tap along w.
    either = lambda i, x: lax.cond(i == 0, along_h, along_w, x)
    return lax.fori_loop(0, 2, either, values.reshape(h, w * k)).reshape(h, w, k)


# The kernel is symmetric, and values outside the image are 0: the filter is its own transpose.
_by_taps.defvjp(
    lambda widths, values: (_by_taps(widths, values), None),
    lambda widths, _, gradient: (_by_taps(widths, gradient),),
)


def _shifted_sum(
    x: Float[Array, "h l"], width: float, *, axis: int, step: int
) -> Float[Array, "h l"]:
    """Returns Σ_t exp(−t² / 2σ²) x shifted by t steps along an axis."""
    reach = math.ceil(_REACH * width)
    pads = [(0, 0), (0, 0)]
    pads[axis] = (reach * step, reach * step)
    padded = jnp.pad(x, pads)

    def shifted(t: int) -> Float[Array, "h l"]:
        start = (reach + t) * step
        return lax.slice_in_dim(padded, start, start + x.shape[axis], axis=axis)

    weights = np.exp(-0.5 * (np.arange(reach + 1) / width) ** 2).astype(np.float32)
    pairs = (weights[t] * (shifted(t) + shifted(-t)) for t in range(1, reach + 1))
    return sum(pairs, x)
