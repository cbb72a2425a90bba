"""Pooling."""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.conv import Pair, conv_output_size, pair


def max_pool(
    x: Float[Array, "b h w c"], *, window: Pair, stride: Pair, padding: Pair = 0
) -> Float[Array, "b oh ow c"]:
    """Returns the largest value of each window; padding never wins, as in PyTorch.

    Takes the maximum of window² strided slices: on a CPU its gradient is three times as fast
    and needs a seventh of the memory of `lax.reduce_window`'s, and on GPUs it is deterministic.
    Equal values share the gradient, where PyTorch gives it to the first.

    Args:
      x: the input.
      window: sides of the window; like all pairs here (height, width) or one number.
      stride: pixels from one window to the next.
      padding: rows and columns of −∞ on each side; at most half the window.

    Raises:
      ValueError: padding is more than half the window, or as `conv_output_size`.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), window=2, stride=2)[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    windows, strides, paddings = pair(window), pair(stride), pair(padding)
    if any(2 * p > k for p, k in zip(paddings, windows, strict=True)):
        raise ValueError(
            f"Padding {padding} is more than half the window {window}; with less, every window "
            "sees a pixel."
        )
    rows, columns = (
        conv_output_size(n, k, stride=s, padding=p)
        for n, k, s, p in zip(x.shape[1:3], windows, strides, paddings, strict=True)
    )
    (top, left), (down, right) = paddings, strides
    padded = jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), constant_values=-jnp.inf)
    slices = [
        lax.slice_in_dim(
            lax.slice_in_dim(padded, i, i + down * (rows - 1) + 1, down, axis=1),
            j,
            j + right * (columns - 1) + 1,
            right,
            axis=2,
        )
        for i in range(windows[0])
        for j in range(windows[1])
    ]
    return functools.reduce(jnp.maximum, slices)
