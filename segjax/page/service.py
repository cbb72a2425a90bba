"""Predictions for the page, one at a time, and the last of them, kept in memory."""

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from segjax.data.images import MODES, pixels
from segjax.drawing.composite import areas
from segjax.errors import RunError
from segjax.evaluate.longest_side import enlarged, smaller, within
from segjax.page.comparison import comparison
from segjax.page.limits import Limits, Refused
from segjax.page.runs import ServedRun
from segjax.page.upload import opened, upright_upload

MOST_PROGRAMS = 48
"""Sizes of images after which the compiled programs are dropped and memory is had back."""

LONGEST_LINE = 300
"""Characters of what a network says of an image that it does not take."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One image and what each run says of it.

    Images that are longer than the limits' side are predicted and shown smaller; their masks
    are of their own size, as `segjax.predict --side` gives them.

    Attributes:
      key: what the page asks for it by; it cannot be guessed.
      image: as it was predicted, RGB.
      masks: class ids at the upright upload's own size, one array a run.
      labels: class ids at the size of `image`, which are `masks` where that is its own.
      probabilities: float16, of the size of `image`, one array a run.
      seconds: that the predictions took.
    """

    key: str
    image: UInt8[np.ndarray, "h w 3"]
    masks: tuple[UInt8[np.ndarray, "oh ow"], ...]
    labels: tuple[UInt8[np.ndarray, "h w"], ...]
    probabilities: tuple[Float[np.ndarray, "h w k"], ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """That it occupies."""
        arrays = (self.image, *self.masks, *self.labels, *self.probabilities)
        return sum(array.nbytes for array in {id(array): array for array in arrays}.values())


class Service:
    """Predicts with several runs; holds the latest results, within `limits.held` bytes.

    `drawing` is for whoever blurs: one picture at a time is quicker than several. `doing` says
    what is being computed, for whoever waits; nothing while nothing is.
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
        """Returns the result of an uploaded image; it can be found again by its key.

        Raises:
          Refused: the bytes hold no image that is accepted, or too many others wait.
        """
        if not self._places.acquire(blocking=False):
            line = f"{self.limits.waiting + 1} other images come first: try again in a moment."
            raise Refused(503, line, retry_after=5)
        try:
            image = opened(data, self.limits)
            with self._turn:
                return self._hold(self._predicted(upright_upload(image)))
        except (ValueError, RunError) as error:
            # An image that the network or a wrapper does not take, or scores that are NaN.
            raise Refused(422, " ".join(str(error).split())[:LONGEST_LINE]) from error
        finally:
            self._places.release()

    def find(self, key: str) -> Result:
        """Returns a result that is still held.

        Raises:
          Refused: it is not.
        """
        with self._holding:
            if key not in self._results:
                raise Refused(404, "This result is no longer held: predict the image again.")
            return self._results[key]

    def idle(self, *, seconds: float) -> bool:
        """Returns whether no prediction runs, or the one that does has ended within the
        seconds.
        """
        return self._turn.acquire(timeout=seconds)

    def describe(self, result: Result) -> dict[str, Any]:
        """Returns what the page shows of a result at once; labels and pictures are asked for by
        key.
        """
        height, width = result.image.shape[:2]
        own_height, own_width = result.masks[0].shape
        class_names = [run.class_names for run in self.runs]
        return {
            "key": result.key,
            "size": [width, height],
            "original": [own_width, own_height],
            "seconds": result.seconds,
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
        start, masks, labels, found = time.monotonic(), [], [], []
        self._make_room(seen)
        for place, run in enumerate(self.runs):
            with self._said(place, seen):
                probabilities = run.probabilities(as_seen(run.channels))
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
            seconds=time.monotonic() - start,
        )

    @contextlib.contextmanager
    def _said(self, place: int, size: tuple[int, int]) -> Iterator[None]:
        """Says in `doing` what a run does while the block runs, and whether it compiles."""
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
            jax.clear_caches()
            self._sizes.clear()
            self._compiled.clear()
        self._sizes.add(size)

    def _hold(self, result: Result) -> Result:
        with self._holding:
            self._results[result.key] = result
            while (
                len(self._results) > 1
                and sum(r.bytes for r in self._results.values()) > self.limits.held
            ):
                del self._results[next(iter(self._results))]
        return result


def _at(
    size: tuple[int, int],
    probabilities: Float[np.ndarray, "h w k"],
    label: Callable[[np.ndarray], np.ndarray],
) -> UInt8[np.ndarray, "oh ow"]:
    """Returns the label of probabilities that are enlarged first, as `segjax.predict --side`
    does.
    """
    return np.concatenate([label(band[0]) for band in enlarged(probabilities[None], size)])
