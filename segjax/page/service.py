"""Predictions for the page, one at a time; the latest results are kept in memory."""

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from segjax.data.images import MODES, pixels
from segjax.drawing.composite import areas
from segjax.errors import RunError, is_out_of_memory
from segjax.evaluate.longest_side import enlarged, smaller, within
from segjax.page.comparison import comparison
from segjax.page.limits import Limits, Refused
from segjax.page.runs import ServedRun
from segjax.page.upload import opened, upright_upload
from segjax.parallel.kept_memory import forget_programs
from segjax.tasks.shown import ShownObjects

MOST_PROGRAMS = 48
"""Number of image sizes after which compiled programs are dropped to free their memory."""

LONGEST_LINE = 300
"""Largest number of characters of a network's error message."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One image with the prediction of each run.

    An image that is longer than the limit is predicted and shown smaller; its masks have its
    original size, as with `segjax.predict --side`.

    Attributes:
      key: with which the page asks for it; it cannot be guessed.
      image: RGB, at the size of the prediction.
      masks: class ids at the original size, one array for each run.
      labels: class ids at the size of `image`, one array for each run.
      probabilities: float16, at the size of `image`, one array for each run; of a run that
        finds objects, its labels.
      objects: of each run what it lists of its objects; None of a run of maps.
      seconds: time that the predictions took.
    """

    key: str
    image: UInt8[np.ndarray, "h w 3"]
    masks: tuple[UInt8[np.ndarray, "oh ow"], ...]
    labels: tuple[UInt8[np.ndarray, "h w"], ...]
    probabilities: tuple[np.ndarray, ...]
    objects: tuple[ShownObjects | None, ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """Memory of the arrays."""
        arrays = (self.image, *self.masks, *self.labels, *self.probabilities)
        return sum(array.nbytes for array in {id(array): array for array in arrays}.values())


class Service:
    """Predictions of several runs, and the latest results within `limits.held` bytes.

    `drawing` is a lock for blurring: one picture at a time is faster than several. `doing` says
    what is being computed, and is empty otherwise.
    """

    def __init__(self, runs: Sequence[ServedRun], limits: Limits):
        self.runs, self.limits = tuple(runs), limits
        self._places = threading.BoundedSemaphore(limits.waiting + 1)
        self._turn = threading.Lock()
        self._sizes: set[tuple[int, int]] = set()
        self._compiled: set[tuple[int, Hashable]] = set()
        self.doing = ""
        self._results: dict[str, Result] = {}
        self._holding = threading.Lock()
        self.drawing = threading.Lock()

    def about(self) -> dict[str, Any]:
        """Returns what the page needs to know before the first image."""
        limits = {"upload": self.limits.upload, "side": self.limits.side}
        return {"runs": [run.about() for run in self.runs], "limits": limits}

    def predict(self, data: bytes) -> Result:
        """Returns the result of an uploaded image, and keeps it under its key.

        Raises:
          Refused: the bytes are not an accepted image, or too many others are waiting.
        """
        if not self._places.acquire(blocking=False):
            line = f"{self.limits.waiting + 1} other images are waiting: try again in a moment."
            raise Refused(503, line, retry_after=5)
        try:
            image = opened(data, self.limits)
            with self._turn:
                return self._hold(self._predicted(upright_upload(image)))
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RunError):  # Scores that are NaN.
                raise Refused(422, _line(error)) from error
            if not is_out_of_memory(error):
                raise
            self._free()
            line = "The server has too little memory for this image: make it smaller."
            raise Refused(507, line) from None
        except ValueError as error:  # An image that the network or a wrapper does not take.
            raise Refused(422, _line(error)) from error
        finally:
            self._places.release()

    def find(self, key: str) -> Result:
        """Returns the result with this key.

        Raises:
          Refused: it is no longer in memory.
        """
        with self._holding:
            if key not in self._results:
                raise Refused(
                    404, "This result is no longer in memory: predict the image again."
                )
            return self._results[key]

    def idle(self, *, seconds: float) -> bool:
        """Waits at most so many seconds and returns whether no prediction runs any more."""
        return self._turn.acquire(timeout=seconds)

    def describe(self, result: Result) -> dict[str, Any]:
        """Returns what the page shows first; it asks for labels and pictures by the key."""
        height, width = result.image.shape[:2]
        own_height, own_width = result.masks[0].shape
        class_names = [run.class_names for run in self.runs]
        return {
            "key": result.key,
            "size": [width, height],
            "original": [own_width, own_height],
            "seconds": result.seconds,
            "objects": result.objects,
            "areas": [
                areas(mask, len(names)).tolist()
                for mask, names in zip(result.masks, class_names, strict=True)
            ],
            **comparison(result.masks, class_names),
        }

    def _predicted(self, upload: Image.Image) -> Result:
        size = upload.height, upload.width
        seen = within(size, self.limits.side)
        as_seen = lambda channels: smaller(pixels(upload.convert(MODES[channels]))[None], seen)[
            0
        ]
        start, masks, labels, found, objects = time.monotonic(), [], [], [], []
        self._make_room(seen)
        for place, run in enumerate(self.runs):
            image = as_seen(run.channels)
            if run.shown.objects is not None and run.answer is not None:
                with self._said(place, seen):
                    answer = run.answer(image)
                labels.append(run.shown.label(answer))
                masks.append(_nearest(size, labels[-1]))
                found.append(labels[-1])
                objects.append(run.shown.objects(answer))
                continue
            with self._said(place, seen):
                probabilities = run.probabilities(image)
            objects.append(None)
            label = run.shown.label
            labels.append(label(probabilities))
            masks.append(labels[-1] if seen == size else _at(size, probabilities, label))
            found.append(probabilities.astype(np.float16))
        return Result(
            key=secrets.token_urlsafe(16),
            image=as_seen(3),
            masks=tuple(masks),
            labels=tuple(labels),
            probabilities=tuple(found),
            objects=tuple(objects),
            seconds=time.monotonic() - start,
        )

    @contextlib.contextmanager
    def _said(self, place: int, size: tuple[int, int]) -> Iterator[None]:
        """Sets `doing` while the block runs: the run, the size, and whether it compiles."""
        run = self.runs[place]
        program = place, run.program(size)
        new = program not in self._compiled
        what = f"Compiling {run.name} for" if new else f"{run.name} predicts"
        self.doing = f"{what} images of {size[1]} × {size[0]} pixels"
        try:
            yield
        finally:
            self.doing = ""
        self._compiled.add(program)

    def _make_room(self, size: tuple[int, int]) -> None:
        if size not in self._sizes and len(self._sizes) == MOST_PROGRAMS:
            self._free()
        self._sizes.add(size)

    def _free(self) -> None:
        """Drops the compiled programs and their memory."""
        forget_programs()
        self._sizes.clear()
        self._compiled.clear()

    def _hold(self, result: Result) -> Result:
        with self._holding:
            self._results[result.key] = result
            while len(self._results) > 1 and (
                len(self._results) > self.limits.results
                or sum(r.bytes for r in self._results.values()) > self.limits.held
            ):
                del self._results[next(iter(self._results))]
        return result


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST_LINE]


def _nearest(size: tuple[int, int], label: np.ndarray) -> UInt8[np.ndarray, "oh ow"]:
    """Returns class ids at another size."""
    if label.shape == size:
        return label
    enlarged_ids = Image.fromarray(label).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(enlarged_ids)


def _at(
    size: tuple[int, int],
    probabilities: Float[np.ndarray, "h w k"],
    label: Callable[[np.ndarray], np.ndarray],
) -> UInt8[np.ndarray, "oh ow"]:
    """Returns the labels of the enlarged probabilities, as `segjax.predict --side` does."""
    return np.concatenate([label(band[0]) for band in enlarged(probabilities[None], size)])
