"""Convolution as a matrix: the oracle of `conv` and `transposed`.

A convolution is linear, so y = C x for one matrix C. Each row of C holds the kernel, shifted to
one position. A kernel a b c over four pixels, with padding 1 and stride 1, and with stride 2:

    b c . .        b c . .
    a b c .        . a b c      A row gathers the window of one output. A column scatters
    . a b c                     one input: Cᵀ is the transposed convolution.
    . . a b
"""

import numpy as np
from jaxtyping import Array, Num

from segjax.ops.conv import Pair, check_channels, conv_output_size, padding_of, pair


def conv_matrix(
    kernel: Num[np.ndarray | Array, "kh kw i o"],
    size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Num[np.ndarray, "outputs inputs"]:
    """Returns C with y = C x for `conv2d`, x and y flattened over (h, w, channel).

    Cᵀ y is what `conv_transpose2d` returns for an input of `size`. C has the kernel's dtype and
    h·w·c·oh·ow·o entries, so it is for small maps.

    Args:
      kernel: taps; `i` is the input's channels / groups.
      size: pixels of the input. Each pair is (height, width), or one number for both.
      stride, padding, dilation, groups: as for `conv2d`.

    Raises:
      ValueError: as `conv2d`.

    The course notes' kernel on a 4×4 input, and its transpose on [[2, 3], [1, 3]]:

    >>> matrix = conv_matrix(np.array([[0, 1, 1], [0, 1, 0], [1, 0, 1]])[:, :, None, None], 4)
    >>> matrix
    array([[0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0],
           [0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0],
           [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1]])
    >>> (matrix.T @ [2, 3, 1, 3]).reshape(4, 4)
    array([[0, 2, 5, 3],
           [0, 3, 7, 3],
           [2, 4, 5, 3],
           [1, 3, 1, 3]])
    """
    kernel = np.asarray(kernel)
    kh, kw, inner, outputs = kernel.shape
    channels = inner * groups
    check_channels(channels, channels, outputs, groups=groups)
    (height, width), (down, right), (dy, dx) = pair(size), pair(stride), pair(dilation)
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else pair(padding)
    rows = conv_output_size(height, kh, stride=down, padding=vertical, dilation=dy)
    columns = conv_output_size(width, kw, stride=right, padding=horizontal, dilation=dx)
    top = padding_of(kh, padding=vertical, dilation=dy)
    left = padding_of(kw, padding=horizontal, dilation=dx)

    matrix = np.zeros((rows, columns, outputs, height, width, channels), kernel.dtype)
    for row, column, i, j, o in np.ndindex(rows, columns, kh, kw, outputs):
        y, x = row * down + i * dy - top, column * right + j * dx - left
        if 0 <= y < height and 0 <= x < width:
            first = o // (outputs // groups) * inner  # of the channels that o's group sees
            matrix[row, column, o, y, x, first : first + inner] = kernel[i, j, :, o]
    return matrix.reshape(rows * columns * outputs, height * width * channels)
