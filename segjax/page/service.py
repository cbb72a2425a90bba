"""Predictions for the page, one at a time, and the last of them, kept in memory."""

import dataclasses
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from segjax.data.images import MODES, pixels
from segjax.evaluate.compiled import likeliest
from segjax.evaluate.composite import areas
from segjax.page.limits import Limits, Refused
from segjax.page.runs import MULTIPLE, Run
from segjax.page.upload import opened, upright, within

MOST_PROGRAMS = 48
"""Sizes of images after which the compiled programs are dropped and memory is had back."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One image and what each run says of it.

    Attributes:
      key: what the page asks for it by; it cannot be guessed.
      image: as it was predicted, RGB.
      original: (width, height) of the upright upload.
      labels: class ids, one array a run.
      probabilities: float16, one array a run.
      seconds: that the predictions took.
    """

    key: str
    image: UInt8[np.ndarray, "h w 3"]
    original: tuple[int, int]
    labels: tuple[UInt8[np.ndarray, "h w"], ...]
    probabilities: tuple[Float[np.ndarray, "h w k"], ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """That it occupies."""
        arrays = (self.image, *self.labels, *self.probabilities)
        return sum(array.nbytes for array in arrays)


class Service:
    """Predicts with several runs; holds the latest results, within `limits.held` bytes.

    `drawing` is for whoever blurs: one picture at a time is quicker than several.
    """

    def __init__(self, runs: Sequence[Run], limits: Limits):
        self.runs, self.limits = tuple(runs), limits
        self._places = threading.BoundedSemaphore(limits.waiting + 1)
        self._turn = threading.Lock()
        self._programs: set[tuple[int, ...]] = set()
        self._results: dict[str, Result] = {}
        self._holding = threading.Lock()
        self.drawing = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What the page needs to know before the first image."""
        limits = {"upload": self.limits.upload, "side": self.limits.side}
        return {"runs": [run.about() for run in self.runs], "limits": limits}

    def predict(self, data: bytes) -> Result:
        """The result of an uploaded image; it can be found again by its key.

        Raises:
          Refused: the bytes hold no image that is accepted, or too many others wait.
        """
        if not self._places.acquire(blocking=False):
            line = f"{self.limits.waiting + 1} other images come first: try again in a moment."
            raise Refused(503, line, retry_after=5)
        try:
            image = opened(data, self.limits)
            with self._turn:
                return self._hold(self._predicted(upright(image)))
        finally:
            self._places.release()

    def find(self, key: str) -> Result:
        """A result that is still held.

        Raises:
          Refused: it is not.
        """
        with self._holding:
            if key not in self._results:
                raise Refused(404, "This result is no longer held: predict the image again.")
            return self._results[key]

    def idle(self, *, seconds: float) -> bool:
        """Whether no prediction runs, or the one that does has ended within the seconds."""
        return self._turn.acquire(timeout=seconds)

    def describe(self, result: Result) -> dict[str, Any]:
        """What the page shows of a result at once; labels and pictures are asked for by key."""
        height, width = result.image.shape[:2]
        return {
            "key": result.key,
            "size": [width, height],
            "original": list(result.original),
            "seconds": result.seconds,
            "areas": [
                areas(label, len(run.class_names)).tolist()
                for label, run in zip(result.labels, self.runs, strict=True)
            ],
            "agreement": agreement(result.labels, [run.class_names for run in self.runs]),
        }

    def _predicted(self, upload: Image.Image) -> Result:
        size = within(upload.size, self.limits.side)
        start = time.monotonic()
        found = []
        for run in self.runs:
            image = upload.convert(MODES[run.channels]).resize(size, Image.Resampling.BILINEAR)
            self._make_room(size)
            found.append(run.probabilities(pixels(image)))
        shown = upload.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        return Result(
            key=secrets.token_urlsafe(16),
            image=pixels(shown),
            original=upload.size,
            labels=tuple(likeliest(probabilities) for probabilities in found),
            probabilities=tuple(probabilities.astype(np.float16) for probabilities in found),
            seconds=time.monotonic() - start,
        )

    def _make_room(self, size: tuple[int, int]) -> None:
        rounded = tuple(-(-n // MULTIPLE) for n in size)
        if rounded not in self._programs and len(self._programs) == MOST_PROGRAMS:
            jax.clear_caches()
            self._programs.clear()
        self._programs.add(rounded)

    def _hold(self, result: Result) -> Result:
        with self._holding:
            self._results[result.key] = result
            while (
                len(self._results) > 1
                and sum(r.bytes for r in self._results.values()) > self.limits.held
            ):
                del self._results[next(iter(self._results))]
        return result


def agreement(
    labels: Sequence[UInt8[np.ndarray, "h w"]], class_names: Sequence[Sequence[str]]
) -> float | None:
    """The share of pixels to which all runs give a class of one name.

    None for a single run, and for runs that have no class in common.

    >>> sky, road = np.uint8([[0, 0]]), np.uint8([[0, 1]])
    >>> agreement([sky, road], [("sky", "road"), ("sky", "road")])
    0.5
    >>> agreement([sky, road], [("road", "sky"), ("sky", "road")])
    0.5
    """
    if len(labels) < 2 or not set.intersection(*map(set, class_names)):
        return None
    ids: dict[str, int] = {}
    tables = [
        np.array([ids.setdefault(name, len(ids)) for name in names]) for names in class_names
    ]
    first, *others = (table[label] for table, label in zip(tables, labels, strict=True))
    agree = np.all([first == other for other in others], axis=0)
    return float(agree.mean())
