"""Mean-field inference by one program for images of many sizes, on a CPU.

XLA compiles a program for the shapes of its arrays, which takes half a second. Here an array
has one of a few sizes, so that images share programs; tables of indices and weights, which
NumPy fills (`buckets`), hold everything that depends on the image's height, width and colours.

Each step writes a whole array, in which rows that an image does not need cost time too. Writing
only the rows that it needs would be slower: XLA computes a whole array on all cores, and a part
of a larger array on one.

All values are rows of k numbers. Row 0 of the marginals and of points is zeros: it stands for a
missing neighbour, and for the margin of a row of pixels.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32

from segjax.crf.mean_field import message_energy

CLIP = 1e-5
"""Smaller probabilities count as this, so that no energy is infinite."""

CHUNK = 1024
"""The sums of sums that are written at once."""

BLUR = (1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.25, 0.25)
"""Weights of a blur along two axes: of the point and its neighbours along one, by the other."""


class Splat(NamedTuple):
    """Sums of the pixels at each point: of 8 corners, then of 8 of these sums, and so on.

    Attributes:
      index: rows of the marginals that are summed, s 8.
      weight: their weights, s 8.
      more: rows of the result that are summed in turn, x 8, chunk by chunk.
      at: the row of the result where each chunk of these sums begins.
      count: the number of these chunks.
    """

    index: Any
    weight: Any
    more: Any
    at: Any
    count: Any


class Lattice(NamedTuple):
    """The appearance kernel's filter: splat, blur, and the corners that slice reads.

    Attributes:
      splat: from pixels to points.
      blur: rows that are summed, weighted by `BLUR`, to blur along two axes, m 9; one table for
        each pair of axes. The first reads the splat's result, another the result before it.
      vertex: rows of the corners of each pixel's simplex, L v.
      weight: their weights, L v.
    """

    splat: Splat
    blur: tuple[Any, ...]
    vertex: Any
    weight: Any


class Smooth(NamedTuple):
    """The smoothness kernel's filter, along rows of pixels, then along columns.

    Attributes:
      along_w: weights at distances 0 … R.
      along_h: the same for columns.
      columns: rows of the first result, column by column, with margins, L.
      inside: 1 for pixels of columns, 0 in their margins, L.
      back: the row of each pixel in the second result, L.
      scale: what multiplies it, L.
    """

    along_w: Any
    along_h: Any
    columns: Any
    inside: Any
    back: Any
    scale: Any


class Image(NamedTuple):
    """The pixels of an image, row by row, with margins that take no part.

    Attributes:
      probabilities: of k classes, L k; columns from `classes` on do not count.
      classes: the number of classes, at least 1.
      scale: what multiplies marginals before they are filtered, L; 0 in margins.
    """

    probabilities: Any
    classes: Any
    scale: Any


@jax.jit
def infer(
    image: Image,
    smooth: Smooth | None,
    lattice: Lattice | None,
    compats: tuple[Array, ...],
    iterations: Array,
) -> Float[Array, "L k"]:
    """Returns the marginals of all rows of pixels after `iterations` of the mean field.

    Args:
      image: the pixels.
      smooth: the smoothness kernel, or None.
      lattice: the appearance kernel, or None.
      compats: energies of the kernels that are not None, in this order.
      iterations: iterations of the mean field.
    """
    run = image.classes > 0
    energy = -jnp.log(jnp.clip(image.probabilities, CLIP, 1))
    unary = jnp.where(jnp.arange(energy.shape[1]) < image.classes, energy, jnp.inf)

    def marginals(scores: Array, last: Array) -> Array:
        """Returns the softmax of the scores; scaled for the filters, unless it is the last."""
        raised = jnp.exp(scores - scores.max(1, keepdims=True))
        scale = jnp.where(last, 1, image.scale) / raised.sum(1)
        return raised * scale[:, None]

    def round_(turn: Array, values: Array) -> Array:
        """Returns the marginals after a round of the mean field."""
        near = None if smooth is None else _smoothed(run, smooth, values)
        alike = None if lattice is None else _blurred(run, lattice, values)
        scores = _apart(run, _scores, near, alike, unary, smooth, lattice, compats)
        return marginals(scores, turn == iterations - 1)

    return lax.fori_loop(0, iterations, round_, marginals(-unary, iterations == 0))


def _apart(run: Bool[Array, ""], step: Callable[..., Array], *operands: Any) -> Array:
    """Returns step(*operands), computed once and as a whole; `run` must be true.

    XLA would otherwise fuse the step into each gather that reads its result, and compute it
    again for each. It does not look into a condition that is only known as the program runs.
    """
    result = jax.eval_shape(step, *operands)
    nothing = lambda *_: jnp.zeros(result.shape, result.dtype)
    return lax.cond(run, step, nothing, *operands)


def _rows(values: Array, index: Int32[Array, " r"]) -> Array:
    return values.at[index].get(mode="promise_in_bounds")


def _sums(
    values: Float[Array, "n k"],
    index: Int32[Array, "r j"],
    weight: Float[Array, "r j"] | tuple[Any, ...],
) -> Float[Array, "r k"]:
    """Returns weighted sums of j rows; the weights are the same for all sums if a tuple."""
    each = weight if isinstance(weight, tuple) else weight.T[..., None]
    terms = [_rows(values, index[:, j]) * each[j] for j in range(index.shape[1])]
    return functools.reduce(operator.add, terms)


def _blurred(
    run: Bool[Array, ""], lattice: Lattice, values: Float[Array, "L k"]
) -> Float[Array, "m k"]:
    """Returns the values of the lattice's points, blurred along all axes."""
    index, weight, more, at, count = lattice.splat
    values = _apart(run, _sums, values, index, weight)
    ones = (run.astype(values.dtype),) * more.shape[1]

    def sums(values: Array, i: Array) -> Array:
        return _sums(values, lax.dynamic_slice_in_dim(more, i * CHUNK, CHUNK), ones)

    def step(i: Array, values: Array) -> Array:
        part = _apart(run, sums, values, i)
        return lax.dynamic_update_slice_in_dim(values, part, at[i], 0)

    values = lax.fori_loop(0, count, step, values)
    for rows in lattice.blur:
        values = _apart(run, lambda values, rows: _sums(values, rows, BLUR), values, rows)
    return values


def _smoothed(
    run: Bool[Array, ""], smooth: Smooth, values: Float[Array, "L k"]
) -> Float[Array, "q k"]:
    """Returns the values filtered along both axes of the image, column by column."""
    along_w = _apart(run, _taps, values, smooth.along_w)
    # Multiplied by 0 and 1, rows are copied by vectors; otherwise number by number.
    turn = lambda rows, index, inside: _rows(rows, index) * inside[:, None]
    columns = _apart(run, turn, along_w, smooth.columns, smooth.inside)
    return _apart(run, _taps, columns, smooth.along_h)


def _scores(
    near: Array | None,
    alike: Array | None,
    unary: Array,
    smooth: Smooth | None,
    lattice: Lattice | None,
    compats: tuple[Array, ...],
) -> Float[Array, "L k"]:
    """Returns the negative energies: unary, and of what the kernels send."""
    messages = []
    if smooth is not None and near is not None:
        messages.append(_rows(near, smooth.back) * smooth.scale[:, None])
    if lattice is not None and alike is not None:
        messages.append(_sums(alike, lattice.vertex, lattice.weight))
    return -sum(map(message_energy, messages, compats), unary)


def _taps(rows: Float[Array, "r k"], taps: Float[Array, " t"]) -> Float[Array, "q k"]:
    """Returns Σ_t taps[|t|] rows shifted by t, without margins of t rows at both ends."""
    reach, k = len(taps) - 1, rows.shape[1]
    length = (len(rows) - 2 * reach) * k
    # One axis only: XLA then computes many numbers at once.
    flat = rows.reshape(-1)
    shifted = lambda t: lax.slice_in_dim(flat, (reach + t) * k, (reach + t) * k + length)
    total = taps[0] * shifted(0)
    for t in range(1, reach + 1):
        total = total + taps[t] * (shifted(t) + shifted(-t))
    return total.reshape(-1, k)
