"""3×3 convolutions with 16 products for 4 outputs instead of 36: Winograd's F(2×2, 3×3).

Along one axis two outputs of a kernel (a, b, c) on pixels p0 … p3 cost 4 products, not 6:

    m0 = (p0 − p2) · a                        y0 = a p0 + b p1 + c p2 = m0 + m1 + m2
    m1 = (p1 + p2) · (a + b + c) / 2          y1 = a p1 + b p2 + c p3 = m1 − m2 − m3
    m2 = (p2 − p1) · (a − b + c) / 2
    m3 = (p1 − p3) · c

and the same again along the other axis. With channels, each product is a matrix product (Lavin
and Gray, 2015, arXiv:1509.09308). A rate of d makes d × d interleaved grids, each convolved by
itself. In float32 results differ from the plain sum by 1e-6 of the largest value; those of
larger tiles, F(4×4, 3×3), by 1e-5. An infinite or NaN pixel turns its whole tile to NaN.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.materialize import materialized
from segjax.ops.tap_matmul import TapWindow


def tiles(window: TapWindow, axis: int, size: int) -> int:
    """Returns the number of pairs of outputs that cover an axis of `size` pixels."""
    return -(-window.size(axis, size, 3) // (2 * window.dilations[axis]))


def winograd(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "3 3 i o"],
    window: TapWindow,
    *,
    adjoint: bool = False,
) -> Float[Array, "b oh ow f"]:
    """Returns the convolution by a 3×3 kernel at stride 1 in one group.

    `adjoint` flips the kernel and exchanges the roles of its channels.
    """
    size = x.shape[1:3]
    rows, columns = (tiles(window, axis, size[axis]) for axis in (0, 1))
    down, right = window.dilations
    grids = pixel_grids(x, window, (rows, columns))
    # The factors along rows are written: those along columns then are equal programs, which XLA
    # compiles once, 4 + 4 instead of 16.
    pixels = [of_pixels(materialized(line), 3, 4) for line in of_pixels(grids, 1, 2)]
    kernels = _of_taps(kernel[::-1, ::-1] if adjoint else kernel)
    taps = [_of_taps(materialized(line)) for line in kernels]
    equation = "btdseo,co->btdsec" if adjoint else "btdsec,co->btdseo"
    products = [
        [jnp.einsum(equation, p, k) for p, k in zip(*lines, strict=True)]
        for lines in zip(pixels, taps, strict=True)
    ]
    above, below = zip(*(_pair(column) for column in zip(*products, strict=True)), strict=True)
    result = jnp.stack([jnp.stack(_pair(line), axis=4) for line in (above, below)], axis=2)
    result = result.reshape(x.shape[0], 2 * rows * down, 2 * columns * right, result.shape[-1])
    return result[:, : window.size(0, size[0], 3), : window.size(1, size[1], 3)]


def pixel_grids(
    x: Float[Array, "b h w c"], window: TapWindow, count: tuple[int, int]
) -> Float[Array, "b r 2 down q 2 right c"]:
    """Returns the padded pixels as pairs in d × d grids: count + 1 pairs along both axes."""
    pads, shape = [], []
    for (before, _), n, dilation, size in zip(
        window.pads, count, window.dilations, x.shape[1:3], strict=True
    ):
        pads.append((before, 2 * (n + 1) * dilation - size - before, 0))
        shape += [n + 1, 2, dilation]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    return padded.reshape(x.shape[0], *shape, x.shape[3])


def of_pixels(grids: Array, axis: int, parity: int) -> list[Array]:
    """Returns the pixels' factors of m0 … m3, for each pair of outputs along an axis.

    p0 … p3 are the pair's own two pixels and the next two; there is one pair more than outputs.
    """
    count = grids.shape[axis] - 1
    p = [
        lax.index_in_dim(
            lax.slice_in_dim(grids, i // 2, i // 2 + count, axis=axis),
            i % 2,
            axis=parity,
            keepdims=False,
        )
        for i in range(4)
    ]
    return [p[0] - p[2], p[1] + p[2], p[2] - p[1], p[1] - p[3]]


def _of_taps(k: Sequence[Array] | Array) -> list[Array]:
    mean, half = (k[0] + k[2]) / 2, k[1] / 2
    return [k[0], mean + half, mean - half, k[2]]


def _pair(m: Sequence[Array]) -> tuple[Array, Array]:
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]
