"""Convolution with stride, dilation and groups, and its output sizes.

Padding is symmetric and explicit. Frameworks' "SAME" pads 0 + 1 at stride 2 on even sizes and
so shifts the grid by a pixel; published weights expect 1 + 1:

    size 6, kernel 3, stride 2     padding 1:  [. 0 1] 2 3 4 5     taps centred on 0, 2, 4
                                   "SAME":      0 [1 2 3] 4 5 .    taps centred on 1, 3, 5
"""

from jaxtyping import Array, Float

from segjax.ops.conv_lowering import convolve
from segjax.ops.tap_matmul import TapWindow

Pair = int | tuple[int, int]
"""One number for both axes, or (height, width)."""


def pair(value: Pair) -> tuple[int, int]:
    """Returns an option as (height, width); one number counts for both.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    height, width = value if isinstance(value, tuple) else (value, value)
    return int(height), int(width)


def conv_output_size(
    size: int, kernel: int, *, stride: int = 1, padding: int | str = 0, dilation: int = 1
) -> int:
    """Returns the output size along one axis: ⌊(n + 2p − d(k−1) − 1) / s⌋ + 1.

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
    if any(n < 1 for n in (size, kernel, stride, dilation)):
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
    """Returns the number of zeros on each side of one axis; "same" becomes d(k−1)/2.

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
    """Returns the cross-correlation of `x` with `kernel`: what deep learning calls convolution.

    Args:
      x: the input.
      kernel: taps; `i` is c / groups. Output channels are split among the groups in order.
      stride: pixels from one position to the next. Each pair is (height, width), or one number
        for both.
      padding: zeros on each side of an axis, or "same" (only where d(k−1) is even).
      dilation: pixels from one tap to the next (the atrous rate).
      groups: blocks of channels that are convolved separately; c for a depthwise convolution.

    Raises:
      ValueError: channels do not fit the kernel or the groups, dtypes differ, or
        `conv_output_size` refuses a size.
    """
    check_dtypes(x, kernel)
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
    top, left = (
        padding_of(k, padding=p, dilation=d)
        for k, p, d in zip(kernel.shape[:2], paddings, dilations, strict=True)
    )
    return convolve(
        x, kernel, TapWindow(strides, ((top, top), (left, left)), dilations, groups)
    )


def check_dtypes(x: Array, kernel: Array) -> None:
    """Raises ValueError unless input and kernel have the same dtype, which XLA requires."""
    if x.dtype != kernel.dtype:
        raise ValueError(
            f"Input and kernel must have the same dtype, got {x.dtype} and {kernel.dtype}; "
            "convert one of them."
        )


def check_channels(channels: int, expected: int, features: int, *, groups: int) -> None:
    """Raises ValueError unless the channels of an input fit a kernel and its groups."""
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
