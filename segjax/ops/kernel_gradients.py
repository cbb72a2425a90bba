"""The gradient of a convolution by its kernel: pixels times gradient, summed over positions.

XLA's own form, a convolution with a kernel as large as the map, takes up to ten times as long
on a CPU for kernels of up to nine taps, and for 2×2 a hundred times. Kernels of few channels
are fastest by rows of taps, as are strided ones; a 3×3 of many has another form,
`winograd_gradient`.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.tap_matmul import TapWindow, live_taps, tap_slice

BLOCK = 1 << 18
"""Pixels × (taps · inner + outputs) of a block: 1 MiB of float32, as much as a cache holds."""

LARGE = 1 << 20
"""Numbers that a tap reads of both maps, above which whole maps would leave the cache."""


def is_wider(inner: int, outputs: int) -> bool:
    """Returns whether x has more channels: then (gradientᵀ · x)ᵀ is faster than xᵀ · gradient.

    XLA's product on a CPU reads the right factor of aᵀ · b row by row in long pieces, and the
    left one in short ones, each as far from the next as all its channels: the narrower factor
    belongs on the left. Of 1024 → 64 channels and 8192 pixels that takes 7 ms instead of 20.
    """
    return inner > outputs


def transposed_product(a: Float[Array, "n i"], b: Float[Array, "n o"]) -> Float[Array, "i o"]:
    """Returns aᵀ · b with the narrower factor on the left (`is_wider`)."""
    if not is_wider(a.shape[1], b.shape[1]):
        return a.T @ b
    # The barrier keeps XLA from exchanging the factors again.
    return lax.optimization_barrier(b.T @ a).T


def kernel_gradient_by_taps(
    x: Float[Array, "b h w i"],
    gradient: Float[Array, "b oh ow o"],
    kernel_size: tuple[int, int],
    window: TapWindow,
) -> Float[Array, "kh kw i o"]:
    """Returns the gradient by the kernel, tap by tap, over each tap's outputs."""
    (height, width), (inner, outputs) = kernel_size, (x.shape[3], gradient.shape[3])
    is_flipped, taps = is_wider(inner, outputs), {}
    for (i, j), (rows, columns) in live_taps((x.shape[1], x.shape[2]), kernel_size, window):
        pixels = tap_slice(tap_slice(x, window, 0, i, rows), window, 1, j, columns)
        reached = gradient[:, rows.start : rows.stop, columns.start : columns.stop]
        factors = pixels.reshape(-1, inner), reached.reshape(-1, outputs)
        left, right = factors[::-1] if is_flipped else factors
        taps[i, j] = left.T @ right
    nothing = jnp.zeros((outputs, inner) if is_flipped else (inner, outputs), x.dtype)
    gradients = jnp.stack(
        [jnp.stack([taps.get((i, j), nothing) for j in range(width)]) for i in range(height)]
    )
    # The barrier keeps XLA from exchanging the factors again.
    return jnp.swapaxes(lax.optimization_barrier(gradients), 2, 3) if is_flipped else gradients


def kernel_gradient_by_rows(
    x: Float[Array, "b h w i"],
    gradient: Float[Array, "b oh ow o"],
    kernel_size: tuple[int, int],
    window: TapWindow,
) -> Float[Array, "kh kw i o"]:
    """Returns the gradient by the kernel, one product for each row of taps.

    The pixels that the taps of a row read lie side by side, for all rows of x at once: a copy
    of x for each column of taps serves all rows of taps, and the gradient is moved up or down
    instead, to the rows that a row of taps reads. So a product of few channels has the width of
    several. An infinite pixel makes NaN of other taps too, as it meets zeros of the gradient.
    """
    (height, width), inner = kernel_size, x.shape[3]
    high, (rows, columns, outputs) = x.shape[1], gradient.shape[1:]
    (down, _), below, top = window.strides, window.dilations[0], window.pads[0][0]
    products = {}
    for phase in range(down):  # Rows of taps that read the same rows of x, phase + down · n.
        lines = [
            i
            for i in range(height)
            if (i * below - top) % down == phase and window.live(0, high, height, i)
        ]
        if not lines:
            continue
        laid_out = _side_by_side(x[:, phase::down], width, columns, window)
        for i in lines:
            before = (i * below - top) // down
            after = laid_out.shape[1] - rows - before
            border = ((0, 0, 0), (before, after, 0), (0, 0, 0), (0, 0, 0))
            reached = lax.pad(gradient, jnp.zeros((), x.dtype), border)
            # Unless it is written, the product reads a value that is computed by element.
            reached = lax.optimization_barrier(reached).reshape(-1, outputs)
            products[i] = transposed_product(reached, laid_out.reshape(-1, width * inner))
    nothing = jnp.zeros((outputs, width * inner), x.dtype)
    gradients = jnp.stack([products.get(i, nothing) for i in range(height)])
    # The barrier keeps XLA from exchanging the factors.
    gradients = lax.optimization_barrier(gradients)
    return gradients.reshape(height, outputs, width, inner).transpose(0, 2, 3, 1)


def _side_by_side(
    x: Float[Array, "b h w i"], width: int, columns: int, window: TapWindow
) -> Float[Array, "b h ow kw i"]:
    """Returns the pixels that each column of taps reads, zero where that is padding."""
    laid_out = jnp.zeros((*x.shape[:2], columns, width, x.shape[3]), x.dtype)
    for j in range(width):
        reached = window.live(1, x.shape[2], width, j)
        if reached:
            pixels = tap_slice(x, window, 1, j, reached)[:, :, :, None]
            laid_out = lax.dynamic_update_slice(laid_out, pixels, (0, 0, reached.start, j, 0))
    return lax.optimization_barrier(laid_out)


def kernel_gradient_by_blocks(
    x: Float[Array, "b h w i"],
    gradient: Float[Array, "b oh ow o"],
    kernel_size: tuple[int, int],
    window: TapWindow,
    *,
    lines: int,
) -> Float[Array, "kh kw i o"]:
    """Returns the gradient by the kernel, from the windows of a few rows of outputs at a time.

    A block's windows are laid out pixel by pixel, and one product takes all taps. They stay in
    the cache, where the taps of `kernel_gradient_by_taps` read both whole maps each.

    Args:
      x: the input.
      gradient: of the result.
      kernel_size: (height, width).
      window: the kernel's movement.
      lines: rows of outputs in a block, of which no window reaches beyond the next block's
        pixels (`block_height`).
    """
    (height, width), (batch, rows, columns, outputs) = kernel_size, gradient.shape
    (down, right), (below, across) = window.strides, window.dilations
    (top, _), (left, _) = window.pads
    inner, taps = x.shape[3], height * width
    # Rows that a block reads of the next one.
    shared = max(0, below * (height - 1) + 1 - down)
    blocks = -(-rows // lines)
    step, end = lines * down, right * (columns - 1) + across * (width - 1) + 1
    border = [
        (0, 0, 0),
        (top, (blocks + 1) * step - top - x.shape[1], 0),
        (left, end - left - x.shape[2], 0),
        (0, 0, 0),
    ]
    padded = lax.pad(x, jnp.zeros((), x.dtype), border)
    halves = padded.reshape(batch, blocks + 1, step, end, inner)
    reached = jnp.pad(gradient, ((0, 0), (0, blocks * lines - rows), (0, 0), (0, 0)))

    # Windows up to four times as wide take as long on either side.
    is_flipped = is_wider(taps * inner, 4 * outputs)

    def add_block(total: Array, block: tuple[Array, Array, Array]) -> tuple[Array, None]:
        """Adds the product of a block of rows."""
        own, next_rows, out = block
        pixels = jnp.concatenate([own, next_rows])
        windows = [
            lax.slice(
                pixels,
                (i * below, j * across, 0),
                (
                    i * below + down * (lines - 1) + 1,
                    j * across + right * (columns - 1) + 1,
                    inner,
                ),
                (down, right, 1),
            )
            for i in range(height)
            for j in range(width)
        ]
        laid_out = jnp.concatenate(windows, axis=-1).reshape(-1, taps * inner)
        return total + (out.T @ laid_out if is_flipped else laid_out.T @ out), None

    shape = (taps * inner, outputs)
    nothing = jnp.zeros(shape[::-1] if is_flipped else shape, x.dtype)
    # Blocks are scanned, not indexed: the transpose of an index is a whole map. Each block is
    # recomputed: a second derivative would otherwise store the windows of all of them.
    total, _ = lax.scan(
        jax.checkpoint(add_block, prevent_cse=False),
        nothing,
        (
            halves[:, :-1].reshape(batch * blocks, step, end, inner),
            halves[:, 1:, :shared].reshape(batch * blocks, shared, end, inner),
            reached.reshape(batch * blocks, lines * columns, outputs),
        ),
    )
    return (total.T if is_flipped else total).reshape(height, width, inner, outputs)


def block_height(
    shape: tuple[int, ...],
    gradient_shape: tuple[int, ...],
    kernel_size: tuple[int, int],
    window: TapWindow,
) -> int | None:
    """Returns the rows of outputs in a block of `kernel_gradient_by_blocks`.

    They fit the cache, or are a single row. None: windows would end beyond the next block.
    """
    _, rows, columns, outputs = gradient_shape
    height, width = kernel_size
    shared = window.dilations[0] * (height - 1) + 1 - window.strides[0]
    least = max(1, -(-shared // window.strides[0]))
    fits = BLOCK // (columns * (height * width * shape[3] + outputs))
    lines = min(rows, max(1, fits))
    even = -(-rows // -(-rows // lines))
    return even if even >= least else lines if lines >= least else None
