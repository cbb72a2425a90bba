"""Reads all examples of a dataset for an audit; a fault of one does not keep it from others.

A dataset of files is read from its files, not from the cache: so the audit sees each file as it
is, and needs no preparation. Another dataset is asked for its examples by index.
"""

import contextlib
import io
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import tqdm

from segjax.audit.look import Look, look_at
from segjax.conformity import declares, has_planes
from segjax.contracts import Example, LabelledDataset
from segjax.data.arrays import is_array
from segjax.data.by_aspect import ungrouped
from segjax.data.checks import CheckExample, read_example
from segjax.data.decode import open_image, page_numbers, pages, stored
from segjax.data.encode import (
    check_counts,
    check_sizes,
    contents,
    page_name,
    problem_of_all_masks,
)
from segjax.data.faults import Fault, collected
from segjax.data.image_files import decoded, encoded_images
from segjax.data.images import pixels, upright
from segjax.data.label_pages import label_pages
from segjax.data.made_masks import MadeMask, made_classes
from segjax.data.mask_files import stored_masks
from segjax.data.object_records import object_entries
from segjax.data.prepare import FileDataset
from segjax.data.record_dataset import RecordDataset
from segjax.data.source import Recipe, Source
from segjax.data.survey import MOST
from segjax.data.usable_objects import usable_objects
from segjax.data.whites import Found
from segjax.errors import InputError

CHUNK = 32
"""Examples read at a time, over all cores."""


@dataclass
class Seen:
    """What was read of a dataset.

    Attributes:
      looks: of the examples that could be read.
      faults: (fault, place of its example or None).
      total: examples that there are, with those that could not be read.
    """

    looks: list[Look] = field(default_factory=list)
    faults: list[tuple[Fault, Any]] = field(default_factory=list)
    total: int = 0

    @property
    def missing(self) -> list[Fault]:
        """The faults that are one of a pair of files that is missing."""
        return [fault for fault, _ in self.faults if fault.kind.startswith("missing_")]


class Examples(Protocol):
    """The examples of a dataset, with a way to read one again."""

    def seen(self, title: str) -> Seen:
        """Returns what there is; `title` names the dataset while this takes long."""
        ...

    def read(self, place: Any) -> Example:
        """Returns an example by its place."""
        ...


def examples_of(data: Any, *, check: CheckExample | None = None) -> Examples:
    """Returns the examples of a dataset; `check` is applied to those that are not files.

    Raises:
      InputError: the dataset cannot say what it holds, such as for a missing folder.
    """
    data = ungrouped(data)
    if not isinstance(data, FileDataset):
        data.prepare()
        whole = isinstance(data, RecordDataset)
        return IndexedExamples(data, check, len(data), most=len(data) if whole else MOST)
    with collected() as faults:
        sources = list(data._sources())
    if all(isinstance(source, Source) for source in sources):
        return FileExamples(sources, data._recipe(), faults)
    data.prepare()
    return IndexedExamples(data, check, len(data), most=len(data))


@dataclass
class FileExamples:
    """Examples of image and mask files; a place is (index of the source, page)."""

    sources: list[Source]
    recipe: Recipe
    faults: list[Fault]

    def seen(self, title: str) -> Seen:
        """Returns what all files hold, and their faults."""
        seen = Seen(faults=[(fault, None) for fault in self.faults])
        seen.total = len(seen.missing)
        whites: list[Found] = []
        for found in _spread(self._look, range(len(self.sources)), title):
            seen.looks += found.looks
            seen.faults += found.faults
            seen.total += found.count
            whites += found.whites
        if problem := problem_of_all_masks(whites, self.recipe):
            seen.faults.append((Fault("mixed_whites", problem), None))
        return seen

    def _look(self, index: int) -> "_Source":
        examples = read_source(self.sources[index], self.recipe)
        recipe = self.recipe
        for number, example in enumerate(examples.examples):
            look = look_at(
                example,
                (index, number),
                classes=recipe.num_classes,
                planes=recipe.planes,
                files=examples.kinds,
                unknown=examples.unknown[number],
            )
            examples.looks.append(look)
        examples.examples.clear()
        examples.faults = [(fault, (index, 0)) for fault, _ in examples.faults]
        return examples

    def read(self, place: tuple[int, int]) -> Example:
        """Returns an example, of which label or image may be missing where a file is broken."""
        index, page = place
        source = self.sources[index]
        found = read_source(source, self.recipe, apart=True)
        if page >= len(found.examples):
            return {"name": source.name}
        example = found.examples[page]
        ids = {i for fault, _ in found.faults for i in fault.pixels}
        if ids and len(source.masks) == 1 and not self.recipe.planes and "label" in example:
            data = contents(source.masks[0])
            masks = list(stored_masks(source.masks[0], data, self.recipe.label_kind))
            example["unknown"] = np.isin(masks[page].planes[0], sorted(ids))
        return example


@dataclass
class _Source:
    """What one image file and its masks hold; `kinds` says how the files are stored."""

    examples: list[Any] = field(default_factory=list)
    unknown: list[Mapping[int, int]] = field(default_factory=list)
    kinds: tuple[str, ...] = ()
    faults: list[tuple[Fault, Any]] = field(default_factory=list)
    whites: list[Found] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    count: int = 1


def read_source(source: Source, recipe: Recipe, *, apart: bool = False) -> _Source:
    """Returns the examples of a source and all faults of its files.

    Examples whose image or label cannot be read are left out; with `apart` they are there, with
    what could be read.
    """
    found = _Source()
    with collected() as faults:
        data = {path: read for path in source.files if (read := _contents(path, faults))}
        images = _images(source, recipe, data, faults)
        labels, unknown = _labels(source, recipe, data, faults, found, images)
        if images is not None and labels is not None:
            check_counts(source, len(labels), len(images))
        found.kinds = tuple(_kind(data[path]) for path in source.files if path in data)
        found.count = max(len(images or ()), len(labels or ()), 1)
        for number in range(found.count):
            example: dict[str, Any] = {"name": page_name(source, number + 1, found.count)}
            if images is not None and number < len(images):
                example["image"] = images[number]
            if labels is not None and number < len(labels):
                example["label"] = labels[number]
            fits = "image" in example and "label" in example
            if fits:
                sizes = [example[key].shape[1::-1] for key in ("label", "image")]
                check_sizes(source, *sizes)
                fits = sizes[0] == sizes[1]
            if fits:
                example |= _objects(source, recipe, data, example, faults)
            if fits or apart:
                found.examples.append(example)
                found.unknown.append(unknown[number] if fits else {})
    found.faults = [(fault, None) for fault in faults]
    return found


def _objects(
    source: Source,
    recipe: Recipe,
    data: Mapping[pathlib.Path, bytes],
    example: Mapping[str, Any],
    faults: list[Fault],
) -> dict[str, Any]:
    """Returns the entries of an example's objects that can be used; {} without objects."""
    if source.objects is None or recipe.objects is None:
        return {}
    files = (*source.objects.files, source.image)
    try:
        read = [data[path] for path in source.objects.files if path in data]
        if len(read) < len(source.objects.files):
            return {}
        size = example["label"].shape[:2]
        drawn = source.objects.make(read, example["label"])
        usable, dropped = usable_objects(drawn, size, recipe.objects, file=files[0])
    except InputError as error:
        faults.append(_as_fault(error, *files))
        return {}
    faults += [
        Fault("dropped_object", f"{line}, so it is left out.", files[0]) for line in dropped
    ]
    return object_entries(usable, size)


def _contents(path: pathlib.Path, faults: list[Fault]) -> bytes | None:
    try:
        data = contents(path)
    except InputError as error:
        faults.append(_as_fault(error, path))
        return None
    if not data:
        text = f"{path} is empty (0 bytes): replace it, or leave it out."
        faults.append(Fault("unreadable", text, path))
    return data


def _as_fault(error: InputError, *paths: pathlib.Path) -> Fault:
    if isinstance(error, Fault):
        return error
    named = [path for path in paths if str(path) in str(error)] or [*paths]
    return Fault("unreadable", str(error), named[0])


def _images(
    source: Source, recipe: Recipe, data: Mapping[pathlib.Path, bytes], faults: list[Fault]
) -> list[np.ndarray] | None:
    """Returns the pixels of each page; None where the file cannot be used."""
    path = source.image
    if path not in data:
        return None
    bytes_read = data[path]
    try:
        if recipe.image_kind.is_shown and not is_array(bytes_read):
            # Decoded once; what cannot be so is refused below, with preparation's own line.
            with contextlib.suppress(InputError):
                return [
                    pixels(upright(page, path, channels=recipe.channels))
                    for page in pages(io.BytesIO(bytes_read), name=path, limit=recipe.limit)
                ]
        images = encoded_images(path, bytes_read, recipe.image_kind)
        return [decoded(image.data) for image in images]
    except InputError as error:
        faults.append(_as_fault(error, path))
        return None


def _labels(
    source: Source,
    recipe: Recipe,
    data: Mapping[pathlib.Path, bytes],
    faults: list[Fault],
    found: "_Source",
    images: Sequence[np.ndarray] | None,
) -> tuple[list[np.ndarray] | None, list[Mapping[int, int]]]:
    """Returns the label of each page with its unknown ids; None where a mask cannot be used."""
    if any(path not in data for path in source.masks):
        return None, []
    labels, unknown = [], []
    try:
        if isinstance(source.label, MadeMask):
            if not images:
                return None, []
            classes = made_classes(
                source.label,
                [data[path] for path in source.masks],
                images[0].shape[:2],
                num_classes=recipe.num_classes,
                label_map=recipe.label_map,
            )
            return [classes], [{}]
        before = len(faults)
        for label in label_pages(source.masks, data, recipe.label_kind):
            labels.append(label.classes)
            found.whites += label.masks
            unknown.append(_summed([fault.pixels for fault in faults[before:]]))
            before = len(faults)
        return labels, unknown
    except InputError as error:
        faults.append(_as_fault(error, *(source.masks or [source.image])))
        _other_masks(source, recipe, data, faults)
        return None, []


def _summed(counts: Iterable[Mapping[int, int]]) -> Mapping[int, int]:
    total: Counter[int] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def _other_masks(
    source: Source, recipe: Recipe, data: Mapping[pathlib.Path, bytes], faults: list[Fault]
) -> None:
    """Adds the faults of a class's own masks after one of them could not be used."""
    if len(source.masks) < 2 or isinstance(source.label, MadeMask):
        return
    kind, known = replace(recipe.label_kind, num_classes=1), {str(fault) for fault in faults}
    for path in source.masks:
        with collected() as more:
            try:
                list(label_pages((path,), data, kind))
            except InputError as error:
                more.append(_as_fault(error, path))
        faults += [fault for fault in more if str(fault) not in known]


def _kind(data: bytes) -> str:
    """Returns how a file is stored: its format, bits a sample and Pillow's mode."""
    try:
        with open_image(io.BytesIO(data)) as image:
            count = len(page_numbers(image))
            _, bits, _ = stored(image)
            several = f", {count} pages" if count > 1 else ""
            return (
                f"{image.format}, {1 if image.mode == '1' else bits}-bit {image.mode}{several}"
            )
    except Exception:  # An array, or its fault has been noted.
        return "NPY" if is_array(data) else "unreadable"


@dataclass
class IndexedExamples:
    """Examples by index, up to `most` of them, spread evenly; a place is an index."""

    data: Any
    check: CheckExample | None
    total: int
    most: int = MOST

    def seen(self, title: str) -> Seen:
        """Returns what the examples hold, and which of them `check` refuses."""
        if not self.total:
            return Seen()
        count = min(self.most, self.total)
        indices = np.unique(np.linspace(0, self.total - 1, count).round().astype(int)).tolist()
        seen = Seen(total=self.total)
        labelled = declares(self.data, LabelledDataset)
        self._classes = len(self.data.class_names) if labelled else 0
        for look, fault, index in _spread(self._look, indices, title):
            seen.looks += [look] if look is not None else []
            seen.faults += [(fault, index)] if fault is not None else []
        return seen

    def _look(self, index: int) -> tuple[Look | None, Fault | None, int]:
        try:
            example = read_example(self.data, index)
            if self.check is not None:
                self.check(example)
        except InputError as error:
            return None, Fault("wrong_example", str(error)), index
        planes = has_planes(self.data)
        return look_at(example, index, classes=self._classes, planes=planes), None, index

    def read(self, place: int) -> Example:
        """Returns an example by its index."""
        return self.data[place]


def _spread(look: Any, places: Any, title: str) -> Iterator[Any]:
    """Yields what `look` finds at each place, in order; all cores read."""
    places = list(places)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm.tqdm(total=len(places), desc=f"Reading {title}", disable=None, leave=False) as bar,
    ):
        for start in range(0, len(places), CHUNK):
            for found in pool.map(look, places[start : start + CHUNK]):
                bar.update()
                yield found
