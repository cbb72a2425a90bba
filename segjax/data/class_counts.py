"""Pixels and images of each class: of one label, of several, and of a whole dataset."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from segjax.announce import announced
from segjax.atomic import write_text
from segjax.class_weights import ClassCounts
from segjax.conformity import declares, has_planes
from segjax.contracts import IGNORE, Dataset, LabelledDataset
from segjax.data.by_aspect import ungrouped
from segjax.data.checks import read_example
from segjax.data.prepare import FileDataset
from segjax.data.survey import MOST
from segjax.errors import InputError

FILE = "class_counts1.json"
"""Beside the prepared examples; raise its number when anything is counted differently."""


class LabelCounts(NamedTuple):
    """What one label holds.

    Attributes:
      pixels: of each class; of planes, those that are 1.
      ignored: pixels that are 255: one number, or one for each plane.
      area: height × width.
      unknown: {id: pixels} of ids that are neither classes nor 255.
    """

    pixels: tuple[int, ...]
    ignored: tuple[int, ...]
    area: int
    unknown: dict[int, int]


def label_counts(label: np.ndarray, *, classes: int, planes: bool) -> LabelCounts:
    """Returns what a label h w, or h w k of planes, holds."""
    area = label.shape[0] * label.shape[1]
    if planes:
        inside = (label == 1).sum((0, 1)).tolist()
        ignored = (label == IGNORE).sum((0, 1)).tolist()
        return LabelCounts(tuple(inside), tuple(ignored), area, {})
    if label.dtype == np.uint8:
        counts = np.bincount(label.ravel(), minlength=256)
        found = {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    else:
        ids, counts = np.unique(label, return_counts=True)
        found = dict(zip(map(int, ids.tolist()), counts.tolist(), strict=True))
    pixels = tuple(found.pop(k, 0) for k in range(classes))
    return LabelCounts(pixels, (found.pop(IGNORE, 0),), area, found)


def sum_counts(labels: Sequence[LabelCounts], *, classes: int, planes: bool) -> ClassCounts:
    """Returns the pixels and images of each class in several labels."""
    each = range(classes)
    pixels = [sum(label.pixels[k] for label in labels) for k in each]
    containing = [[label for label in labels if label.pixels[k]] for k in each]
    if planes:
        counted = [sum(label.area - label.ignored[k] for label in labels) for k in each]
    else:
        counted = [sum(pixels)] * classes
    return ClassCounts(
        tuple(pixels),
        tuple(len(those) for those in containing),
        tuple(sum(label.area for label in those) for those in containing),
        tuple(counted),
        planes,
    )


class DatasetCounts(NamedTuple):
    """What the labels of a dataset hold.

    Attributes:
      counts: of its classes.
      read: examples that were read.
      absent: classes without a pixel, such as "3 'car'".
    """

    counts: ClassCounts
    read: int
    absent: list[str]


def dataset_counts(data: Dataset, *, title: str) -> DatasetCounts:
    """Returns the counts of a prepared dataset.

    Of a dataset that is not prepared from files up to `MOST` examples are read, evenly spread:
    always the same ones. `title` names it in the line that a user sees if this takes long.

    Raises:
      InputError: the dataset has no classes, or returns something else than examples.
    """
    if not declares(data, LabelledDataset):
        raise InputError(
            f"The classes of {title} cannot be counted: {type(data).__name__} has no "
            "class_names. Add class_names and palette to it, or write weights as numbers."
        )
    counts, read = _counts(data, title)
    absent = [f"{k} {data.class_names[k]!r}" for k in counts.absent]
    return DatasetCounts(counts, read, absent)


def _counts(data: LabelledDataset, title: str) -> tuple[ClassCounts, int]:
    data = ungrouped(data)
    is_of_files = isinstance(data, FileDataset)
    total = len(data)
    path = data.prepared_folder / FILE if is_of_files else None
    if path is not None and (kept := _kept(path, len(data.class_names))) is not None:
        return kept, total
    count = total if is_of_files else min(total, MOST)
    indices = np.unique(np.linspace(0, total - 1, count).round().astype(int)).tolist()
    classes, planes = len(data.class_names), has_planes(data)

    def look(index: int) -> LabelCounts:
        """Returns the counts of one example."""
        return label_counts(read_example(data, index)["label"], classes=classes, planes=planes)

    with (
        announced(f"Counting the classes of {title}", after=1),
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        labels = list(_in_parts(pool, look, indices))
    found = sum_counts(labels, classes=classes, planes=planes)
    if path is not None:
        with contextlib.suppress(OSError):  # The cache is read-only or full.
            write_text(path, json.dumps(found.__dict__))
    return found, len(labels)


def _in_parts(pool: ThreadPoolExecutor, look: Any, indices: list[int]) -> Iterable[LabelCounts]:
    """Yields what `look` finds; a part of the examples at a time, which bounds memory."""
    for start in range(0, len(indices), MOST):
        yield from pool.map(look, indices[start : start + MOST])


def _kept(path: pathlib.Path, classes: int) -> ClassCounts | None:
    """Returns what `dataset_counts` wrote; None where the file is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        planes = found.pop("planes")
        counts = {key: tuple(map(int, values)) for key, values in found.items()}
        kept = ClassCounts(**counts, planes=bool(planes))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    fits = all(len(values) == classes for values in counts.values())
    return kept if fits else None
