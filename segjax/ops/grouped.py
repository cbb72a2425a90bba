"""Grouped convolutions of few channels in each group, element by element on a CPU.

Matrix products of eight channels leave most of a CPU idle, and groups that are joined to wider
ones multiply zeros. Here every output is a sum of terms, pixel times weight, written such that
XLA compiles one loop whose innermost axis is eight outputs of a group: one vector. Groups of
fewer channels are joined to eight, with zeros between them: an infinite or NaN pixel of one
spoils the others.
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from segjax.ops.forms import BY_KERNEL, Case
from segjax.ops.tap_matmul import TapWindow

LANES = 8
"""Channels of a vector: as many float32 as XLA's loops take at once on a CPU."""

CHAINS = 4
"""Sums that a loop adds up beside each other, so that an addition need not await the last."""

COLUMNS = 48
"""Columns of outputs that are written out as terms of one loop, at most.

A loop of few terms is slow: XLA makes it part of the sum that follows. Seventeen columns take
four times as long as thirty-three.
"""


def groups_to_join(inner: int, each: int, groups: int) -> int | None:
    """Returns how many groups are joined, so that both sides have a multiple of eight channels.

    Args:
      inner: channels that a group reads.
      each: channels that a group gives.
      groups: number of groups.

    Returns:
      the number, or None if the groups cannot be divided so.
    """
    together = math.lcm(*(LANES // math.gcd(LANES, channels) for channels in (inner, each)))
    return None if groups % together else together


def by_joined_groups(
    case: Case, ordinary: Callable[[Case], Callable[[Array, Array], Array]]
) -> Callable[[Array, Array], Array]:
    """Returns the form of a case by ordinary convolutions, each of some groups side by side.

    Groups of few channels are joined to one of up to 32, whose kernel is 0 between them: XLA's
    grouped primitive takes twice as long, and its gradient by the kernel many times. An
    infinite or NaN pixel of one group spoils those that it is joined to.

    Args:
      case: one question about a grouped convolution.
      ordinary: gives the form that answers the same question about one group.
    """
    groups, (height, width, inner, outputs) = case.window.groups, case.kernel_shape
    each = outputs // groups
    together = max(
        m
        for m in range(1, groups + 1)
        if groups % m == 0 and (m == 1 or m * max(inner, each) <= 32)
    )
    pieces, taken, given = groups // together, together * inner, together * each
    shape, kernel_shape = (*case.shape[:3], taken), (height, width, taken, given)
    piece = Case(case.question, shape, kernel_shape, case.window._replace(groups=1))
    form = lambda *operands: ordinary(piece)(*operands)  # Asked for each, so that each counts.
    # More pieces would compile for too long. In a loop their gradients take six times as long.
    is_loop = pieces > 32

    def apart(maps: Array) -> list[Array]:
        """Returns the maps of each piece."""
        return jnp.split(maps, pieces, axis=3)

    def in_front(maps: Array) -> Array:
        """Returns the maps with the pieces as first axis."""
        split = maps.reshape(*maps.shape[:3], pieces, maps.shape[3] // pieces)
        return jnp.moveaxis(split, 3, 0)

    def in_loop(*operands: Array) -> Array:
        """Returns what the form gives of each piece."""
        return lax.map(lambda pair: form(*pair), operands)

    def of_kernel(maps: Array, kernel: Array) -> Array:
        """Returns the value, or the gradient by x."""
        kernels = _side_by_side(kernel, groups, together)
        if not is_loop:
            return jnp.concatenate([*map(form, apart(maps), kernels)], axis=3)
        found = in_loop(in_front(maps), kernels)
        return jnp.moveaxis(found, 0, 3).reshape(*found.shape[1:4], pieces * found.shape[4])

    def by_kernel(x: Array, gradient: Array) -> Array:
        """Returns the gradient by the kernel."""
        if is_loop:
            found = in_loop(in_front(x), in_front(gradient))
        else:
            found = jnp.stack([*map(form, apart(x), apart(gradient))])
        wide = found.reshape(pieces, height, width, together, inner, together, each)
        return jnp.einsum("phwmimo->hwipmo", wide).reshape(case.kernel_shape)

    return by_kernel if case.question == BY_KERNEL else of_kernel


def convolution_by_element(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: TapWindow
) -> Float[Array, "b oh ow o"]:
    """Returns the grouped convolution, one row of taps and eight input channels at a time.

    More terms in one loop than those would no longer be compiled as one. A group's row lies in
    one piece, so that the weights of a loop stay in registers along it. That layout is asked of
    XLA, which `jax.export` refuses: an export is traced under `plain()`.
    """
    kernel, groups = _joined(kernel, window.groups)
    height, width, inner, outputs = kernel.shape
    rows, columns = (window.size(a, x.shape[1 + a], kernel.shape[a]) for a in (0, 1))
    (down, right), (below, across) = window.strides, window.dilations
    blocks, each = inner // LANES, outputs // groups // LANES
    weights = kernel.reshape(height, width, blocks, LANES, groups, each, LANES)
    weights = jnp.moveaxis(weights, 2, 1).reshape(-1, *weights.shape[1:2], *weights.shape[3:])
    pads = [(before, after, 0) for before, after in window.pads]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    padded = padded.reshape(*padded.shape[:3], groups, inner)
    padded = _laid_out(jnp.moveaxis(padded, 3, 2))

    def terms(line: int | Array, block: int | Array, taps: Array) -> list[Array]:
        """Returns what each tap of a row gives of each of eight channels of the groups."""
        found = []
        for tap, channel in itertools.product(range(width), range(LANES)):
            # A slice for each term: one for all of them would be copied.
            first = _starts(0, line * below, 0, tap * across, block * LANES + channel)
            size = (x.shape[0], down * (rows - 1) + 1, groups, right * (columns - 1) + 1, 1)
            pixels = lax.dynamic_slice(padded, first, size)[:, ::down, :, ::right]
            found.append(pixels[..., None] * taps[tap, channel][None, None, :, None])
        return found

    def add(total: Array, part: tuple[Array, Array, Array]) -> tuple[Array, None]:
        """Adds the terms of a row of taps and eight channels."""
        return _sum([total, *terms(*part)]), None

    # The first are not added to zeros: XLA would copy those, which all loops share.
    total = _sum(terms(0, 0, weights[0]))
    if len(weights) > 1:
        line, block = np.divmod(np.arange(1, len(weights), dtype=np.int32), blocks)
        body = jax.checkpoint(add, prevent_cse=False)
        total, _ = lax.scan(body, total, (jnp.asarray(line), jnp.asarray(block), weights[1:]))
    found = jnp.moveaxis(total, 2, 3)
    return found.reshape(*found.shape[:3], outputs)


def kernel_gradient_by_element(
    x: Float[Array, "b h w c"],
    gradient: Float[Array, "b oh ow o"],
    kernel_size: tuple[int, int],
    window: TapWindow,
) -> Float[Array, "kh kw i o"]:
    """Returns the gradient of a grouped convolution by its kernel.

    The terms of a loop are the columns of a strip of outputs; the loop goes over strips, rows,
    groups and pairs of channels. Where a column of a group is one vector, the loop goes over
    the taps of a row too, so that it is read once for all of them: the pixels of neighbouring
    taps lie side by side. Otherwise there is a loop for each tap, as there is where what a loop
    writes would be larger than two maps of x.
    """
    inner, each = x.shape[3] // window.groups, gradient.shape[3] // window.groups
    together = groups_to_join(inner, each, window.groups)
    assert together, "asked for by `candidates` only where groups can be joined"
    groups, height, width = window.groups // together, *kernel_size
    pixels, reached = _in_strips(x, gradient, kernel_size, window, groups)
    (down, right), (below, across) = window.strides, window.dilations
    (batch, _, strips, _, wide, channels), (rows, columns) = pixels.shape, reached.shape[1:5:3]
    pixels = pixels.reshape(*pixels.shape[:4], wide * channels)
    is_vector = across == 1 and max(channels, together * each) == LANES
    fits = width * LANES * strips <= 2 * gradient.shape[2]
    beside = width if is_vector and fits else 1

    def of_taps(tap: tuple[Array, Array]) -> Array:
        """Returns the gradient of a tap, or of a row, groups × (taps · inner) × each."""
        i, j = tap
        size = (batch, down * (rows - 1) + 1, strips, groups, beside * channels)
        terms = []
        for column in range(columns):
            first = _starts(0, i * below, 0, 0, (j * across + column * right) * channels)
            read = lax.dynamic_slice(pixels, first, size)[:, ::down, ..., None]
            terms.append(read * reached[:, :, :, :, column, None])
        total = _sum(terms)
        # Half onto half first: else XLA writes the terms into the loop of a sum over axes,
        # which it does not vectorize.
        return (total[:, : rows // 2] + total[:, rows // 2 :]).sum((0, 1, 2))

    loops = np.arange(height * width // beside, dtype=np.int32)
    taps = np.divmod(loops, width // beside)
    # Each loop is computed again where JAX transposes this and its transpose: else it would
    # store every column that each tap reads.
    body = jax.checkpoint(of_taps, prevent_cse=False)
    found = lax.map(body, tuple(map(jnp.asarray, taps)))
    shape = (height, width // beside, groups, beside, together, inner, together, each)
    own = jnp.einsum("hsgtmimo->hstigmo", found.reshape(shape))  # Each group to itself.
    return own.reshape(height, width, inner, gradient.shape[3])


def _in_strips(
    x: Array, gradient: Array, kernel_size: tuple[int, int], window: TapWindow, groups: int
) -> tuple[Float[Array, "b lines strips g wide i"], Float[Array, "b rows strips g columns o"]]:
    """Returns what strips of outputs read, and the gradient in the same strips.

    Rows are filled up to an even number, and columns to equal strips. Each group's row lies in
    one piece, else its columns would evict each other from the cache.
    """
    batch, rows, columns, _ = gradient.shape
    (down, right), (below, across) = window.strides, window.dilations
    (top, _), (left, _) = window.pads
    strips, even = -(-columns // COLUMNS), rows + rows % 2
    strip = -(-columns // strips)
    tall = down * (even - 1) + below * (kernel_size[0] - 1) + 1
    wide = right * (strip - 1) + across * (kernel_size[1] - 1) + 1
    starts = [s * strip * right for s in range(strips)]
    border = [
        (0, 0, 0),
        (top, tall - top - x.shape[1], 0),
        (left, starts[-1] + wide - left - x.shape[2], 0),
        (0, 0, 0),
    ]
    padded = lax.pad(x, jnp.zeros((), x.dtype), border)
    apart = jnp.stack([padded[:, :, start : start + wide] for start in starts], 2)
    full = jnp.pad(gradient, ((0, 0), (0, even - rows), (0, strips * strip - columns), (0, 0)))
    in_groups = (
        maps.reshape(batch, lines, strips, width, groups, channels)
        for maps, lines, width, channels in (
            (apart, tall, wide, x.shape[3] // groups),
            (full, even, strip, gradient.shape[3] // groups),
        )
    )
    pixels, reached = (_laid_out(jnp.moveaxis(maps, 4, 3)) for maps in in_groups)
    return pixels, reached


def _starts(*starts: int | Array) -> list[Array]:
    """Returns where a slice starts, in one integer type, as JAX asks."""
    return [jnp.asarray(start, jnp.int32) for start in starts]


def _joined(kernel: Float[Array, "kh kw i o"], groups: int) -> tuple[Array, int]:
    """Returns the kernel of groups joined to eight channels, and their number."""
    height, width, inner, outputs = kernel.shape
    together = groups_to_join(inner, outputs // groups, groups)
    assert together, "asked for by `candidates` only where groups can be joined"
    return _side_by_side(kernel, groups, together).transpose(1, 2, 3, 0, 4).reshape(
        height, width, together * inner, outputs
    ), groups // together


def _side_by_side(
    kernel: Float[Array, "kh kw i o"], groups: int, together: int
) -> Float[Array, "g kh kw mi mo"]:
    """Returns a kernel for every `together` groups, which is 0 from one of them to another."""
    height, width, inner, outputs = kernel.shape
    apart = kernel.reshape(
        height, width, inner, groups // together, together, outputs // groups
    )
    joined = jnp.einsum("hwipgo,gj->phwjigo", apart, jnp.eye(together, dtype=kernel.dtype))
    return joined.reshape(
        groups // together, height, width, together * inner, together * outputs // groups
    )


def _sum(terms: Sequence[Array]) -> Array:
    """Returns the sum of many terms, in several sums side by side.

    The multiplications, which XLA drops, keep them apart where JAX transposes this twice, as
    it does with a gradient: it adds up one by one what a single array is used for.
    """
    chains = [
        1.0 * functools.reduce(operator.add, terms[i::CHAINS])
        for i in range(CHAINS)
        if terms[i:]
    ]
    return functools.reduce(operator.add, chains)


def _laid_out(array: Array) -> Array:
    """Returns the array in row-major order in memory, whatever reads it.

    XLA would leave a transposed array as it was, and read it with strides.
    """
    return with_layout_constraint(array, Layout(major_to_minor=tuple(range(array.ndim))))
