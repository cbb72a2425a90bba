"""Pixels from channels and back, and why transposed convolutions draw checkerboards.

Sub-pixel convolution (Shi et al., 2016, arXiv:1609.05158): a convolution at low resolution
makes r² times the channels, which become r×r pixels. For r = 2 and one output channel:

    channels of a pixel    0 1 2 3      →      0 1
                                               2 3
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from segjax.ops.conv import Pair, pair


def depth_to_space(
    x: Shaped[Array, "b h w c"], factor: int, *, order: str = "torch"
) -> Shaped[Array, "b oh ow o"]:
    """Returns `x` with each pixel's channels rearranged to factor × factor pixels.

    Row i, column j of the block of output channel o is input channel

        o · r² + i · r + j      order "torch": PyTorch's PixelShuffle
        (i · r + j) · n + o     order "tensorflow": `tf.nn.depth_to_space`, n output channels

    Raises:
      ValueError: the channels are not divisible by factor², or the order is another word.

    >>> x = jnp.arange(4.0).reshape(1, 1, 1, 4)
    >>> depth_to_space(x, 2)[0, :, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    _check(order, factor)
    b, h, w, channels = x.shape
    if channels % factor**2:
        raise ValueError(
            f"{channels} channels cannot fill blocks of {factor}×{factor} pixels; give a "
            f"multiple of {factor**2}."
        )
    if order == "torch":
        blocks = x.reshape(b, h, w, channels // factor**2, factor, factor)
        blocks = blocks.transpose(0, 1, 4, 2, 5, 3)
    else:
        blocks = x.reshape(b, h, w, factor, factor, channels // factor**2)
        blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(b, h * factor, w * factor, channels // factor**2)


def _check(order: str, factor: int) -> None:
    if order not in ("torch", "tensorflow"):
        raise ValueError(f'The order must be "torch" or "tensorflow", got {order!r}.')
    if factor < 1:
        raise ValueError(f"The factor must be at least 1, got {factor}.")


def upsample_nearest(x: Shaped[Array, "b h w c"], factor: Pair) -> Shaped[Array, "b oh ow c"]:
    """Returns `x` with each pixel repeated; `factor` is (height, width) or one number.

    Raises:
      ValueError: a factor is below 1.

    >>> upsample_nearest(jnp.array([1, 2]).reshape(1, 1, 2, 1), (1, 2))[0, :, :, 0].tolist()
    [[1, 1, 2, 2]]
    """
    down, right = pair(factor)
    if min(down, right) < 1:
        raise ValueError(f"A factor must be at least 1, got {factor}.")
    b, h, w, c = x.shape
    blocks = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, down, w, right, c))
    return blocks.reshape(b, h * down, w * right, c)


def overlap_counts(kernel: int, stride: int, size: int) -> np.ndarray:
    """Returns how many taps meet in each output of a transposed convolution along one axis.

    `size` inputs give (size − 1) · stride + kernel outputs if nothing is padded. Kernel 3,
    stride 2:

        input 0    x x x
        input 1        x x x
        input 2            x x x
        taps       1 1 2 1 2 1 1      in two dimensions 1, 2 and 4: a checkerboard

    Raises:
      ValueError: a number is below 1.

    Source: Odena, Dumoulin, Olah, 2016, Deconvolution and Checkerboard Artifacts, Distill,
    doi:10.23915/distill.00003.

    >>> overlap_counts(3, 2, 3).tolist()
    [1, 1, 2, 1, 2, 1, 1]
    """
    if min(kernel, stride, size) < 1:
        raise ValueError(
            f"Kernel, stride and size must be at least 1, got {kernel}, {stride} and {size}."
        )
    counts = np.zeros((size - 1) * stride + kernel, np.int64)
    for start in range(0, size * stride, stride):
        counts[start : start + kernel] += 1
    return counts


def checkerboard_free(kernel: int, stride: int) -> bool:
    """Returns whether every inner output sums equally many taps: the stride divides the kernel.

    This is necessary against a checkerboard, not sufficient: neighbouring outputs still sum
    different weights.

    Raises:
      ValueError: a number is below 1.

    >>> checkerboard_free(3, 2), checkerboard_free(4, 2)
    (False, True)
    """
    if min(kernel, stride) < 1:
        raise ValueError(f"Kernel and stride must be at least 1, got {kernel} and {stride}.")
    return kernel % stride == 0
