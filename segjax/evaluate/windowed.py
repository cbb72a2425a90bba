"""Images of any size, window by window: one compiled program, bounded memory.

Windows of one size are cut on the host, predicted in batches, and added up row by row. What no
further window reaches is handed over and forgotten, so that of the k maps of an image only as
many rows are held as a window has. Where even these are too wide, the image is predicted in
vertical stripes; windows on their borders are then predicted for both.
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
"""(image, rows, columns, the windows' weighted sums there)."""


class Tiling(NamedTuple):
    """The windows along one side of an image.

    Attributes:
      length: pixels of that side.
      first: the first pixel that each window answers for, ascending; it may lie before 0.
      answered: how many pixels a window answers for.
      seen: how many it sees, as many more before as behind. Beyond the image it sees mirrored
        pixels.
    """

    length: int
    first: tuple[int, ...]
    answered: int
    seen: int

    def pixels(self, i: int) -> np.ndarray:
        """Returns indices of the pixels that window i sees."""
        start = self.first[i] - (self.seen - self.answered) // 2
        period = max(2 * (self.length - 1), 1)
        position = np.arange(start, start + self.seen) % period
        return np.minimum(position, period - position)

    def meeting(self, start: int, stop: int) -> list[int]:
        """Returns the windows that answer for a pixel of start … stop − 1."""
        return [
            i for i, at in enumerate(self.first) if at < stop and at + self.answered > start
        ]

    def total(self, weight: Float[np.ndarray, " answered"]) -> Float[np.ndarray, " length"]:
        """Returns the sum of all windows' weights at each pixel."""
        total = np.zeros(self.length, np.float32)
        for at in self.first:
            start, stop = max(at, 0), min(at + self.answered, self.length)
            total[start:stop] += weight[start - at : stop - at]
        return total


class Windowed:
    """A host predictor that shows its inner one windows of a single size.

    Args:
      predict: what is done with a window, seen × seen pixels → answered × answered.
      axis: the windows along a side of so many pixels.
      weight: of a window's answers along either side.
      batch_size: windows that are predicted together; what is left over goes one by one.
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
        # Where the inner one can be traced, its program weights what it returns.
        self._answer = weighted if self._inner is predict else on_host(weighted)
        self._axis, self._weight = axis, weight
        self._batch_size, self._memory = batch_size, memory
        self._num_classes: int | None = None

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        """Returns probabilities of every pixel; these, of the whole images, are not bounded."""
        found = None
        for index, down, across, mean in self._means(variables, images):
            if found is None:
                found = np.empty((*images.shape[:3], mean.shape[-1]), np.float32)
            found[index, down, across] = mean
        if found is None:
            raise ValueError(f"There is nothing to predict in images of shape {images.shape}.")
        return found

    def classes(self, variables: Variables, images: Images) -> Labels:
        """Returns the most likely class of every pixel, within the bound on memory."""
        labels = np.empty(images.shape[:3], np.uint8)
        for index, down, across, mean in self._means(variables, images):
            labels[index, down, across] = argmax_labels(mean)
        return labels

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns how many classes it tells apart; traced, never run.

        Raises:
          InputError: the sums of a single window exceed the bound on memory.
        """
        axis = self._axis(1)
        shape = (1, axis.seen, axis.seen, images.shape[-1])
        k = self._inner.check(variables, jax.ShapeDtypeStruct(shape, images.dtype))
        needed = -(-(axis.answered**2 * k * 4) // MIB)
        if needed > self._memory:
            raise InputError(
                f"memory={self._memory} MiB do not hold one window of {axis.answered}² pixels "
                f"and {k} classes; set memory={needed} or more, or take smaller windows."
            )
        return k

    def _means(self, variables: Variables, images: Images) -> Iterator[Strip]:
        """Returns the weighted means in place of the sums: divided, two of them may become
        equal.
        """
        rows, columns = (self._axis(n).total(self._weight) for n in images.shape[1:3])
        for index, down, across, sums in self._strips(variables, images):
            yield index, down, across, sums / np.outer(rows[down], columns[across])[..., None]

    def _strips(self, variables: Variables, images: Images) -> Iterator[Strip]:
        """Returns the images' rows as they are done, in all their stripes."""
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
        """Returns the image's columns in equal parts, each within the bound on memory."""
        assert self._num_classes is not None
        widest = self._memory * MIB // (height * self._num_classes * 4)
        count = -(-width // widest)
        edges = [width * i // count for i in range(count + 1)]
        return [slice(*edge) for edge in zip(edges[:-1], edges[1:], strict=True)]

    def _answers(
        self, variables: Variables, windows: Iterable[Shaped[np.ndarray, "h w c"]]
    ) -> Iterator[Float[np.ndarray, "h w k"]]:
        """Returns the weighted answers to the windows, in their order."""
        remaining = iter(windows)
        variables = jax.device_put(variables)  # Once, not with every batch.
        while group := list(islice(remaining, self._batch_size)):
            # A batch of its own length would be one more program to compile.
            full = len(group) == self._batch_size
            for part in [group] if full else ([window] for window in group):
                yield from self._answer(variables, np.stack(part))


def _added_up(
    answers: Iterator[np.ndarray], rows: Tiling, columns: Tiling, stripe: slice
) -> Iterator[tuple[slice, Float[np.ndarray, "h w k"]]]:
    """Returns (rows, their sums) of a stripe, from the top, as soon as no window will change
    them.
    """
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
