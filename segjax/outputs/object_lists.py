"""Lists of the objects of all images: measurements, counts, COCO's objects and panoptic lists.

They read the objects back from `<stem>_objects.json`, so finished images need no network.
"""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from segjax.atomic import atomic_path
from segjax.drawing.annotations import PREDICTED
from segjax.objects import decoded
from segjax.outputs.found import SUFFIX, read_found
from segjax.outputs.lists import AREAS, COCO, Colour, Masks, written
from segjax.outputs.selection import Selection
from segjax.outputs.writer import Entry

COUNTS = "counts.csv"
PANOPTIC = "panoptic.json"

MEASURED = (
    "image",
    "object",
    "class",
    "score",
    "pixels",
    "left",
    "top",
    "width",
    "height",
    "center_x",
    "center_y",
    "equivalent_diameter",
)

Found = Mapping[str, Any]
"""An object as `segjax.outputs.found` writes it."""


def _images(masks: Masks) -> Iterator[tuple[Entry, pathlib.Path, Found]]:
    """Yields of each image its entry, its PNG, and what was found in it."""
    for entry, path in masks:
        (listed,) = (file for file in entry.files if file.name.endswith(SUFFIX))
        yield entry, path, read_found(listed)


def _shown(found: Found, selection: Selection) -> list[Found]:
    scores = np.array([each["score"] for each in found["objects"]], np.float32)
    return found["objects"][: selection.count(scores)]


@dataclasses.dataclass(frozen=True)
class ObjectAreas:
    """A line for each object: its class, score, pixels, box, centre and diameter.

    All but the score is of the object's own mask, parts below other objects included. The
    diameter is that of a disk of as many pixels.
    """

    selection: Selection
    file: ClassVar[str] = AREAS

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all.

        Raises:
          InputError: what was found in an image cannot be read.
        """
        with atomic_path(path) as partial, written(partial) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(MEASURED)
            for entry, _, found in _images(masks):
                for each in _shown(found, self.selection):
                    about = (entry.name, each["id"], each["class"], f"{each['score']:.4f}")
                    rows.writerow((*about, *measures(each)))


def measures(found: Found) -> tuple[str, ...]:
    """Returns pixels, box (left, top, width, height), centre (x, y) and diameter of an object.

    Pixel (x, y) covers x … x + 1 by y … y + 1, so the centre of the first pixel is (0.5, 0.5).
    """
    if "segmentation" not in found:
        left, top, width, height = found["bbox"]
        numbers = [found["area"], left, top, width, height, left + width / 2, top + height / 2]
    else:
        rows, columns = np.nonzero(decoded(found["segmentation"]))
        numbers = [0] * 7
        if rows.size:
            left, top = int(columns.min()), int(rows.min())
            sides = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
            numbers = [rows.size, left, top, *sides, columns.mean() + 0.5, rows.mean() + 0.5]
    diameter = 2 * (numbers[0] / np.pi) ** 0.5
    return (*(f"{n:g}" for n in numbers[:5]), *(f"{n:.2f}" for n in (*numbers[5:], diameter)))


@dataclasses.dataclass(frozen=True)
class Counts:
    """A line for each image and class: how many objects, and how many pixels they have."""

    class_names: tuple[str, ...]
    classes: tuple[int, ...]
    selection: Selection
    file: ClassVar[str] = COUNTS

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all.

        Raises:
          InputError: what was found in an image cannot be read.
        """
        with atomic_path(path) as partial, written(partial) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("image", "class", "objects", "pixels", "mean_pixels"))
            for entry, _, found in _images(masks):
                shown = _shown(found, self.selection)
                for index in self.classes:
                    areas = [e["area"] for e in shown if e["category_id"] == index + 1]
                    mean = f"{sum(areas) / len(areas):.2f}" if areas else ""
                    counted = len(areas), f"{sum(areas):g}", mean
                    rows.writerow((entry.name, self.class_names[index], *counted))


@dataclasses.dataclass(frozen=True)
class CocoObjects:
    """COCO's images, categories, and an annotation for each object, with its score.

    It serves as truth, and its annotations as results, for `pycocotools`. Better objects come
    later, because readers that paint a mask let later annotations cover earlier ones.

    Attributes:
      class_names: all of them.
      things: ids of the classes whose objects are counted.
      stuff: ids of the classes whose regions are not.
      selection: which objects.
    """

    class_names: tuple[str, ...]
    things: tuple[int, ...]
    stuff: tuple[int, ...]
    selection: Selection
    file: ClassVar[str] = COCO

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all.

        Raises:
          InputError: what was found in an image cannot be read.
        """
        head = {"categories": categories(self.class_names, self.things, self.stuff)}
        _write_coco(path, masks, head, self._annotations)

    def _annotations(self, found: Found, path: pathlib.Path) -> Iterator[dict[str, Any]]:
        for each in reversed(_shown(found, self.selection)):
            kept = ("category_id", "bbox", "area", "score", "segmentation")
            yield {**{key: each[key] for key in kept if key in each}, "iscrowd": 0}


@dataclasses.dataclass(frozen=True)
class PanopticList:
    """COCO's panoptic list: the PNG of each image and its segments, as panopticapi reads it.

    Attributes:
      class_names, colours: of all classes.
      things: ids of the classes that are counted.
    """

    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    things: tuple[int, ...]
    file: ClassVar[str] = PANOPTIC

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all.

        Raises:
          InputError: what was found in an image cannot be read.
        """
        stuff = tuple({*range(len(self.class_names))} - {*self.things})
        listed = categories(self.class_names, self.things, stuff)
        for each in listed:
            each["color"] = list(self.colours[each["id"] - 1])
        _write_coco(path, masks, {"categories": listed}, self._annotation(path.parent))

    def _annotation(self, out: pathlib.Path) -> Callable[..., Iterator[dict[str, Any]]]:
        def annotation(found: Found, path: pathlib.Path) -> Iterator[dict[str, Any]]:
            kept = ("id", "category_id", "area", "score")
            segments = [
                {**{key: each[key] for key in kept}, "bbox": _whole(each), "iscrowd": 0}
                for each in found["objects"]
            ]
            name = path.relative_to(out).as_posix()
            yield {"file_name": name, "segments_info": segments}

        return annotation


def _whole(found: Found) -> list[int]:
    return [round(value) for value in found["bbox"]]


def categories(
    class_names: Sequence[str], things: Sequence[int], stuff: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns COCO categories; ids are class ids plus 1, as COCO's begin at 1."""
    return [
        {"id": index + 1, "name": class_names[index], "isthing": int(index in things)}
        for index in sorted((*things, *stuff))
    ]


def _write_coco(
    path: pathlib.Path,
    masks: Masks,
    head: Mapping[str, Any],
    annotations: Callable[[Found, pathlib.Path], Iterator[dict[str, Any]]],
) -> None:
    """Writes the annotations of all images; no more than one image's are in memory."""
    images: list[dict[str, Any]] = []
    count = 0
    with atomic_path(path) as partial, written(partial) as file:
        head = {"info": {"description": PREDICTED}, **head}
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for number, (entry, png, found) in enumerate(_images(masks), start=1):
            size = {"height": found["height"], "width": found["width"]}
            images.append({"id": number, "file_name": entry.file_name, **size})
            for annotation in annotations(found, png):
                count += 1
                numbered = {"id": count, "image_id": number, **annotation}
                file.write(("\n" if count == 1 else ",\n") + json.dumps(numbered))
        file.write('], "images": ' + json.dumps(images) + "}\n")
