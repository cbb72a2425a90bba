"""The oracle of convolutions: the matrix that each of them is, written down entry by entry."""

import itertools

import numpy as np
import pytest


def _matrix(kernel, size, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Returns the matrix, (row, column, output) × (y, x, input), and the output's size."""
    kh, kw, inner, outputs = kernel.shape
    rows, columns = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, dilation, (kh, kw), stride, strict=True)
    )
    matrix = np.zeros((rows, columns, outputs, *size, inner * groups))
    everything = (range(n) for n in (rows, columns, outputs, kh, kw, inner))
    for row, column, o, i, j, c in itertools.product(*everything):
        y = row * stride[0] + i * dilation[0] - padding[0]
        x = column * stride[1] + j * dilation[1] - padding[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            first = o // (outputs // groups) * inner
            matrix[row, column, o, y, x, first + c] = kernel[i, j, c, o]
    return matrix.reshape(rows * columns * outputs, -1), (rows, columns)


@pytest.fixture
def conv_matrix():
    return _matrix
