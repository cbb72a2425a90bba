"""Wrappers that choose the sizes of the network's inputs: windows, tiles, rounded sides.

They run on the host, around compiled programs, so a folder of mixed sizes needs few programs:
one for all windows (and one of a single window, for the remainder of a batch), or one for each
rounded size. Without them every image size is compiled separately, and exact.
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
    """Square windows over the entire image, averaged where they overlap.

    One compiled program predicts images of every size (and one of a single window, the
    remainder of a batch). The last window of a row ends at the image's border. A side shorter
    than the window is mirror-padded to its size.

    Attributes:
      size: side of a window in pixels.
      stride: pixels from one window to the next; None is two thirds of the size, rounded up, as
        in PSPNet.
      blend: weights of overlapping windows: "mean" weights all pixels equally, as PSPNet;
        "linear" weights by the distance to the window's border, which hides the borders.
      batch_size: windows that go through the network together.
      memory: MiB that the windows' sums may take on the host; wider images are predicted in
        vertical stripes. The outputs of one batch, size² · k floats a window, are extra.

    Raises:
      InputError: a number is below 1, windows would leave gaps, or `blend` is another word.
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
        """Returns the windows along a side of `length` pixels.

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
    """The valid-convolution U-Net's strategy: tiles that give the output of the whole image.

    Each tile's input includes the margin that the network needs; beyond the image it is
    mirrored (Ronneberger et al., 2015, figure 2). Tiles lie a multiple of the coarsest pooling
    window apart (384 pixels; the paper's 388 is not a multiple), so their outputs equal
    those of the image in one piece, up to rounding.

    Attributes:
      size: the least number of output pixels along a side of a tile.
      batch_size: tiles that go through the network together.
      memory: as in `SlidingWindow`.

    Raises:
      InputError: a number is below 1.
    """

    size: int = 388
    batch_size: int = 1
    memory: int = 512

    def __post_init__(self) -> None:
        _check_sides(self, "size", "batch_size", "memory")

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """Returns the wrapped predictor.

        Raises:
          InputError: this is not the first wrapper, or the network pads its convolutions.
        """
        if not isinstance(predict, WholeImage):
            raise InputError(
                "OverlapTile cuts the network's input: make it the first wrapper, and leave "
                "split at (1, 1), because tiles already bound the memory."
            )
        seen, covered, step = self._tile(predict)
        centre = lambda variables, tiles: predict.centre(variables, tiles, (covered, covered))

        def axis(length: int) -> Tiling:
            # For the entire image the network's output has `margin` more pixels at the top.
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
        """Returns (a tile's input pixels, its output pixels, the coarsest pooling window)."""
        side = lambda n: network.canvas(n, n)[0]
        covered = self.size
        if side(covered) == covered:
            raise InputError(
                f"OverlapTile is for valid convolutions; {type(network.model).__name__} "
                "returns scores of its whole input: use SlidingWindow instead."
            )
        while side(covered + 1) == side(covered):
            covered += 1
        step = side(covered + 1) - side(covered)
        covered += step if covered < step else 0
        return side(covered), covered, step


@dataclasses.dataclass(frozen=True)
class PadToMultiple:
    """The image mirror-padded at the bottom and right to a multiple; the output is cropped.

    Images of similar sizes then share a compiled program. The padding changes the output: on
    drawn shapes of 57 × 51 pixels, padded to 64 × 64, the quickstart's U-Net changes 7.7 % of
    the pixels (mIoU 0.782 to 0.762). Do not publish scores that were computed with it.

    Raises:
      InputError: `multiple` is not a whole number of at least 1.
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
    """Raises InputError unless each field is a whole number of at least 1, or None."""
    for name in names:
        value = getattr(part, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):
            raise InputError(f"{name}={value!r} must be a whole number, at least 1.")
