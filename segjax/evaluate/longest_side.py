"""A wrapper that shrinks long images, which bounds memory and time but loses detail.

The network receives the smaller image. Its probabilities are enlarged to the image's own size,
and classes are the argmax of the enlarged probabilities.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Shaped

from segjax.contracts import Variables
from segjax.errors import InputError
from segjax.evaluate.compiled import (
    HostPredictor,
    Images,
    Labels,
    Probabilities_BHWK,
    argmax_labels,
    on_host,
)
from segjax.evaluate.predictors import Predictor

ROWS = 64
"""Rows that are enlarged at a time: k maps of a large image would not fit into memory."""


@dataclasses.dataclass(frozen=True)
class LongestSide:
    """A wrapper that shrinks images whose longer side exceeds `side` pixels to that side.

    It comes last. It does not change smaller images. `segjax.predict --side` and the local page
    use it, so their masks are equal.

    Raises:
      InputError: `side` is not a whole number of at least 1.
    """

    side: int = 1024

    def __post_init__(self) -> None:
        if not isinstance(self.side, int) or isinstance(self.side, bool) or self.side < 1:
            raise InputError(f"side={self.side!r} must be a whole number, at least 1.")

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """Returns the wrapped predictor."""
        return _Smaller(on_host(predict), self.side)


class _Smaller:
    def __init__(self, inner: HostPredictor, side: int):
        self._inner, self._side = inner, side

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        size = within(images.shape[1:3], self._side)
        found = np.asarray(self._inner(variables, smaller(images, size)))
        if size == images.shape[1:3]:
            return found
        return np.concatenate([*enlarged(found, images.shape[1:3])], axis=1)

    def classes(self, variables: Variables, images: Images) -> Labels:
        size = within(images.shape[1:3], self._side)
        if size == images.shape[1:3]:
            return self._inner.classes(variables, images)
        found = self._inner(variables, smaller(images, size))
        return enlarged_classes(np.asarray(found), images.shape[1:3])

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        b, height, width, c = images.shape
        shape = (b, *within((height, width), self._side), c)
        return self._inner.check(variables, jax.ShapeDtypeStruct(shape, images.dtype))


def within(size: tuple[int, ...], side: int | None) -> tuple[int, int]:
    """Returns (height, width) scaled so that the longer side is at most `side`; None: as is.

    >>> within((3000, 4000), 1024), within((480, 640), 1024), within((2, 9000), 1024)
    ((768, 1024), (480, 640), (1, 1024))
    """
    scale = 1.0 if side is None else min(1.0, side / max(size))
    height, width = (max(1, round(n * scale)) for n in size)
    return height, width


def smaller(images: Images, size: tuple[int, int]) -> Shaped[np.ndarray, "b oh ow c"]:
    """Returns the images at a smaller size, antialiased as by Pillow's bilinear filter.

    Each new pixel is a weighted mean of the old pixels that it covers and of their neighbours.
    The dtype does not change.
    """
    if size == images.shape[1:3]:
        return images
    x = images
    for axis in (1, 2):
        x = _interpolated(x, axis, *_taps(images.shape[axis], size[axis - 1]))
    return (np.rint(x) if images.dtype.kind in "iu" else x).astype(images.dtype)


def enlarged(
    probabilities: Probabilities_BHWK, size: tuple[int, ...]
) -> Iterator[Probabilities_BHWK]:
    """Yields bilinearly enlarged probabilities in bands of rows, from the top."""
    height, width = size
    index, weight = _taps(probabilities.shape[1], height)
    columns = _taps(probabilities.shape[2], width)
    for top in range(0, height, ROWS):
        rows = slice(top, top + ROWS)
        band = _interpolated(probabilities, 1, index[rows], weight[rows])
        yield _interpolated(band, 2, *columns)


def enlarged_classes(probabilities: Probabilities_BHWK, size: tuple[int, ...]) -> Labels:
    """Returns the most likely class of every pixel of the enlarged probabilities.

    Raises:
      RunError: a probability is not a number.
    """
    return np.concatenate(
        [argmax_labels(band) for band in enlarged(probabilities, size)], axis=1
    )


def _taps(old: int, new: int) -> tuple[Shaped[np.ndarray, "n t"], Float[np.ndarray, "n t"]]:
    """Returns (indices, weights) of the old samples whose mean each new sample is.

    Weights are a triangle. Its half-width is the distance of pixel centres, old or new,
    whichever is larger.
    """
    reach = max(old / new, 1.0)
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.ceil(centre - reach).astype(np.int64)
    index = first[:, None] + np.arange(int(2 * reach) + 1)
    weight = np.maximum(1 - np.abs(index - centre[:, None]) / reach, 0)
    if new < old:
        # Samples beyond the image count 0; an enlarged image repeats its outermost values.
        weight[(index < 0) | (index >= old)] = 0
    return index.clip(0, old - 1), (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _interpolated(
    x: Shaped[np.ndarray, "b h w c"],
    axis: int,
    index: Shaped[np.ndarray, "n t"],
    weight: Float[np.ndarray, "n t"],
) -> Float[np.ndarray, "b oh ow c"]:
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    taps = zip(index.T, weight.T, strict=True)
    return sum(x.take(at, axis) * share.reshape(shape) for at, share in taps)  # type: ignore
