"""Images of any size, window by window: one compiled program, bounded memory.

Windows of one size are cut on the host, predicted in batches, and summed row by row. Rows that
no further window overlaps are returned and dropped, so memory holds only as many rows of the k
maps as a window has. If the image is too wide for that, it is predicted in vertical stripes;
windows on a border of two stripes are then predicted twice.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Shaped

from segjax.contracts import Variables
from segjax.errors import InputError
from segjax.evaluate.compiled import Images, Labels, Probabilities_BHWK, argmax_labels, on_host

MIB = 2**20
Strip = tuple[int, slice, slice, Float[np.ndarray, "h w k"]]
"""(image, rows, columns, weighted sums of the windows there)."""


class Tiling(NamedTuple):
    """The windows along one side of an image.

    Attributes:
      length: pixels of that side.
      first: the first output pixel of each window, ascending; it may be negative.
      answered: pixels of a window's output.
      seen: pixels of a window's input; the margins before and after are equal. Beyond the image
        the input is mirrored.
    """

    length: int
    first: tuple[int, ...]
    answered: int
    seen: int

    def pixels(self, i: int) -> np.ndarray:
        """Returns indices of the input pixels of window i."""
        start = self.first[i] - (self.seen - self.answered) // 2
        period = max(2 * (self.length - 1), 1)
        position = np.arange(start, start + self.seen) % period
        return np.minimum(position, period - position)

    def meeting(self, start: int, stop: int) -> list[int]:
        """Returns the windows whose output overlaps start … stop − 1."""
        return [
            i for i, at in enumerate(self.first) if at < stop and at + self.answered > start
        ]

    def total(self, weight: Float[np.ndarray, " answered"]) -> Float[np.ndarray, " length"]:
        """Returns the sum of the windows' weights at each pixel."""
        total = np.zeros(self.length, np.float32)
        for at in self.first:
            start, stop = max(at, 0), min(at + self.answered, self.length)
            total[start:stop] += weight[start - at : stop - at]
        return total


class Windowed:
    """A host predictor that gives its inner predictor windows of a single size.

    Args:
      predict: the predictor of a window, seen × seen pixels → answered × answered.
      axis: a function from the pixels of a side to its `Tiling`.
      weight: the weights of a window's output along one side.
      batch_size: windows that are predicted together; the remainder is predicted one by one.
      memory: MiB that the sums of the windows may take.
    """

    def __init__(
        self,
        predict: Callable,
        axis: Callable[[int], Tiling],
        *,
        weight: Float[np.ndarray, " answered"],
        batch_size: int,
        memory: int,
    ):
        weights = np.outer(weight, weight)[None, :, :, None].astype(np.float32)
        weighted = lambda variables, windows: predict(variables, windows) * weights
        self._inner = on_host(predict)
        # If the inner predictor can be traced, its program multiplies by the weights.
        self._answer = weighted if self._inner is predict else on_host(weighted)
        self._axis, self._weight = axis, weight
        self._batch_size, self._memory = batch_size, memory
        self._num_classes: int | None = None

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        """Returns probabilities of every pixel; this array is not bounded by `memory`."""
        found = None
        for index, down, across, mean in self._means(variables, images):
            if found is None:
                found = np.empty((*images.shape[:3], mean.shape[-1]), np.float32)
            found[index, down, across] = mean
        if found is None:
            raise ValueError(f"Images of shape {images.shape} have no pixels to predict.")
        return found

    def classes(self, variables: Variables, images: Images) -> Labels:
        """Returns the most likely class of every pixel, within `memory`."""
        labels = np.empty(images.shape[:3], np.uint8)
        for index, down, across, mean in self._means(variables, images):
            labels[index, down, across] = argmax_labels(mean)
        return labels

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes, by tracing alone.

        Raises:
          InputError: the sums of a single window exceed the bound on memory.
        """
        axis = self._axis(1)
        shape = (1, axis.seen, axis.seen, images.shape[-1])
        k = self._inner.check(variables, jax.ShapeDtypeStruct(shape, images.dtype))
        needed = -(-(axis.answered**2 * k * 4) // MIB)
        if needed > self._memory:
            raise InputError(
                f"memory={self._memory} MiB cannot hold one window of {axis.answered}² pixels "
                f"and {k} classes; set memory={needed} or more, or take smaller windows."
            )
        return k

    def _means(self, variables: Variables, images: Images) -> Iterator[Strip]:
        """Yields weighted means instead of sums; division may make two of them equal."""
        rows, columns = (self._axis(n).total(self._weight) for n in images.shape[1:3])
        for index, down, across, sums in self._strips(variables, images):
            yield index, down, across, sums / np.outer(rows[down], columns[across])[..., None]

    def _strips(self, variables: Variables, images: Images) -> Iterator[Strip]:
        """Yields the images' rows as they are finished, stripe by stripe."""
        if self._num_classes is None:
            shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
            self._num_classes = self.check(variables, shape)
        rows, columns = (self._axis(n) for n in images.shape[1:3])
        stripes = self._stripes(rows.answered, columns.length)
        windows = (
            image[rows.pixels(i)[:, None], columns.pixels(j)]
            for image in images
            for stripe in stripes
            for i in range(len(rows.first))
            for j in columns.meeting(stripe.start, stripe.stop)
        )
        answers = self._answers(variables, windows)
        for index in range(len(images)):
            for stripe in stripes:
                for down, sums in _added_up(answers, rows, columns, stripe):
                    yield index, down, stripe, sums

    def _stripes(self, height: int, width: int) -> list[slice]:
        """Returns the image's columns in equal stripes, each within `memory`."""
        assert self._num_classes is not None
        widest = self._memory * MIB // (height * self._num_classes * 4)
        count = -(-width // widest)
        edges = [width * i // count for i in range(count + 1)]
        return [slice(*edge) for edge in zip(edges[:-1], edges[1:], strict=True)]

    def _answers(
        self, variables: Variables, windows: Iterable[Shaped[np.ndarray, "h w c"]]
    ) -> Iterator[Float[np.ndarray, "h w k"]]:
        """Yields the weighted outputs of the windows, in their order."""
        remaining = iter(windows)
        variables = jax.device_put(variables)  # Transferred once, not with every batch.
        while group := list(islice(remaining, self._batch_size)):
            # A batch of its own length would be one more program to compile.
            full = len(group) == self._batch_size
            for part in [group] if full else ([window] for window in group):
                yield from self._answer(variables, np.stack(part))


def _added_up(
    answers: Iterator[np.ndarray], rows: Tiling, columns: Tiling, stripe: slice
) -> Iterator[tuple[slice, Float[np.ndarray, "h w k"]]]:
    """Yields (rows, their sums) of a stripe, from the top, once no window can change them."""
    sums = None
    for top, below in zip(rows.first, (*rows.first[1:], rows.length), strict=True):
        for j in columns.meeting(stripe.start, stripe.stop):
            answer, left = next(answers), columns.first[j]
            if sums is None:
                shape = (rows.answered, stripe.stop - stripe.start, answer.shape[-1])
                sums = np.zeros(shape, np.float32)
            start = max(left, stripe.start)
            stop = min(left + columns.answered, stripe.stop)
            place = slice(start - stripe.start, stop - stripe.start)
            sums[:, place] += answer[:, start - left : stop - left]
        assert sums is not None
        done = slice(max(top, 0), below)
        yield done, sums[done.start - top : done.stop - top]
        kept = rows.answered - (below - top)
        sums[:kept] = sums[below - top :]
        sums[kept:] = 0
