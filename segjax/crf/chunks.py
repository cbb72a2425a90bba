"""Mean-field inference by one program for images of many sizes, on a CPU.

XLA compiles a program for the shapes of its arrays, which takes seconds. Here an array has one
of two numbers of rows an octave, and the program works on chunks of them, as many as the image
needs. Rows that an image does not need cost memory, and little time. Tables of indices and
weights, which NumPy fills (`buckets`), hold everything that depends on the image's height,
width and colours.

All values, k numbers each, are rows of one buffer, of which each step writes a part:

    rows         of the buffer
    L            pixels: the marginals, scaled for the filters
    L            the smoothness kernel's result
    z            splat: sums of 8 corners, sums of 8 of these sums, … until a point has one
    m            points blurred along axes 0 and 1; axes 2 and 3 write over the splat; …

Row 0 is zeros: it stands for a missing neighbour, and for the margin of a row of pixels.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from segjax.crf.mean_field import message_energy

CLIP = 1e-5
"""Smaller probabilities count as this, so that no energy is infinite."""

CHUNK = 2048
"""The rows written at once: a chunk stays in a core's cache."""

BLUR = np.outer([1, 0.5, 0.5], [1, 0.5, 0.5]).reshape(-1)
"""Weights of a blur along two axes: of the point and its neighbours along one, by the other."""


class Chunks(NamedTuple):
    """Rows to be written, chunk by chunk, as sums of rows of the buffer.

    Attributes:
      index: the rows that are summed, j r.
      weight: their weights, j r; None for `BLUR`.
      at: the row where each chunk begins.
      count: the number of chunks, at least 1.
    """

    index: Any
    weight: Any
    at: Any
    count: Any


class Lattice(NamedTuple):
    """The appearance kernel's filter: splat, blur, and the corners that slice reads.

    Attributes:
      splat: from pixels to points.
      blur: along two axes at a time.
      vertex: rows of the corners of each pixel's simplex, v L.
      weight: their weights, v L.
    """

    splat: Chunks
    blur: Chunks
    vertex: Any
    weight: Any


class Smooth(NamedTuple):
    """The smoothness kernel's filter, along rows of pixels, then along columns.

    Attributes:
      along_w: weights at distances 0 … R.
      along_h: the same for columns.
      columns: the filtered pixels' rows of the buffer, column by column, with margins.
      count: the number of chunks of columns.
      back: the row of each pixel's result, L.
      scale: what multiplies the result, L.
    """

    along_w: Any
    along_h: Any
    columns: Any
    count: Any
    back: Any
    scale: Any


class Image(NamedTuple):
    """The pixels of an image, row by row, with margins that take no part.

    Attributes:
      probabilities: of k classes, L k; columns from `classes` on do not count.
      classes: the number of classes.
      scale: what multiplies marginals before they are filtered, L; 0 in margins.
      count: the number of chunks of pixels.
    """

    probabilities: Any
    classes: Any
    scale: Any
    count: Any


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
    room, k = image.probabilities.shape
    pixels = lambda i: i * CHUNK

    def marginals(energy: Array, i: Array, *, last: Array) -> Array:
        scale = jnp.where(last, 1, _part(image.scale, i))
        return jax.nn.softmax(-energy) * scale[:, None]

    def unary_energy(i: Array, _: Array) -> Array:
        energy = -jnp.log(jnp.clip(_part(image.probabilities, i), CLIP, 1))
        return jnp.where(jnp.arange(k) < image.classes, energy, jnp.inf)

    def round_(turn: Array, buffer: Array) -> Array:
        """Returns the marginals after a round of the mean field."""
        if smooth is not None:
            buffer = _smoothed(smooth, buffer, room, image.count)
        if lattice is not None:
            buffer = _summed(lattice.blur, _summed(lattice.splat, buffer))

        def energy(i: Array, buffer: Array) -> Array:
            """Returns the energies of a chunk of pixels: unary, and what the kernels send."""
            messages = []
            if smooth is not None:
                found = _rows(buffer, _part(smooth.back, i))
                messages.append(found * _part(smooth.scale, i)[:, None])
            if lattice is not None:
                messages.append(_weighted(buffer, lattice.vertex, lattice.weight, i))
            terms = map(message_energy, messages, compats)
            return sum(terms, _part(unary, i))

        finish = lambda part, i: marginals(part, i, last=turn == iterations - 1)
        return _filled(buffer, image.count, energy, pixels, finish)

    unary = _filled(jnp.zeros((room, k)), image.count, unary_energy, pixels)
    buffer = jnp.zeros(((1 if lattice is smooth is None else 4) * room, k))
    first = lambda part, i: marginals(part, i, last=iterations == 0)
    buffer = _filled(buffer, image.count, lambda i, _: _part(unary, i), pixels, first)
    return lax.fori_loop(0, iterations, round_, buffer)[:room]


def _filled(
    buffer: Array,
    count: Array,
    part_of: Callable[[Array, Array], Array],
    at: Callable[[Array], Array],
    finish: Callable[[Array, Array], Array] = lambda part, i: part,
) -> Array:
    """Returns the buffer with chunks finish(part_of(i, buffer), i) written from row at(i) on.

    A step writes what the step before computed. XLA would otherwise fuse the computation with
    the writing, and then gather each row separately, on one core.
    """
    write = lambda buffer, part, i: lax.dynamic_update_slice_in_dim(
        buffer, finish(part, i), at(i), 0
    )

    def step(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        buffer = write(*state, jnp.maximum(i - 1, 0))
        return buffer, part_of(i, buffer)

    nothing = jnp.zeros((CHUNK, buffer.shape[1]))
    buffer, part = lax.fori_loop(0, count, step, (buffer, nothing))
    return write(buffer, part, count - 1)


def _part(x: Array, i: Array, more: int = 0, axis: int = 0) -> Array:
    """Returns chunk i along an axis, and `more` that follow."""
    return lax.dynamic_slice_in_dim(x, i * CHUNK, CHUNK + more, axis)


def _rows(buffer: Array, index: Array) -> Array:
    return buffer.at[index].get(mode="promise_in_bounds")


def _weighted(buffer: Array, index: Array, weight: Array | None, i: Array) -> Array:
    """Returns chunk i of the weighted sums of rows."""
    index = _part(index, i, axis=1)
    weights = BLUR if weight is None else _part(weight, i, axis=1)[..., None]
    terms = [_rows(buffer, row) * w for row, w in zip(index, weights, strict=True)]
    return functools.reduce(operator.add, terms)


def _summed(chunks: Chunks, buffer: Array) -> Array:
    """Returns the buffer with the chunks written."""
    part = lambda i, buffer: _weighted(buffer, chunks.index, chunks.weight, i)
    return _filled(buffer, chunks.count, part, lambda i: chunks.at[i])


def _smoothed(smooth: Smooth, buffer: Array, room: int, count: Array) -> Array:
    """Returns the buffer with the smoothness kernel's result."""
    margins = 2 * (len(smooth.along_w) - 1)
    along_w = lambda i, buffer: _taps(_part(buffer, i, margins), smooth.along_w)
    buffer = _filled(buffer, count, along_w, lambda i: 2 * room + i * CHUNK)

    def along_h(i: Array, buffer: Array) -> Array:
        return _taps(_rows(buffer, _part(smooth.columns, i, margins)), smooth.along_h)

    return _filled(buffer, smooth.count, along_h, lambda i: room + i * CHUNK)


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
