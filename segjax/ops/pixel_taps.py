"""Windows as tables of pixels: depthwise convolutions and max-pools by looking pixels up.

A tap of a window reads one pixel for each output. Here it reads it by index, and an index that
would lie outside the map is moved to the nearest pixel inside. So no padded copy is made, and
no address lies outside: on CPUs XLA turns padding inside a loop into masked loads. With those
a depthwise convolution at rate 12 took 33 ms, and so it takes 4 (`benchmarks/results.md`). All
taps are one loop, whose innermost axis, the channels, is contiguous.
"""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from segjax.ops.tap_matmul import TapWindow


class Line(NamedTuple):
    """What a tap reads along one axis: a pixel at each position, and whether it is inside."""

    pixel: Int[np.ndarray, " n"]
    inside: Bool[np.ndarray, " n"]


def read_by(window: TapWindow, axis: int, size: int, taps: int) -> list[Line]:
    """Returns the pixels that each tap reads, for every output along an axis of `size`."""
    starts = np.arange(window.size(axis, size, taps)) * window.strides[axis]
    lines = []
    for tap in range(taps):
        pixel = starts + tap * window.dilations[axis] - window.pads[axis][0]
        lines.append(Line(np.clip(pixel, 0, size - 1), (pixel >= 0) & (pixel < size)))
    return lines


def reaching(window: TapWindow, axis: int, size: int, taps: int) -> list[Line]:
    """Returns the outputs that each tap adds a pixel to, for every pixel of an axis."""
    stride, outputs = window.strides[axis], window.size(axis, size, taps)
    lines = []
    for tap in range(taps):
        first = np.arange(size) - tap * window.dilations[axis] + window.pads[axis][0]
        output = first // stride
        inside = (first % stride == 0) & (output >= 0) & (output < outputs)
        lines.append(Line(np.clip(output, 0, outputs - 1), inside))
    return lines


def flat_place(rows: Line, columns: Line, width: int) -> Int[Array, "oh ow"]:
    """Returns row · width + column of the pixels that a tap reads."""
    row, column = (jnp.asarray(line.pixel, jnp.int32) for line in (rows, columns))
    return row[:, None] * width + column[None, :]


def looked_up(x: Num[Array, "b h w c"], rows: Line, columns: Line) -> Num[Array, "b oh ow c"]:
    """Returns the pixels of a tap; where it reads padding, a pixel nearby."""
    place = flat_place(rows, columns, x.shape[2])
    flat = x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
    return flat.at[:, place].get(mode="promise_in_bounds")


def depthwise(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw 1 c"], window: TapWindow
) -> Float[Array, "b oh ow c"]:
    """Returns the convolution of every channel with its own kernel: look up, multiply, add."""
    axes = [read_by(window, a, x.shape[1 + a], kernel.shape[a]) for a in (0, 1)]
    return _weighted(x, kernel, *axes)


def depthwise_adjoint(
    gradient: Float[Array, "b oh ow c"],
    kernel: Float[Array, "kh kw 1 c"],
    size: tuple[int, int],
    window: TapWindow,
) -> Float[Array, "b h w c"]:
    """Returns the gradient of `depthwise` by an input of `size`."""
    axes = [reaching(window, a, size[a], kernel.shape[a]) for a in (0, 1)]
    return _weighted(gradient, kernel, *axes)


def depthwise_kernel_gradient(
    x: Float[Array, "b h w c"],
    gradient: Float[Array, "b oh ow c"],
    kernel_size: tuple[int, int],
    window: TapWindow,
) -> Float[Array, "kh kw 1 c"]:
    """Returns the gradient of `depthwise` by the kernel, row by row of the outputs.

    Every column of a row has a sum of its own for each tap, so that a row is one loop without
    a sum in it; the columns are added at the end.
    """
    (height, width), (batch, outputs, across, channels) = kernel_size, gradient.shape
    if 0 in gradient.shape:
        return jnp.zeros((height, width, 1, channels), x.dtype)  # No row could be looked up.
    rows, columns = (read_by(window, a, x.shape[1 + a], kernel_size[a]) for a in (0, 1))
    place, inside = (np.stack(part)[None] for part in zip(*columns, strict=True))
    place = place.astype(np.int32)
    lines, lines_inside = (
        np.tile(np.stack(part, axis=1), (batch, 1)) for part in zip(*rows, strict=True)
    )
    lines = lines.astype(np.int32)
    images = np.repeat(np.arange(batch, dtype=np.int32), outputs)
    flat = x.reshape(batch, x.shape[1] * x.shape[2], channels)

    def add_row(total: Array, row: tuple[Array, ...]) -> tuple[Array, None]:
        """Adds the products of one row of outputs, one for each tap and column."""
        image, line, line_inside, reached = row
        pixels = flat.at[image, line[:, None, None] * x.shape[2] + place].get(
            mode="promise_in_bounds"
        )
        reads = (line_inside[:, None, None] & inside)[..., None]
        return total + jnp.where(reads, pixels * reached[None, None], 0), None

    nothing = jnp.zeros((height, width, across, channels), x.dtype)
    reached = gradient.reshape(batch * outputs, across, channels)
    # Rows are scanned, not indexed: the transpose of an index is a whole map. Each row is
    # recomputed: a second derivative would otherwise store every tap's pixels of every row.
    body = jax.checkpoint(add_row, prevent_cse=False)
    total, _ = lax.scan(body, nothing, (images, lines, lines_inside, reached))
    return total.sum(2)[:, :, None]


def _weighted(x: Array, kernel: Array, rows: Sequence[Line], columns: Sequence[Line]) -> Array:
    """Returns Σ pixels · tap over the taps, without those that read padding."""
    terms = []
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        inside = row.inside[:, None] & column.inside
        term = looked_up(x, row, column) * kernel[i, j][None, None]
        terms.append(term if inside.all() else jnp.where(inside[None, ..., None], term, 0))
    return functools.reduce(operator.add, terms)


def largest(
    x: Float[Array, "b h w c"], sides: tuple[int, int], window: TapWindow
) -> Float[Array, "b oh ow c"]:
    """Returns the largest value of each window of `sides`; a window needs a pixel inside.

    A tap on padding reads a pixel that its window holds anyway. NaN beats every number.
    """
    taps = [read_by(window, a, x.shape[1 + a], sides[a]) for a in (0, 1)]
    values = (looked_up(x, *lines) for lines in itertools.product(*taps))
    return functools.reduce(jnp.maximum, values)
