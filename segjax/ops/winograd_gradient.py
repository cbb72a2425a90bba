"""The gradient of a 3×3 convolution by its kernel, with 16 products for 4 outputs, not 36.

Winograd's F(2×2, 3×3) is bilinear: its value is Aᵀ (transformed pixels · transformed taps). So
its gradient by the taps needs the same 16 products of a tile, between the transformed pixels
and the gradient spread by A:

    y0 = m0 + m1 + m2        ∂m0 = ∂y0        ∂m1 = ∂y0 + ∂y1
    y1 = m1 − m2 − m3        ∂m3 = −∂y1       ∂m2 = ∂y0 − ∂y1

A product sums over the tiles and is inner × outputs. Both factors are as large as four maps, so
they are made block by block: a block stays in the cache between transform and product.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.tap_matmul import TapWindow
from segjax.ops.winograd import of_pixels, pixel_grids, tiles

BLOCK = 1 << 16
"""Tiles × (inner + outputs) of a block: 16 × 256 KiB of float32, as much as a cache holds."""


def winograd_kernel_gradient(
    x: Float[Array, "b h w i"], gradient: Float[Array, "b oh ow o"], window: TapWindow
) -> Float[Array, "3 3 i o"]:
    """Returns the gradient by a 3×3 kernel at stride 1 in one group.

    In float32 it differs from the plain sum by 1e-6 of the largest value.
    """
    rows, columns = (tiles(window, axis, x.shape[1 + axis]) for axis in (0, 1))
    down, right = window.dilations
    inner, outputs = x.shape[3], gradient.shape[3]
    height, images = _block(rows, x.shape[0], down * columns * right, inner, outputs)
    count = -(-rows // height)
    rows = count * height
    pixels = pixel_grids(x, window, (rows, columns))
    below, across = (
        2 * n * d - size
        for n, d, size in zip(
            (rows, columns), window.dilations, gradient.shape[1:3], strict=True
        )
    )
    spread = jnp.pad(gradient, ((0, 0), (0, below), (0, across), (0, 0)))
    shape = (-1, images, height, 2, down)
    # Blocks are scanned, not indexed: the transpose of an index is a whole map.
    blocks = (
        pixels[:, :rows].reshape(*shape, *pixels.shape[4:]),
        pixels[:, height::height].reshape(-1, images, 1, *pixels.shape[2:]),
        spread.reshape(*shape, columns, 2, right, outputs),
    )

    # Each block is recomputed: a second derivative would otherwise store all transformed maps.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def products(block: tuple[Array, Array, Array]) -> list[Array]:
        """Returns the products of a block of rows of tiles, four arrays of four."""
        above, next_row, reached = block
        grids = jnp.concatenate([above, next_row], axis=1)
        # In three dimensions: XLA would transpose a factor of more before it multiplies.
        left = [p.reshape(4, -1, inner) for p in _transformed_pixels(grids)]
        out = [q.reshape(4, -1, outputs) for q in _transformed_outputs(reached)]
        return [jnp.einsum("mti,mto->mio", p, q) for p, q in zip(left, out, strict=True)]

    if len(blocks[0]) == 1:
        total = products(jax.tree.map(lambda block: block[0], blocks))
    else:
        add = lambda total, block: (jax.tree.map(jnp.add, total, products(block)), None)
        nothing = [jnp.zeros((4, inner, outputs), x.dtype)] * 4
        total, _ = lax.scan(add, nothing, blocks)
    return jnp.stack(_to_taps(jnp.stack(_to_taps(total), axis=1)))


def _block(rows: int, images: int, across: int, inner: int, outputs: int) -> tuple[int, int]:
    """Returns how many rows of tiles, and of how many images, make a block.

    `across` is the number of tiles in a row. A block has as many tiles as fit the cache, but
    enough of them that adding a block's products costs less than making them.
    """
    wanted = max(BLOCK, inner * outputs) // (inner + outputs)
    height = min(rows, max(1, wanted // across))
    height = -(-rows // -(-rows // height))  # Blocks of equal height, with little to fill.
    if height < rows:
        return height, 1
    together = max(1, min(images, wanted // (rows * across)))
    return height, math.gcd(together, images)


def _transformed_pixels(
    grids: Float[Array, "b r 2 down q 2 right c"],
) -> list[Float[Array, "4 b t down s right c"]]:
    """Returns the pixels' factors of m0 … m3 along columns, each of all four along rows.

    Four arrays, not sixteen: XLA compiles a program for each. For the value sixteen are better:
    there four products of whole maps at a time would take buffers that XLA does not plan.
    """
    return of_pixels(jnp.stack(of_pixels(grids, 1, 2)), 4, 5)


def _transformed_outputs(
    gradient: Float[Array, "b t 2 down s 2 right o"],
) -> list[Float[Array, "4 b t down s right o"]]:
    """Returns ∂m0 … ∂m3 along columns, each of all four along rows."""
    return _of_outputs(jnp.stack(_of_outputs(gradient, 2)), 5)


def _of_outputs(gradient: Array, axis: int) -> list[Array]:
    """Returns ∂m0 … ∂m3 of each pair of outputs, which lie along an axis of length 2."""
    y0, y1 = (lax.index_in_dim(gradient, i, axis, keepdims=False) for i in (0, 1))
    return [y0, y0 + y1, y0 - y1, -y1]


def _to_taps(m: Sequence[Array] | Array) -> list[Array]:
    """Returns the gradients by a, b and c, of which m0 … m3's taps are made."""
    mean, half = (m[1] + m[2]) / 2, (m[1] - m[2]) / 2
    return [m[0] + mean, half, mean + m[3]]
