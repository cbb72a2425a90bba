"""Transposed convolution as the adjoint of convolution, and the bilinear kernel.

A convolution gathers: every output is a weighted sum of a window. Its transpose scatters: every
input is spread, weighted, over the same window. It restores the shape, not the values. The same
written as a gather (stride 2):

    input      a b c                     s − 1 zeros between neighbours: a 0 b 0 c
    border     d(k−1) − p zeros          so that position 0 meets the taps that position 0 was
    spread by kernel     flipped in both axes      then an ordinary convolution of stride 1
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.conv import Pair, check_channels, check_dtypes, pair
from segjax.ops.conv_forms import plain_form
from segjax.ops.conv_lowering import convolve, rounded_once
from segjax.ops.dispatch import (
    as_one_program,
    in_the_backward_pass,
    is_plain,
    on_cpu,
    with_custom_gradients,
)
from segjax.ops.kernel_gradients import transposed_product
from segjax.ops.materialize import materialized
from segjax.ops.tap_matmul import TapWindow, mirrored


def conv_transpose2d(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw o i"],
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Array, "b oh ow f"]:
    """Returns Kᵀx, where K is `conv2d` with this kernel, stride, padding, dilation and groups.

    A side becomes (n − 1)·s − 2p + d(k−1) + output_padding + 1, as in PyTorch. Where several
    input sizes of K give the same output size, output_padding (< stride) picks one of them.

    Args:
      x: a map of K's output channels.
      kernel: K's kernel: its third axis is this function's output channels / groups, its fourth
        this function's input channels.
      stride: pixels of the result from one input to the next.
      padding: pixels cut from each side of the result.
      output_padding: rows and columns added at the bottom and at the right.
      dilation: pixels from one tap to the next.
      groups: blocks of channels that are convolved separately.

    Raises:
      ValueError: channels do not fit, dtypes differ, a number is out of range, or the padding
        cuts away the whole result.
    """
    check_dtypes(x, kernel)
    features = kernel.shape[2] * groups
    check_channels(x.shape[-1], kernel.shape[3], features, groups=groups)
    strides, dilations = pair(stride), pair(dilation)
    top, left = (
        _border(*numbers)
        for numbers in zip(
            x.shape[1:3],
            kernel.shape[:2],
            strides,
            pair(padding),
            pair(output_padding),
            dilations,
            strict=True,
        )
    )
    window = TapWindow(strides, (top, left), dilations, groups)
    if is_plain() or not on_cpu() or not jnp.issubdtype(x.dtype, jnp.floating):
        return _plain(x, kernel, window)
    if strides == (1, 1):
        return convolve(x, mirrored(kernel, groups), window)
    if dilations != (1, 1):
        return rounded_once(lambda x, kernel: _plain(x, kernel, window))(x, kernel)
    return rounded_once(_tiled(kernel.shape, window))(x, kernel)


def _plain(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw o i"], window: TapWindow
) -> Float[Array, "b oh ow f"]:
    """Returns the gather that the module's docstring draws, as one primitive."""
    gather = window._replace(strides=(1, 1))
    return plain_form(x, mirrored(kernel, window.groups), gather, spread=window.strides)


def _tiled(kernel_shape: tuple[int, ...], window: TapWindow) -> Callable[[Array, Array], Array]:
    """Returns (x, kernel) → the result by tiles, whose gradient by x is K of the gradient.

    By the tiles' own transpose it would be rearranged first, for up to twice the time.
    """
    (above, _), (before, _) = window.pads
    top, left = kernel_shape[0] - 1 - above, kernel_shape[1] - 1 - before
    forward = window._replace(pads=((top, top), (left, left)))

    @in_the_backward_pass
    def gradient_by_kernel(x: Array, gradient: Array) -> Array:
        """Returns the gradient by the kernel, which is the same for every kernel."""
        blocks = [-(-k // s) for k, s in zip(kernel_shape, window.strides, strict=False)]
        if window.groups == 1 and math.prod(blocks) <= 4:
            return _kernel_gradient_by_tiles(x, gradient, kernel_shape, forward)
        any_kernel = jnp.zeros(kernel_shape, gradient.dtype)
        return jax.vjp(lambda kernel: _by_tiles(x, kernel, window), any_kernel)[1](gradient)[0]

    return with_custom_gradients(
        lambda x, kernel: materialized(_by_tiles(x, kernel, window)),
        lambda gradient, kernel: convolve(gradient, kernel, forward),
        gradient_by_kernel,
    )


def _kernel_gradient_by_tiles(
    x: Float[Array, "b h w i"],
    gradient: Float[Array, "b oh ow o"],
    kernel_shape: tuple[int, ...],
    forward: TapWindow,
) -> Float[Array, "kh kw o i"]:
    """Returns the gradient by the kernel as one product of input pixels and tiles.

    Each tile meets the pixels of all blocks that reach it, laid side by side. By the transpose
    of `_by_tiles` the product is one for each block, and 4×4 taps of 21 channels take twice as
    long; for many blocks that is faster, as a convolution with fewer products.

    Args:
      x: the input of the transposed convolution.
      gradient: of its result.
      kernel_shape: kh, kw, o, i.
      forward: the window of K, which maps results to inputs.
    """
    (b, h, w, inner), (kh, kw, outputs, _) = x.shape, kernel_shape
    (down, right), ((top, _), (left, _)) = forward.strides, forward.pads
    rows, columns = -(-kh // down), -(-kw // right)
    tall, wide = h + rows - 1, w + columns - 1
    border = [
        (0, 0, 0),
        (top, tall * down - top - gradient.shape[1], 0),
        (left, wide * right - left - gradient.shape[2], 0),
        (0, 0, 0),
    ]
    padded = lax.pad(gradient, jnp.zeros((), gradient.dtype), border)
    lines = padded.reshape(b, tall, down, wide, right * outputs)
    tiles = jnp.concatenate([lines[:, :, i] for i in range(down)], axis=-1)
    around = ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0))
    spread = jnp.pad(x, around)
    starts = itertools.product(reversed(range(rows)), reversed(range(columns)))
    reaching = [spread[:, i : i + tall, j : j + wide] for i, j in starts]
    factors = [jnp.concatenate(reaching, axis=-1), tiles]
    pixels, tiles = (factor.reshape(-1, factor.shape[-1]) for factor in factors)
    product = transposed_product(pixels, tiles)
    blocks = product.reshape(rows, columns, inner, down, right, outputs)
    whole = blocks.transpose(0, 3, 1, 4, 5, 2)
    return whole.reshape(rows * down, columns * right, outputs, inner)[:kh, :kw]


@as_one_program(static=("window",))
def _by_tiles(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw o i"], window: TapWindow
) -> Float[Array, "b oh ow f"]:
    """Returns the result as stride × stride tiles, filled by one convolution of stride 1.

    A kernel of 16 at stride 8 is 2 × 2 blocks of 8 × 8 taps: each input pixel adds one block to
    its own tile and one to each of three neighbours. So the result is a 2 × 2 convolution to 64
    times the channels, rearranged to the tiles' pixels. No zeros are inserted or multiplied.
    """
    (b, h, w, _), (kh, kw, o, i) = x.shape, kernel.shape
    (down, right), groups = window.strides, window.groups
    rows, columns = -(-kh // down), -(-kw // right)
    padded = jnp.pad(kernel, ((0, rows * down - kh), (0, columns * right - kw), (0, 0), (0, 0)))
    blocks = padded.reshape(rows, down, columns, right, o, groups, i // groups)[::-1, :, ::-1]
    blocks = blocks.transpose(0, 2, 6, 5, 1, 3, 4).reshape(rows, columns, i // groups, -1)
    around = ((rows - 1, rows - 1), (columns - 1, columns - 1))
    filled = convolve(x, blocks, TapWindow((1, 1), around, (1, 1), groups))
    tiles = filled.reshape(*filled.shape[:3], groups, down, right, o).transpose(
        0, 1, 4, 2, 5, 3, 6
    )
    whole = tiles.reshape(b, filled.shape[1] * down, filled.shape[2] * right, groups * o)
    pads = [(0, 0, 0)]
    for n, k, s, full, (before, after) in zip(
        (h, w), (kh, kw), window.strides, whole.shape[1:3], window.pads, strict=True
    ):
        cut = k - 1 - before
        pads.append((-cut, cut + (n - 1) * s + before + after - k + 2 - full, 0))
    return lax.pad(whole, jnp.zeros((), whole.dtype), [*pads, (0, 0, 0)])


def _border(
    size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int
) -> tuple[int, int]:
    """Returns the zeros before and after one axis; a negative number cuts pixels."""
    if any(n < 1 for n in (size, kernel, stride, dilation)) or min(padding, output_padding) < 0:
        raise ValueError(
            f"Size {size}, kernel {kernel}, stride {stride} and dilation {dilation} must be at "
            f"least 1, padding {padding} and output padding {output_padding} at least 0."
        )
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"Output padding {output_padding} must be smaller than the stride {stride} or the "
            f"dilation {dilation}; a larger one would only add zeros."
        )
    reach = dilation * (kernel - 1)
    result = (size - 1) * stride + reach + 1 + output_padding - 2 * padding
    if result < 1:
        raise ValueError(
            f"Padding {padding} cuts away the whole result ({result} pixels left); use less."
        )
    return reach - padding, reach - padding + output_padding


def bilinear_kernel(size: int, channels: int) -> Float[Array, "k k c c"]:
    """Returns the kernel with which `conv_transpose2d` interpolates bilinearly.

    With f = ⌊(k + 1) / 2⌋, centre c = f − 1 (odd k) or f − 1/2 (even k), the weight at (i, j)
    is (1 − |i − c| / f)(1 − |j − c| / f), for each channel by itself. This is Caffe's bilinear
    filler: FCN (Long et al., 2015) initialises its upsampling by it and keeps the last one
    fixed. For an even factor s use size 2s, stride s, padding s / 2.

    Raises:
      ValueError: size or channels is below 1.

    >>> bilinear_kernel(4, 1)[0, :, 0, 0].tolist()
    [0.0625, 0.1875, 0.1875, 0.0625]
    """
    if min(size, channels) < 1:
        raise ValueError(f"Size and channels must be at least 1, got {size} and {channels}.")
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    kernel = line[:, None, None, None] * line[None, :, None, None] * np.eye(channels)
    return jnp.asarray(kernel, jnp.float32)
