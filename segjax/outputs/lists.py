"""Lists of all images' predictions, read back from their masks: areas, COCO's annotations."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol, TextIO

import numpy as np

from segjax.atomic import atomic_path
from segjax.data.decode import UNLIMITED, decode
from segjax.drawing.annotations import PREDICTED, coco_categories, coco_regions
from segjax.drawing.composite import areas
from segjax.outputs.record import Record
from segjax.outputs.writer import Entry

AREAS = "areas.csv"
COCO = "annotations.json"

Colour = tuple[int, int, int]

Masks = Iterable[tuple[Entry, pathlib.Path]]
"""What became of an image, and its mask's file."""


class ImageList(Protocol):
    """A list of all images' predictions."""

    file: ClassVar[str]

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all."""
        ...


def hex_colour(colour: Colour) -> str:
    """Returns red, green and blue as web pages and spreadsheets write them.

    >>> hex_colour((128, 0, 255))
    '#8000ff'
    """
    return "#" + "".join(f"{part:02x}" for part in colour)


@dataclasses.dataclass(frozen=True)
class Areas:
    """Image, class, pixels, fraction, colour: a line for each image and each class.

    The colour is the one of masks and overlays, written as #rrggbb.
    """

    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    file: ClassVar[str] = AREAS

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all.

        Raises:
          InputError: a mask cannot be read.
        """
        with atomic_path(path) as partial, written(partial) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("image", "class", "pixels", "fraction", "colour"))
            names, colours = self.class_names, [hex_colour(each) for each in self.colours]
            for entry, label in _labels(masks):
                counts = areas(label, len(names)).tolist()
                for name, count, colour in zip(names, counts, colours, strict=True):
                    share = f"{count / label.size:.6f}"
                    rows.writerow((entry.name, name, count, share, colour))


@dataclasses.dataclass(frozen=True)
class Coco:
    """COCO's images, categories, and an annotation for each region of `classes`.

    Images are called as their files: below the inputs, or for one of several in a file, below
    the output folder. Annotations go to the file image by image: no more than one image's are
    in memory.
    """

    class_names: tuple[str, ...]
    classes: tuple[int, ...]
    tolerance: float
    file: ClassVar[str] = COCO

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all.

        Raises:
          InputError: a mask cannot be read.
        """
        categories = coco_categories(self.class_names, self.classes)
        head = {"info": {"description": PREDICTED}, "categories": categories}
        images: list[dict[str, Any]] = []
        count = 0
        with atomic_path(path) as partial, written(partial) as file:
            file.write(json.dumps(head)[:-1] + ', "annotations": [')
            for number, (entry, label) in enumerate(_labels(masks), start=1):
                height, width = label.shape
                size = {"height": height, "width": width}
                images.append({"id": number, "file_name": entry.file_name, **size})
                for region in coco_regions(label, self.classes, tolerance=self.tolerance):
                    count += 1
                    annotation = {"id": count, "image_id": number, **region}
                    file.write(("\n" if count == 1 else ",\n") + json.dumps(annotation))
            file.write('], "images": ' + json.dumps(images) + "}\n")


def write_lists(
    lists: Sequence[ImageList],
    out: pathlib.Path,
    entries: Sequence[Entry],
    *,
    record: Record,
) -> list[str]:
    """Writes lists of all images that have a mask, if any has; returns the lists' files.

    Raises:
      InputError: a mask cannot be read.
    """
    masks = [(entry, entry.files[0]) for entry in entries if entry.error is None]
    for each in lists if masks else ():
        record.claim(out / each.file)
        each.write(out / each.file, masks)
    return [str(out / each.file) for each in lists if masks]


def written(path: pathlib.Path) -> TextIO:
    """Returns a UTF-8 file to write; bytes that are not text are written as escapes."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def _labels(masks: Masks) -> Iterator[tuple[Entry, np.ndarray]]:
    return ((entry, np.array(decode(path, limit=UNLIMITED).image)) for entry, path in masks)
