"""Max-pooling with and without indices, unpooling, and adaptive average pooling."""

import functools
import operator
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Real

from segjax.ops import pixel_taps
from segjax.ops.conv import Pair, conv_output_size, pair
from segjax.ops.dispatch import as_one_program, is_plain, on_cpu
from segjax.ops.symbolic_shapes import positions
from segjax.ops.tap_matmul import TapWindow
from segjax.parallel.spatial import is_splitting


def max_pool(
    x: Real[Array, "b h w c"], *, window: Pair, stride: Pair, padding: Pair = 0
) -> Real[Array, "b oh ow c"]:
    """Returns the largest value of each window; padding is −∞, as in PyTorch.

    Of equal values the first of the window, row by row, receives the whole gradient. A NaN
    counts as larger than any number. Value and gradient equal those of `lax.reduce_window`, but
    are computed by window² selections: that is faster on a CPU, needs less memory, and is
    deterministic on GPUs.

    Args:
      x: the input.
      window: sides of the window. Each pair is (height, width), or one number for both.
      stride: pixels from one window to the next.
      padding: rows and columns of −∞ on each side; at most half the window.

    Raises:
      ValueError: padding is more than half the window, or `conv_output_size` refuses a size.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), window=2, stride=2)[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    # XLA's partitioner gets the primitive's gradient wrong where windows overlap (0.10.2).
    if is_plain() and not is_splitting():
        return _reduce_window(x, window, stride, padding)
    sides = pair(window), pair(stride), pair(padding)
    looks_up = jnp.issubdtype(x.dtype, jnp.floating) and not is_plain()
    is_known = all(isinstance(size, int) and size for size in x.shape[1:])
    if on_cpu() and looks_up and is_known:
        return _largest_looked_up(x, *sides)
    return _largest(x, *sides)


def max_pool_with_indices(
    x: Real[Array, "b h w c"], *, window: Pair, stride: Pair, padding: Pair = 0
) -> tuple[Real[Array, "b oh ow c"], Int[Array, "b oh ow c"]]:
    """Returns `max_pool` of `x` and the position of each maximum.

    A position is row · w + column in `x` without its padding, within one channel, as in
    PyTorch's `return_indices`.

    Args:
      x: the input.
      window: sides of the window.
      stride: pixels from one window to the next.
      padding: rows and columns of −∞ on each side; at most half the window.

    Raises:
      ValueError: as `max_pool`.

    >>> x = jnp.array([[1.0, 7.0], [7.0, 2.0]]).reshape(1, 2, 2, 1)
    >>> value, index = max_pool_with_indices(x, window=2, stride=2)
    >>> value.item(), index.item()
    (7.0, 1)
    """
    return _largest_with_places(x, pair(window), pair(stride), pair(padding))


def max_unpool(
    x: Float[Array, "b h w c"], indices: Int[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b oh ow c"]:
    """Returns a map of `size` with `x` at `indices` and zeros elsewhere: SegNet's upsampling.

    It is the transpose of picking the values at `indices`. Where overlapping windows share a
    position, their values are added (PyTorch keeps one of them, and does not say which).

    An index outside `size` is dropped, so give the size of the map that was pooled.

    Args:
      x: a map of the pooled size.
      indices: positions that `max_pool_with_indices` returned.
      size: (height, width) of the map that was pooled.

    Raises:
      ValueError: shapes of `x` and `indices` differ, or `size` is smaller than theirs.

    Source: Badrinarayanan, Kendall, Cipolla, 2015, arXiv:1511.00561, section 3 and figure 3.
    """
    batch, height, width, channels = x.shape
    if indices.shape != x.shape:
        raise ValueError(
            f"Every value needs its index, got values {x.shape} and indices {indices.shape}."
        )
    if size[0] < height or size[1] < width:
        raise ValueError(
            f"Cannot unpool {height}×{width} to {size[0]}×{size[1]}; give the size of the map "
            "that was pooled."
        )
    flat = (batch, height * width, channels)
    image, channel = positions(0, batch)[:, None, None], np.arange(channels)[None, None, :]
    result = jnp.zeros((batch, size[0] * size[1], channels), x.dtype)
    result = result.at[image, indices.reshape(flat), channel].add(x.reshape(flat))
    return result.reshape(batch, *size, channels)


def adaptive_avg_pool(
    x: Float[Array, "b h w c"], bins: Pair
) -> Float[Array, "b rows columns c"]:
    """Returns the means of rows × columns bins, as PyTorch's `AdaptiveAvgPool2d`.

    Where the bins do not divide the size, neighbouring bins share a pixel. With more bins than
    pixels, one pixel fills several bins. Half-precision inputs are averaged in float32.

        5 pixels in 3 bins    0 0 . . .
                              . 1 1 1 .
                              . . . 2 2

    Args:
      x: the input.
      bins: (rows, columns) to return, or one number.

    Raises:
      ValueError: a number of bins is below 1.

    >>> adaptive_avg_pool(jnp.arange(5.0).reshape(1, 1, 5, 1), (1, 3)).ravel().tolist()
    [0.5, 2.0, 3.5]
    """
    if min(pair(bins)) < 1:
        raise ValueError(f"There must be at least 1 bin along each axis, got {bins}.")
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    rows, columns = (
        jnp.asarray(bin_matrix(n, m), dtype)
        for n, m in zip(x.shape[1:3], pair(bins), strict=True)
    )
    # Full precision, as in `resize`: TF32 or bfloat16 products would round the means.
    result = jnp.einsum(
        "hi,wj,bijc->bhwc", rows, columns, x.astype(dtype), precision=lax.Precision.HIGHEST
    )
    return result.astype(x.dtype)


def bin_matrix(size: int, bins: int) -> np.ndarray | Array:
    """Returns the weights of `size` pixels in each of `bins` means, bins × size.

    Bin i begins at pixel ⌊i · size / bins⌋ and ends before ⌈(i + 1) · size / bins⌉.

    >>> (bin_matrix(5, 3) > 0).astype(int).tolist()
    [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]
    """
    index, pixel = np.arange(bins)[:, None], positions(0, size)[None, :]
    first, end = index * size // bins, -(-(index + 1) * size // bins)
    inside = (first <= pixel) & (pixel < end)
    return inside / inside.sum(1, keepdims=True)


@as_one_program(static=("window", "stride", "padding"))
def _largest(
    x: Real[Array, "b h w c"], window: Pair, stride: Pair, padding: Pair
) -> Real[Array, "b oh ow c"]:
    """Returns the largest value of each window, chosen among its places one after another."""
    best, *others = _taps(_widened(x), window, stride, padding)
    for value in others:
        best = jnp.where(_wins(value, best), value, best)
    return best.astype(x.dtype)


@as_one_program(static=("window", "stride", "padding"))
def _largest_looked_up(
    x: Float[Array, "b h w c"], window: Pair, stride: Pair, padding: Pair
) -> Float[Array, "b oh ow c"]:
    """Returns the largest values by looking pixels up, with the gradient of `_largest`.

    Transposed, a look-up would be a scatter, which XLA does number by number on a CPU. The
    gradient reads the winner of each window, which is stored: from the pixels, XLA would search
    it again for every pixel of the window.
    """
    _output_size(x, window, stride, padding)
    (top, left), strides = pair(padding), pair(stride)
    moved = TapWindow(strides, ((top, top), (left, left)), (1, 1))

    @jax.custom_jvp
    def value(x: Array) -> Array:
        """Returns the values alone."""
        return pixel_taps.largest(_widened(x), pair(window), moved).astype(x.dtype)

    def derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        """Returns the values, and of the tangent those at their taps."""
        x, tangent = map(_widened, primals + tangents)
        best, *others = _taps(x, window, stride, padding)
        winner = jnp.zeros_like(best)  # A float: XLA's loops over integers are slower.
        for tap, pixels in enumerate(others, start=1):
            wins = _wins(pixels, best)
            best, winner = jnp.where(wins, pixels, best), jnp.where(wins, tap, winner)
        dtype = primals[0].dtype
        along = of_winners(lax.optimization_barrier(winner), tangent)
        return best.astype(dtype), along.astype(dtype)

    # So that reverse mode stores the winner, not a mask for each tap.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def of_winners(winner: Array, tangent: Array) -> Array:
        """Returns what the winners read of the tangent."""
        return _read_by(winner, tangent, window, stride, padding)

    value.defjvp(derivative)
    return value(x)


@as_one_program(static=("window", "stride", "padding"))
def _largest_with_places(
    x: Real[Array, "b h w c"], window: Pair, stride: Pair, padding: Pair
) -> tuple[Real[Array, "b oh ow c"], Int[Array, "b oh ow c"]]:
    """Returns the largest value of each window and its position in `x`."""
    values = _taps(_widened(x), window, stride, padding)
    places = _places(x, window, stride, padding)
    best, (index, _) = next(values), next(places)
    for value, (position, is_first) in zip(values, places, strict=True):
        wins = _wins(value, best)
        best = jnp.where(wins, value, best)
        index = jnp.where(wins | is_first, position, index)
    return best.astype(x.dtype), jnp.broadcast_to(index, best.shape)


def _wins(value: Array, best: Array) -> Array:
    """Returns where `value` replaces the largest value so far; NaN beats every number."""
    return (value > best) | (value != value)


def _widened(x: Array) -> Array:
    """Returns half-precision values in float32, which holds them exactly.

    Gradients that meet in a pixel are then rounded once. On a CPU, where XLA's loops over
    bfloat16 are slow, the gradient also takes a twentieth of the time.
    """
    is_half = jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits < 32
    return x.astype(jnp.float32) if is_half else x


def _output_size(x: Array, window: Pair, stride: Pair, padding: Pair) -> tuple[int, int]:
    """Returns the number of windows along both axes."""
    if any(2 * p > k for p, k in zip(pair(padding), pair(window), strict=True)):
        half, whole = ("×".join(map(str, pair(sides))) for sides in (padding, window))
        raise ValueError(
            f"Padding {half} is more than half the window {whole}; give at most half, so that "
            "every window holds a pixel."
        )
    options = zip(x.shape[1:3], pair(window), pair(stride), pair(padding), strict=True)
    rows, columns = (conv_output_size(n, k, stride=s, padding=p) for n, k, s, p in options)
    return rows, columns


def _taps(x: Array, window: Pair, stride: Pair, padding: Pair) -> Iterator[Array]:
    """Yields, for each tap of the window, row by row, the values it reads in all windows."""
    size, (down, right) = _output_size(x, window, stride, padding), pair(stride)
    edges = [(0, 0, 0), *((p, p, 0) for p in pair(padding)), (0, 0, 0)]
    padded = lax.pad(x, _lowest(x.dtype), edges)
    height, width = down * (size[0] - 1) + 1, right * (size[1] - 1) + 1
    for i, j in np.ndindex(pair(window)):
        ends = (x.shape[0], i + height, j + width, x.shape[3])
        yield lax.slice(padded, (0, i, j, 0), ends, (1, down, right, 1))


def _read_by(winner: Array, x: Array, window: Pair, stride: Pair, padding: Pair) -> Array:
    """Returns, for each window, the pixel of `x` at the tap that won; 0 where it is padding.

    It is written for its transpose, the max-pool's gradient: that reads a padded copy of the
    gradient and one of the winners, shifted, and lays the phases out side by side. The
    transpose of a selected tap would be padded inside the loop over pixels, which takes thrice
    as long.
    """
    (down, right), size = pair(stride), winner.shape[1:3]
    more = [(k - 1) // s for k, s in zip(pair(window), (down, right), strict=True)]
    edges = [(0, 0, 0), *((m, m, 0) for m in more), (0, 0, 0)]
    winners = lax.optimization_barrier(lax.pad(winner, -jnp.ones((), winner.dtype), edges))
    phases = _phases(x, [n + m for n, m in zip(size, more, strict=True)], stride, padding)
    nothing, terms = jnp.zeros((), x.dtype), []
    for tap, (i, j) in enumerate(np.ndindex(pair(window))):
        (y, row), (z, column) = divmod(i, down), divmod(j, right)
        pixels, top, left = phases[row][column], more[0] - y, more[1] - z
        here = winners[:, top : top + pixels.shape[1], left : left + pixels.shape[2]]
        term = jnp.where(here == tap, pixels, 0)
        terms.append(lax.pad(term, nothing, [(0, 0, 0), (top, y, 0), (left, z, 0), (0, 0, 0)]))
    # The barrier's transpose keeps the padded copy of the gradient out of the loop.
    total = lax.optimization_barrier(functools.reduce(operator.add, terms))
    return total[:, more[0] : more[0] + size[0], more[1] : more[1] + size[1]]


def _phases(x: Array, size: Sequence[int], stride: Pair, padding: Pair) -> list[list[Array]]:
    """Returns x's stride × stride phases, each of `size`, with 0 on padding.

    A phase is every stride-th row and column, from the padding on.
    """
    (down, right), edges, shape = pair(stride), [(0, 0, 0)], [x.shape[0]]
    for n, s, p, count in zip(x.shape[1:3], (down, right), pair(padding), size, strict=True):
        edges.append((p, count * s - p - n, 0))
        shape += [count, s]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [*edges, (0, 0, 0)])
    rows = lax.split(padded.reshape(*shape, x.shape[3]), [1] * down, axis=2)
    return [[p.squeeze((2, 4)) for p in lax.split(row, [1] * right, axis=4)] for row in rows]


def _places(
    x: Array, window: Pair, stride: Pair, padding: Pair
) -> Iterator[tuple[Array, Array]]:
    """Yields, for each tap, its positions in `x` (1 h w 1), and where it is a window's first.

    The first tap that is not padding gives a position to a window that holds only −∞.
    """
    size = _output_size(x, window, stride, padding)
    columns_of_x = x.shape[2]
    rows, columns = (
        jnp.arange(n) * s - p for n, s, p in zip(size, pair(stride), pair(padding), strict=True)
    )
    rows, columns = rows[None, :, None, None], columns[None, None, :, None]
    for i, j in np.ndindex(pair(window)):
        is_first = (jnp.maximum(-rows, 0) == i) & (jnp.maximum(-columns, 0) == j)
        yield (rows + i) * columns_of_x + columns + j, is_first


def _lowest(dtype: np.dtype) -> np.ndarray:
    """Returns the smallest value of a dtype; −∞ for floats."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(-np.inf, dtype)
    return np.asarray(jnp.iinfo(dtype).min, dtype)


def _reduce_window(
    x: Real[Array, "b h w c"], window: Pair, stride: Pair, padding: Pair
) -> Real[Array, "b oh ow c"]:
    """Returns the maximum of each window, by XLA's own primitive."""
    _output_size(x, window, stride, padding)
    edges = [(0, 0), *((p, p) for p in pair(padding)), (0, 0)]
    shape, strides = (1, *pair(window), 1), (1, *pair(stride), 1)
    return lax.reduce_window(x, _lowest(x.dtype), lax.max, shape, strides, edges)
