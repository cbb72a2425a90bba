"""Datasets whose records hold encoded images and masks, read where they are.

Nothing is copied into the cache. `prepare` decodes and checks every record once, and notes in
the cache that it has done so.
"""

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import tqdm

from segjax.atomic import write_text
from segjax.contracts import IGNORE, Example
from segjax.data.cache import cache_root
from segjax.data.contents import digest
from segjax.data.faults import raise_first
from segjax.data.image_files import ImageKind, image_pages
from segjax.data.label_map import check_label_map, ids_of_files
from segjax.data.label_pages import label_pages
from segjax.data.mask_files import LabelKind
from segjax.data.palette import check_colours, palette_of, voc_palette
from segjax.data.prepare import CHUNK
from segjax.data.whites import Found, mixed_whites
from segjax.errors import InputError

VERSION = 1
"""Part of every note: raise it when records are checked differently."""


class Record(NamedTuple):
    """An example's name, and the contents of its image file and of its mask file."""

    name: str
    image: bytes
    mask: bytes


class Records(Protocol):
    """Records by index."""

    @property
    def title(self) -> str:
        """What they are called in lines for users, such as "oxford_iiit_pet, train"."""
        ...

    @property
    def key(self) -> str | None:
        """What changes when a record does; None where that is not known."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


class RecordDataset:
    """`prepare`, `len` and indexing for a dataset that can open its records.

    Each dataset is a frozen dataclass with the fields below and `_open`.
    """

    directory: str | None
    class_names: tuple[str, ...]
    label_map: Any
    channels: int
    colours: tuple[tuple[int, int, int], ...] | None

    def _open(self) -> Records:
        """Returns the records, or raises `InputError`."""
        raise NotImplementedError

    def _check_fields(self) -> None:
        who, names = type(self).__name__, self.class_names
        are_texts = isinstance(names, tuple) and all(isinstance(n, str) for n in names)
        if not are_texts or not 1 <= len(names) <= IGNORE:
            raise InputError(
                f"{who} needs class_names=('background', ...), 1 to 255 names, got {names!r}."
            )
        for field in ("name", "split", "image", "mask"):
            value = getattr(self, field, "train")
            if not isinstance(value, str) or not value:
                raise InputError(f"{who} has {field}={value!r}: write a name, in quotes.")
        if not isinstance(self.directory, str | os.PathLike | None):
            raise InputError(
                f"{who} has directory={self.directory!r}: write directory='my_data'."
            )
        if self.channels not in (1, 3) or isinstance(self.channels, bool):
            raise InputError(
                f"{who} makes images of channels=3 (RGB) or 1 (grey), got {self.channels!r}."
            )
        check_label_map(self.label_map, len(names))
        check_colours(who, self.colours, len(names))

    @property
    def palette(self) -> np.ndarray:
        """`colours`, or VOC's."""
        return voc_palette() if self.colours is None else palette_of(self.colours)

    @property
    def file_ids(self) -> tuple[int, ...]:
        """The id in the records of each class, and last that of ignored pixels.

        Raises:
          InputError: a class has no single id.
        """
        return ids_of_files(self.label_map, self.class_names)

    @cached_property
    def _records(self) -> Records:
        return self._open()

    @property
    def _label_kind(self) -> LabelKind:
        return LabelKind(len(self.class_names), self.label_map)

    def prepare(self) -> None:
        """Opens the records, decodes and checks each of them, unless a former run has.

        Raises:
          InputError: the records are missing or of another kind, or one cannot be read or does
            not fit; all in one line.
        """
        records = self._records
        note = None if records.key is None else self._note(records.key)
        if note is not None and note.is_file():
            return
        if not len(records):
            raise InputError(f"{records.title} has no examples: name another split.")
        problems, masks = [], []
        for result in self._all_checked(records):
            masks += result if isinstance(result, list) else []
            problems += [str(result)] if isinstance(result, InputError) else []
        raise_first(problems)
        raise_first([line] if (line := mixed_whites(masks, self.label_map)) else [])
        if note is not None:
            with contextlib.suppress(OSError):  # A read-only cache costs another check.
                note.parent.mkdir(parents=True, exist_ok=True)
                write_text(note, json.dumps({"examples": len(records)}))

    def _note(self, key: str) -> pathlib.Path:
        about = [VERSION, key, len(self.class_names), self.label_map, self.channels]
        return cache_root() / "checked" / f"{digest(json.dumps(about).encode())[:20]}.json"

    def _all_checked(self, records: Records) -> Iterator[list[Found] | InputError]:
        def check(index: int) -> list[Found] | InputError:
            """Returns what is noted of a record's mask, or what is wrong."""
            try:
                return self._read(records[index])[1]
            except InputError as error:
                return error

        title = f"Checking {records.title}"
        if not sys.stderr.isatty():
            print(f"{title}: {len(records)} examples.", file=sys.stderr)
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm.tqdm(total=len(records), desc=title, disable=None, leave=False) as bar,
        ):
            for start in range(0, len(records), CHUNK):
                for result in pool.map(check, range(start, min(start + CHUNK, len(records)))):
                    bar.update()
                    yield result

    def _read(self, record: Record) -> tuple[Example, list[Found]]:
        """Returns the example of a record, and what is noted of its mask."""
        image_file, mask_file = (
            pathlib.PurePosixPath(self._records.title, record.name, part)
            for part in ("image", "mask")
        )
        kind = ImageKind(self.channels)
        image = _only(image_pages(pathlib.Path(image_file), record.image, kind), image_file)
        path = pathlib.Path(mask_file)
        label = _only(label_pages((path,), {path: record.mask}, self._label_kind), mask_file)
        if label.classes.shape != image.pixels.shape[:2]:
            (h, w), (height, width) = label.classes.shape, image.pixels.shape[:2]
            raise InputError(
                f"{mask_file} is {w}x{h} pixels, but its image is {width}x{height} (width x "
                "height): mend the pair, or leave it out."
            )
        example = {"image": image.pixels, "label": label.classes, "name": record.name}
        return example, label.masks

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Example {index} of {len(self)}.")
        return self._read(self._records[index])[0]


def _only(found: Iterable[Any], name: pathlib.PurePath) -> Any:
    first, *others = found
    if others:
        raise InputError(f"{name} holds {len(others) + 1} images: a record has one.")
    return first


def nested(record: Mapping[str, Any], path: str) -> Any:
    """Returns what stands at "a/b" in a record of records.

    >>> nested({"a": {"b": 7}}, "a/b")
    7
    """
    for part in path.split("/"):
        record = record[part]
    return record
