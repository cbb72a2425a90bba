"""Cityscapes' layout: gtFine/SPLIT/CITY/*_gtFine_labelIds.png and its other files."""

import pathlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    ClassMap,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.colour_tables import ColourTable, read_table
from segjax.convert.grey_values import read_values
from segjax.convert.image_files import each_image
from segjax.convert.layouts import split_of_path
from segjax.convert.object_maps import Ids_HW, object_regions
from segjax.convert.outlines import check_polygon, is_number, numbers
from segjax.data.cityscapes import CLASSES, IDS
from segjax.data.files import IMAGES
from segjax.data.names import composed
from segjax.errors import InputError

KINDS = ("labelIds", "instanceIds", "labelTrainIds", "polygons")
"""The files of a frame; the first that is there is read, and instanceIds for the objects."""

_LABELS = re.compile(r"(.+)_(gtFine|gtCoarse)_(labelIds|instanceIds|labelTrainIds|polygons)")
_IMAGE = re.compile(r"(.+)_leftImg8bit")

BACKGROUNDS = ("background", "unlabeled")


@dataclass(frozen=True)
class CityscapesLayout:
    """The 19 classes that are evaluated; pixels of other ids are ignored.

    If `label_colors.txt` lies there, as CVAT writes it, its lines are the classes of the ids 0,
    1, …. Polygons are drawn by Pillow, as Cityscapes' own scripts draw them.
    """

    name: str = "cityscapes"
    title: str = "Cityscapes' layout"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many frames have labels, or None."""
        frames = _frames(files)
        return f"{len(frames)} frames in Cityscapes' layout" if frames else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each frame that has labels.

        Raises:
          InputError: label_colors.txt cannot be used.
        """
        del options
        custom = next(
            (read_table(p) for p in files.find(".txt") if p.name == "label_colors.txt"), None
        )
        pictures = {
            composed(match[1]): path
            for path in files.find(*IMAGES)
            if (match := _IMAGE.fullmatch(path.stem))
        }
        frames = _frames(files)

        def image(frame: str) -> Annotated:
            """Returns the annotated image of a frame."""
            labels = frames[frame]
            first = labels[next(kind for kind in KINDS if kind in labels)]
            if frame not in pictures:
                raise InputError(
                    f"{first} has no image {frame}_leftImg8bit.png: unpack leftImg8bit beside "
                    "it, or give --images DIR."
                )
            return Annotated(
                image=pictures[frame],
                name=f"{first.parent.name}/{frame}",
                split=split_of_path(first, files.root),
                where=str(first),
                **_labelled(files, labels, custom),
            )

        images, problems = each_image(sorted(frames), image)
        if custom:
            names, background = custom.class_names, custom.background
            return Annotations(images, names, background, custom.colours, problems=problems)
        colours = {name: colour for name, (_, colour) in CLASSES.items()}
        return Annotations(images, tuple(CLASSES), IGNORED, colours, problems=problems)


def _frames(files: SourceFiles) -> dict[str, dict[str, pathlib.Path]]:
    """Returns {frame: {kind: its file}}."""
    frames: dict[str, dict[str, pathlib.Path]] = {}
    for path in files.find(".png", ".json"):
        if match := _LABELS.fullmatch(path.stem):
            frames.setdefault(composed(match[1]), {})[match[3]] = path
    return frames


def _labelled(
    files: SourceFiles, labels: Mapping[str, pathlib.Path], custom: ColourTable | None
) -> dict:
    """Returns the fields of a frame that hold its labels."""
    names = custom.names if custom else _names()
    if "labelIds" in labels or "instanceIds" in labels:
        path = labels.get("labelIds") or labels["instanceIds"]
        read = read_values if "labelIds" in labels else _ids_of_instances
        class_map = ClassMap(partial(read, path), names, where=str(path))
        objects = partial(_objects, labels["instanceIds"]) if "instanceIds" in labels else None
        regions = object_regions(objects, class_map) if objects else ()
        return {"class_map": class_map, "regions": regions}
    if "labelTrainIds" in labels:
        path = labels["labelTrainIds"]
        names = custom.names if custom else dict(enumerate(CLASSES))
        class_map = ClassMap(partial(read_values, path), {**names, 255: IGNORED}, str(path))
        return {"class_map": class_map}
    path = labels["polygons"]
    data = files.json(path)
    try:
        size = Size(int(data["imgHeight"]), int(data["imgWidth"]))
        objects = [(o["label"], o["polygon"]) for o in data["objects"] if not o.get("deleted")]
        if wrong := [label for label, _ in objects if not isinstance(label, str)]:
            raise ValueError(f"the label {wrong[0]!r:.40}")
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} is not a file of Cityscapes' polygons ({error!r} is missing or wrong): "
            "write it again."
        ) from None
    classes = custom.class_names if custom else tuple(CLASSES)
    return {"regions": list(_polygons(objects, path, classes)), "size": size}


def _names() -> dict[int, str]:
    """Returns {id: class}; ids that are not evaluated are ignored."""
    names = dict.fromkeys(range(-1, IDS), IGNORED)
    return names | {number: name for name, (number, _) in CLASSES.items()} | {255: IGNORED}


def _ids_of_instances(path: pathlib.Path) -> Ids_HW:
    values = read_values(path).astype(np.int64)
    return np.where(values >= 1000, values // 1000, values)


def _objects(path: pathlib.Path) -> Ids_HW:
    values = read_values(path).astype(np.int64)
    return np.where(values >= 1000, values, 0)


def _polygons(
    objects: list[tuple[str, list]], path: pathlib.Path, classes: tuple[str, ...]
) -> Iterator[Region]:
    """Yields the polygons in their order; `cargroup` is a crowd of cars."""
    for number, (label, polygon) in enumerate(objects, 1):
        where = f"{path}, object {number} ({label})"
        is_group = label not in classes and label.endswith("group")
        name = label.removesuffix("group") if is_group else label
        if label == "license plate":  # Its pixels keep the id of the car behind it.
            continue
        x_y = numbers(_flat(polygon, where), where=where)
        check_polygon(x_y, where=where)
        yield Region(
            name if name in classes else IGNORED,
            partial(_drawn, x_y),
            instance=number,
            is_crowd=is_group,
            where=where,
            bounds=(min(x_y[::2]), min(x_y[1::2]), max(x_y[::2]), max(x_y[1::2])),
        )


def _flat(polygon: Any, where: str) -> list[float]:
    """Returns x1, y1, x2, y2, … of [[x1, y1], …].

    Raises:
      InputError: it is not a list of pairs of numbers.
    """
    points = polygon if isinstance(polygon, list) else [polygon]
    for point in points:
        if not (isinstance(point, list) and len(point) == 2 and all(map(is_number, point))):
            raise InputError(
                f"{where} has the point {point!r:.40}, which is not a pair of numbers: write "
                "the file again."
            )
    return [value for point in points for value in point]


def _drawn(x_y: list[float], size: Size) -> Mask_HW:
    image = Image.new("L", (size.width, size.height))
    ImageDraw.Draw(image).polygon(x_y, fill=1)
    return np.asarray(image) > 0


CITYSCAPES_LAYOUT = CityscapesLayout()
