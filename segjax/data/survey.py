"""What a dataset holds: images and their sizes, pixels of each label id, digests of images.

Of a dataset that is prepared from files every example is read once; the result lies beside the
prepared files in the cache. Of other datasets a bounded number of examples is read, spread
evenly.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from segjax.announce import announced
from segjax.atomic import write_text
from segjax.contracts import IGNORE, Dataset
from segjax.data.by_aspect import ungrouped
from segjax.data.checks import CheckExample, checked_example, read_example
from segjax.data.prepare import FileDataset

FILE = "survey3.json"
"""Raise its number when anything is counted or digested differently."""

MOST, SECONDS = 200, 20.0
"""Examples that are read of a dataset without prepared files, and how long at most."""

OUTSIDE = -1
"""Stands for the pixels of planes that do not belong to the plane's class."""

CHUNK = 32
"""Examples read at a time, over all cores."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was found in a dataset.

    Attributes:
      pixels: {label id: pixels of all labels that were read}. Of planes, pixels of all planes:
        {class: those of its own that are 1}, and those that are 0 by `OUTSIDE`.
      images: (digest of the image, name) of each example that was read.
      total: how many examples the dataset has.
      shapes: {(height, width, channels): examples that were read}.
    """

    pixels: Mapping[int, int]
    images: tuple[tuple[str, str], ...]
    total: int
    shapes: Mapping[tuple[int, int, int], int] = dataclasses.field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every example was read."""
        return len(self.images) == self.total

    @property
    def extent(self) -> str:
        """What was read, in words: "its 20 examples", "the 200 of 5000 examples looked at"."""
        if self.is_whole:
            return "its one example" if self.total == 1 else f"its {self.total} examples"
        return f"the {len(self.images)} of {self.total} examples looked at"

    @property
    def ignored(self) -> float:
        """The share of pixels that is 255."""
        return self.pixels.get(IGNORE, 0) / max(sum(self.pixels.values()), 1)

    def absent(self, num_classes: int) -> list[int]:
        """Returns the classes of which there is no pixel."""
        return [i for i in range(num_classes) if not self.pixels.get(i)]


def survey(
    dataset: Dataset,
    *,
    title: str = "the data",
    most: int = MOST,
    seconds: float = SECONDS,
    check: CheckExample | None = None,
) -> Survey:
    """Returns what a dataset holds: all of it if it is prepared from files, else up to `most`.

    Reading stops after `seconds`, but not before one part of the examples is read. `title`
    names the dataset in the line that a user sees while this takes long. `check` is applied to
    each example; without it, as where transforms may yet change the examples, none is checked.

    Raises:
      InputError: `check` refuses an example, or the dataset returns something else.
    """
    with announced(f"Counting the classes of {title}", after=1):
        dataset = ungrouped(dataset)
        if isinstance(dataset, FileDataset):
            return _of_files(dataset)
        total = len(dataset)
        indices = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int))
        read = lambda index: (
            checked_example(dataset, index, check) if check else read_example(dataset, index)
        )
        look = lambda index: _looked_at(read(int(index)))
        return _gathered(_spread(look, indices.tolist(), seconds), total)


class _Look(NamedTuple):
    """What one example holds."""

    pixels: Mapping[int, int]
    image: tuple[str, str]
    shape: tuple[int, int, int]


def _looked_at(example: Mapping[str, Any]) -> _Look:
    image = example["image"]
    about = f"{image.shape} {image.dtype.name}".encode()
    # One digest for all datasets: of the pixels, however they are stored.
    pixels = image.astype(image.dtype.newbyteorder("="), copy=False)
    digest = _digest(about, np.ascontiguousarray(pixels).tobytes())
    height, width, channels = image.shape if image.ndim == 3 else (*image.shape[:2], 1)
    named = digest, str(example["name"])
    return _Look(_counts(example["label"]), named, (height, width, channels))


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def _counts(label: np.ndarray) -> Mapping[int, int]:
    if label.ndim == 3 and label.dtype.kind in "iub":
        inside = (label == 1).sum((0, 1)).tolist()
        other = {OUTSIDE: int((label == 0).sum()), IGNORE: int((label == IGNORE).sum())}
        return {i: count for i, count in {**other, **dict(enumerate(inside))}.items() if count}
    if label.dtype == np.uint8:
        counts = np.bincount(label.ravel(), minlength=256)
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    if label.dtype.kind not in "iubf":
        return {}
    # Only whole numbers are classes: cast to integers, NaN and 0.7 would count as class 0.
    whole = (
        label[np.isfinite(label) & (label == np.trunc(label))] if _is_float(label) else label
    )
    ids, counts = np.unique(whole, return_counts=True)
    # Python's integers hold what int64 cannot.
    return dict(zip(map(int, ids.tolist()), counts.tolist(), strict=True))


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=12).hexdigest()


def _spread(look: Callable, indices: list[int], seconds: float) -> Iterator[_Look]:
    """Returns what `look` finds, until the time is over; parts of it by all cores."""
    began, remaining = time.monotonic(), iter(indices)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while part := list(islice(remaining, CHUNK)):
            yield from pool.map(look, part)
            if time.monotonic() - began > seconds:
                return


def _gathered(looks: Iterable[_Look], total: int) -> Survey:
    pixels, images, shapes = Counter(), [], Counter()
    for look in looks:
        pixels.update(look.pixels)
        images.append(look.image)
        shapes[look.shape] += 1
    return Survey(
        dict(sorted(pixels.items())), tuple(images), total, dict(sorted(shapes.items()))
    )


def _of_files(dataset: FileDataset) -> Survey:
    """Returns what the file beside the prepared examples says, which is written if missing."""
    records = dataset._records
    path = dataset.prepared_folder / FILE
    if (kept := _kept(path, len(records))) is not None:
        return kept

    look = lambda index: _looked_at(dataset[index])
    found = _gathered(_spread(look, list(range(len(records))), float("inf")), len(records))
    shapes = [[*shape, count] for shape, count in found.shapes.items()]
    text = json.dumps({"pixels": found.pixels, "images": found.images, "shapes": shapes})
    _write(path, text)
    return found


def _kept(path: pathlib.Path, total: int) -> Survey | None:
    """Returns what `_of_files` wrote; None where the file is missing, broken or incomplete."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        pixels = {int(key): count for key, count in found["pixels"].items()}
        images = tuple((digest, name) for digest, name in found["images"])
        shapes = {(h, w, c): count for h, w, c, count in found["shapes"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    counts = [*pixels.values(), *shapes.values(), *(n for shape in shapes for n in shape)]
    counts_are_sound = all(type(count) is int and count > 0 for count in counts)
    texts = all(isinstance(text, str) for image in images for text in image)
    if not counts_are_sound or not texts or len(images) != total or (total and not pixels):
        return None
    return Survey(pixels, images, total, shapes) if sum(shapes.values()) == total else None


def _write(path: pathlib.Path, text: str) -> None:
    """Writes it whole or, where the cache is read-only or full, not at all."""
    with contextlib.suppress(OSError):
        write_text(path, text)


def shared_images(one: Survey, other: Survey) -> list[str]:
    """Returns names, in `other`, of the images that `one` has too; by contents, not by name."""
    digests = {digest for digest, _ in one.images}
    return [name for digest, name in other.images if digest in digests]
