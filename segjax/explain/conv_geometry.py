"""Sizes of a convolution along each axis, and the arrays that its kernel slides over."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

ROWS, COLUMNS = 16, 36
"""Largest matrix that is printed."""
SIDE = 16
"""Largest side of an array in the example."""
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The names of the kernel's entries in the matrix, row by row."""


class Axis(NamedTuple):
    """A convolution along one axis; for a transposed one, the convolution it transposes."""

    inputs: int
    kernel: int
    outputs: int
    stride: int
    padding: int
    dilation: int

    @property
    def extent(self) -> int:
        """Pixels from the kernel's first tap to its last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def left_over(self) -> int:
        """Pixels at the end of the padded axis that no output reaches."""
        return (self.inputs + 2 * self.padding - self.extent) % self.stride

    @property
    def connections(self) -> int:
        """Number of pairs of an output and an input that it reads, without padding."""
        count = 0
        for tap in range(self.kernel):
            shift = tap * self.dilation - self.padding
            first = max(0, -(shift // self.stride))
            last = min(self.outputs - 1, (self.inputs - 1 - shift) // self.stride)
            count += max(0, last - first + 1)
        return count


def procedure_arrays(result: Mapping[str, Any], image: np.ndarray) -> list[np.ndarray]:
    """Returns the arrays of each step, from the input to the array the kernel slides over.

    If the image is all ones, their zeros are those that the steps insert.
    """
    padding, stride = result["padding"], result["stride"]
    if not result["transposed"]:
        return [image, np.pad(image, padding)]
    spread = np.zeros([(side - 1) * stride + 1 for side in image.shape])
    spread[::stride, ::stride] = image
    bordered = spread
    for axis, extent in enumerate(result["extent"]):
        before = extent - 1 - padding
        after = before + result["output_padding"]
        widths = [(max(before, 0), max(after, 0)) if axis == i else (0, 0) for i in (0, 1)]
        bordered = np.pad(bordered, widths)
        kept = slice(max(-before, 0), bordered.shape[axis] - max(-after, 0))
        bordered = bordered[(slice(None),) * axis + (kept,)]
    return [image, spread, bordered]
