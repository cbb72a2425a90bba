"""Wrappers that choose what sizes the network sees: windows, tiles, sides rounded up.

They work on the host, around compiled programs, so that a folder of mixed sizes needs few of
them: one for all windows (and one of a single window, for what is left of a batch), or one for
each rounded size. Without any of them each size of image is compiled, and exact.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from segjax.contracts import Variables
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor, Images, Labels, Probabilities_BHWK, on_host
from segjax.evaluate.predictors import Predictor, WholeImage
from segjax.evaluate.windowed import Tiling, Windowed


@dataclasses.dataclass(frozen=True)
class SlidingWindow:
    """Square windows over the whole image, averaged where they overlap.

    Every image, of whatever size, is predicted by the same compiled program (and one of a
    single window, for what is left of a batch). The last window of a row ends with the image;
    a side shorter than the window is mirrored out to it.

    Attributes:
      size: side of a window, pixels.
      stride: from one window to the next; None: two thirds of the size, rounded up (PSPNet's).
      blend: how overlapping windows are weighted: "mean" alike, as PSPNet; "linear" by the
        distance to the window's border, so that no border shows.
      batch_size: windows that go through the network together.
      memory: MiB that the windows' sums may take on the host; wider images are predicted in
        vertical stripes. The answers of one batch, size² · k floats a window, come on top.
    """

    size: int = 513
    stride: int | None = None
    blend: str = "linear"
    batch_size: int = 4
    memory: int = 512

    def __post_init__(self) -> None:
        _check_sides(self, "size", "stride", "batch_size", "memory")
        if self._step > self.size:
            raise InputError(
                f"stride={self.stride} leaves gaps between windows of size={self.size}; set a "
                f"stride of at most {self.size}, or None for {-(-2 * self.size // 3)}."
            )
        if self.blend not in ("mean", "linear"):
            raise InputError(f"blend={self.blend!r} must be 'mean' or 'linear'.")

    @property
    def _step(self) -> int:
        return -(-2 * self.size // 3) if self.stride is None else self.stride

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """Returns the wrapped predictor."""
        return Windowed(
            predict,
            self.axis,
            weight=self._weight(),
            batch_size=self.batch_size,
            memory=self.memory,
        )

    def axis(self, length: int) -> Tiling:
        """Returns the windows along a side of so many pixels.

        >>> SlidingWindow(size=6, stride=4).axis(11).first
        (0, 4, 5)
        >>> SlidingWindow(size=6).axis(3).first
        (-1,)
        """
        last = length - self.size
        count = -(-last // self._step) + 1
        first = tuple(min(i * self._step, last) for i in range(count))
        return Tiling(length, first if last > 0 else (-(-last // 2),), self.size, self.size)

    def _weight(self) -> np.ndarray:
        if self.blend == "mean":
            return np.ones(self.size, np.float32)
        rising = np.arange(1, self.size + 1)
        return np.minimum(rising, rising[::-1]).astype(np.float32) / ((self.size + 1) // 2)


@dataclasses.dataclass(frozen=True)
class OverlapTile:
    """The valid-convolution U-Net's strategy: tile by tile, what it says of the whole image.

    Each tile is seen with all that the network needs around it, beyond the image mirrored
    (Ronneberger et al., 2015, figure 2). Tiles lie whole pooling windows apart, as the paper's
    388 pixels do not (384 do): so their answers are those of the image in one piece, up to
    rounding.

    Attributes:
      size: pixels along a side that a tile answers for, at least.
      batch_size: tiles that go through the network together.
      memory: as `SlidingWindow`'s.
    """

    size: int = 388
    batch_size: int = 1
    memory: int = 512

    def __post_init__(self) -> None:
        _check_sides(self, "size", "batch_size", "memory")

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """Returns the wrapped predictor.

        Raises:
          InputError: this is not the first wrapper, or the network's convolutions pad.
        """
        if not isinstance(predict, WholeImage):
            raise InputError(
                "OverlapTile cuts the network's own input: name it first, and leave split at "
                "(1, 1), since tiles bound the memory already."
            )
        seen, covered, step = self._tile(predict)
        centre = lambda variables, tiles: predict.centre(variables, tiles, (covered, covered))

        def axis(length: int) -> Tiling:
            # Of the whole image the network answers for `margin` more pixels on top.
            whole = predict.canvas(length, length)[0]
            start = (seen - covered) // 2 - (whole - length) // 2
            stride = covered // step * step
            count = -(-(length - start - covered) // stride) + 1
            first = tuple(start + i * stride for i in range(max(count, 1)))
            return Tiling(length, first, covered, seen)

        return Windowed(
            centre,
            axis,
            weight=np.ones(covered, np.float32),
            batch_size=self.batch_size,
            memory=self.memory,
        )

    def _tile(self, network: WholeImage) -> tuple[int, int, int]:
        """Returns (pixels that a tile shows, that it answers for, of the coarsest pooling
        window).
        """
        side = lambda n: network.canvas(n, n)[0]
        covered = self.size
        if side(covered) == covered:
            raise InputError(
                f"OverlapTile is for valid convolutions; {type(network.model).__name__} "
                "answers for all that it sees: take SlidingWindow."
            )
        while side(covered + 1) == side(covered):
            covered += 1
        step = side(covered + 1) - side(covered)
        covered += step if covered < step else 0
        return side(covered), covered, step


@dataclasses.dataclass(frozen=True)
class PadToMultiple:
    """The image mirrored out to a multiple at the bottom and on the right; the answer cropped.

    Images of any sizes then share one program a multiple and side. The network sees what is
    mirrored, and its answers are not those of the image alone: on drawn shapes, 57 × 51 pixels
    mirrored to 64 × 64, the quickstart's U-Net changes 7.7 % of the pixels (mIoU 0.782 to
    0.762). Scores that are published should be of whole images.
    """

    multiple: int = 64

    def __post_init__(self) -> None:
        _check_sides(self, "multiple")

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """Returns the wrapped predictor."""
        return _Padded(on_host(predict), self.multiple)


class _Padded:
    def __init__(self, inner: HostPredictor, multiple: int):
        self._inner, self._multiple = inner, multiple

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        height, width = images.shape[1:3]
        return self._inner(variables, self._padded(images))[:, :height, :width]

    def classes(self, variables: Variables, images: Images) -> Labels:
        height, width = images.shape[1:3]
        return self._inner.classes(variables, self._padded(images))[:, :height, :width]

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        b, height, width, c = images.shape
        shape = (b, *(n + -n % self._multiple for n in (height, width)), c)
        return self._inner.check(variables, jax.ShapeDtypeStruct(shape, images.dtype))

    def _padded(self, images: Images) -> Shaped[np.ndarray, "b oh ow c"]:
        height, width = images.shape[1:3]
        around = ((0, 0), (0, -height % self._multiple), (0, -width % self._multiple), (0, 0))
        return np.pad(images, around, mode="reflect")


def _check_sides(part: Any, *names: str) -> None:
    """Raises InputError for fields that are no whole numbers from 1 on; None is let pass."""
    for name in names:
        value = getattr(part, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):
            raise InputError(f"{name}={value!r} must be a whole number, at least 1.")
