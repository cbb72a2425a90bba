"""Convolution with stride, dilation and groups, and the sizes that it gives.

Padding is symmetric and explicit. Frameworks' "SAME" pads 0 + 1 at stride 2 on even sizes and
so shifts the grid by a pixel; published weights expect 1 + 1:

    size 6, kernel 3, stride 2     padding 1:  [. 0 1] 2 3 4 5     taps centred on 0, 2, 4
                                   "SAME":      0 [1 2 3] 4 5 .    taps centred on 1, 3, 5
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.forms import bilinear, is_plain, on_cpu
from segjax.ops.products import (
    Window,
    by_taps,
    depthwise,
    kernel_gradient_by_rows,
    kernel_gradient_by_taps,
    live_taps,
)
from segjax.ops.winograd import tiles, winograd

Pair = int | tuple[int, int]
"""One number for both axes, or (height, width)."""


def pair(value: Pair) -> tuple[int, int]:
    """Returns (height, width) of an option that may be given as one number.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    height, width = (value, value) if isinstance(value, int) else value
    return height, width


def conv_output_size(
    size: int, kernel: int, *, stride: int = 1, padding: int | str = 0, dilation: int = 1
) -> int:
    """Returns a kernel's positions along one axis: ⌊(n + 2p − d(k−1) − 1) / s⌋ + 1.

    Args:
      size: pixels along the axis.
      kernel: taps along the axis.
      stride: pixels from one position to the next.
      padding: zeros on each side, or "same": d(k−1)/2, so that stride 1 keeps the size.
      dilation: pixels from one tap to the next.

    Raises:
      ValueError: a number is out of range, or the kernel is larger than the padded input.

    >>> conv_output_size(65, 3, stride=2, padding=1), conv_output_size(65, 3, dilation=6)
    (33, 53)
    """
    if min(size, kernel, stride, dilation) < 1:
        raise ValueError(
            "Size, kernel, stride and dilation must be at least 1, "
            f"got {size}, {kernel}, {stride} and {dilation}."
        )
    extent = dilation * (kernel - 1) + 1
    padded = size + 2 * padding_of(kernel, padding=padding, dilation=dilation)
    if extent > padded:
        raise ValueError(
            f"A kernel of {kernel} taps at dilation {dilation} spans {extent} pixels, more "
            f"than the padded input's {padded}; pad more, dilate less or use a larger input."
        )
    return (padded - extent) // stride + 1


def padding_of(kernel: int, *, padding: int | str, dilation: int = 1) -> int:
    """Returns the zeros on each side of one axis; "same" becomes d(k−1)/2.

    Raises:
      ValueError: padding is negative or another word, or "same" would not be symmetric.
    """
    if padding == "same":
        if dilation * (kernel - 1) % 2:
            raise ValueError(
                f'padding="same" needs an odd extent, got kernel {kernel} at dilation '
                f"{dilation}; use an odd kernel, or give the padding as a number."
            )
        return dilation * (kernel - 1) // 2
    if isinstance(padding, str) or padding < 0:
        raise ValueError(f'Padding must be "same" or at least 0, got {padding!r}.')
    return padding


def conv2d(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw i o"],
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Array, "b oh ow o"]:
    """Returns the cross-correlation of `x` with `kernel`, deep learning's convolution.

    Args:
      x: the input.
      kernel: taps; `i` is c / groups. Output channels are split among the groups in order.
      stride: pixels from one position to the next; like all pairs here (height, width) or one
      number. padding: zeros on each side of an axis, or "same" (odd extents only). dilation:
      pixels from one tap to the next, the atrous rate. groups: blocks of channels that do not
      see one another; c for a depthwise convolution.

    Raises:
      ValueError: channels do not fit the kernel or the groups, or as `conv_output_size`.
    """
    check_channels(x.shape[-1], kernel.shape[2] * groups, kernel.shape[3], groups=groups)
    strides, dilations = pair(stride), pair(dilation)
    paddings = (padding, padding) if isinstance(padding, str) else pair(padding)
    for axis in (0, 1):
        conv_output_size(
            x.shape[1 + axis],
            kernel.shape[axis],
            stride=strides[axis],
            padding=paddings[axis],
            dilation=dilations[axis],
        )
    zeros = [
        padding_of(k, padding=p, dilation=d)
        for k, p, d in zip(kernel.shape[:2], paddings, dilations, strict=True)
    ]
    window = Window(strides, tuple((p, p) for p in zeros), dilations, groups)
    return convolve(x, kernel, window)


def convolve(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: Window
) -> Float[Array, "b oh ow o"]:
    """Returns what `conv2d` returns, for any pads and unchecked: each platform's fastest form."""
    if is_plain():
        return _plain(x, kernel, window)
    kernel, window = _without_dead_taps(x, kernel, window)
    if not on_cpu() or not jnp.issubdtype(x.dtype, jnp.floating):
        return _plain(x, kernel, window)
    # Half precision is slow on CPUs, and sums of products should be rounded once.
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    y = _on_cpu(x.shape, kernel.shape, window)(x.astype(dtype), kernel.astype(dtype))
    return y.astype(x.dtype)


def _plain(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: Window
) -> Float[Array, "b oh ow o"]:
    """Returns what every other form must equal."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=window.strides,
        padding=window.pads,
        rhs_dilation=window.dilations,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=window.groups,
    )


def _without_dead_taps(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: Window
) -> tuple[Float[Array, "lh lw i o"], Window]:
    """Returns the kernel without its outer rows and columns that meet only padding.

    Exact on every platform: at rate 36 a 3×3 kernel is a 1×1 kernel for 32 × 32 pixels.
    """
    pads = list(window.pads)
    for axis in (0, 1):
        size, taps, dilation = x.shape[1 + axis], kernel.shape[axis], window.dilations[axis]
        alive = [i for i in range(taps) if window.live(axis, size, taps, i)]
        first, last = (alive[0], alive[-1]) if alive else (0, taps - 1)
        kernel = lax.slice_in_dim(kernel, first, last + 1, axis=axis)
        before, after = pads[axis]
        pads[axis] = (before - first * dilation, after - (taps - 1 - last) * dilation)
    return kernel, window._replace(pads=tuple(pads))


def _on_cpu(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window
) -> Callable[[Array, Array], Array]:
    """Returns (x, kernel) → y: the forms of the value and of both gradients."""
    form = _form_on_cpu(shape, kernel_shape, window)
    value = lambda x, kernel: form(x, kernel, window)
    if window.groups > 1:
        return value
    kernel_size, size = kernel_shape[:2], shape[1:3]
    dense = _share_of_live_taps(size, kernel_size, window) >= 0.8
    by_kernel = kernel_gradient_by_rows if dense else kernel_gradient_by_taps
    return bilinear(
        value,
        lambda gradient, kernel: _gradient_by_x(gradient, kernel, shape, window),
        lambda x, gradient: by_kernel(x, gradient, kernel_size, window),
    )


def _gradient_by_x(
    gradient: Float[Array, "b oh ow o"],
    kernel: Float[Array, "kh kw i o"],
    shape: tuple[int, ...],
    window: Window,
) -> Float[Array, "b h w i"]:
    """Returns the adjoint, of the kernel or of the form that gives the value."""
    height, width, inner, outputs = kernel.shape
    reach = [d * (k - 1) for d, k in zip(window.dilations, (height, width), strict=True)]
    pads = tuple((r - p, r - q) for r, (p, q) in zip(reach, window.pads, strict=True))
    mirrored = window._replace(pads=pads)
    if window.strides == (1, 1):
        swapped = (height, width, outputs, inner)
        if _form_on_cpu(gradient.shape, swapped, mirrored) is winograd:
            return winograd(gradient, kernel, mirrored, adjoint=True)
    form = _form_on_cpu(shape, kernel.shape, window)
    form = _plain if form is winograd else form
    x = jax.ShapeDtypeStruct(shape, gradient.dtype)
    return jax.linear_transpose(lambda x: form(x, kernel, window), x)(gradient)[0]


def _form_on_cpu(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: Window
) -> Callable[[Array, Array, Window], Array]:
    """Returns the fastest form of the value for these shapes, by `benchmarks/operations.py`."""
    height, width, inner, outputs = kernel_shape
    if inner == 1 and outputs == window.groups == shape[3]:
        return depthwise
    if window.groups > 1 or (height, width) == (1, 1):
        return by_taps
    size, narrow = shape[1:3], min(inner, outputs)
    taps = _share_of_live_taps(size, (height, width), window) * height * width
    if (height, width) == (3, 3) and window.strides == (1, 1) and narrow >= 96:
        covered = [2 * window.dilations[a] * tiles(window, a, size[a]) for a in (0, 1)]
        exact = [window.size(a, size[a], 3) for a in (0, 1)]
        if 4 * covered[0] * covered[1] < 0.9 * taps * exact[0] * exact[1]:
            return winograd
    return by_taps if narrow >= 96 and taps < 0.8 * height * width else _plain


def _share_of_live_taps(
    size: tuple[int, int], kernel_size: tuple[int, int], window: Window
) -> float:
    """Returns the part of (output, tap) pairs that read a pixel."""
    reached = sum(
        len(rows) * len(columns) for _, (rows, columns) in live_taps(size, kernel_size, window)
    )
    height, width = (window.size(a, size[a], kernel_size[a]) for a in (0, 1))
    return reached / (height * width * kernel_size[0] * kernel_size[1])


def check_channels(channels: int, expected: int, features: int, *, groups: int) -> None:
    """Returns nothing: the channels of an input fit a kernel and its groups.

    Raises:
      ValueError: they do not.
    """
    if groups < 1 or channels % groups or features % groups:
        raise ValueError(
            f"Input channels and output channels must be divisible by groups, "
            f"got {channels}, {features} and groups={groups}."
        )
    if channels != expected:
        raise ValueError(
            f"The kernel expects {expected} input channels (groups={groups}), the input has "
            f"{channels}; the kernel's third axis holds the channels of one group."
        )
