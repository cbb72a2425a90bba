"""YOLO segmentation: text files with a class number and a normalised outline on each line."""

import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from segjax.convert import outlines
from segjax.convert.annotated import (
    Annotated,
    Annotations,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.documents import read_lines
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of_path
from segjax.convert.outlines import numbers
from segjax.convert.yolo_names import listed_names, yaml_names
from segjax.data.files import IMAGES
from segjax.data.names import composed
from segjax.errors import InputError

FOLDERS = {"images": ("labels", "annotations"), "obj_train_data": ("obj_train_data",)}
"""Folders of images, in lower case, and what the folders of their labels are called."""

LISTS = ("classes.txt", "obj.names", "names.txt", "_darknet.labels")

BOX = " (box)"

_LINE = re.compile(r"\d+(\s+[-+.\deE]+){4,}")


@dataclass(frozen=True)
class YoloSeg:
    """Outlines are drawn by COCO's rule; a box among outlines is filled.

    Images without a label file count, and have no objects.
    """

    name: str = "yolo"
    title: str = "YOLO segmentation text files"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many images have a YOLO label file, or None."""
        labels = _labels(files)
        if not labels:
            return None
        lines = next(filter(None, (_quick_lines(path) for path in labels.values())), [])
        if lines and not all(_LINE.fullmatch(line) for line in lines):
            return None
        return f"{len(labels)} YOLO label files" if lines else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns every image, with the outlines of its label file.

        Raises:
          InputError: the classes have no names, or no line has an outline.
        """
        labels = _labels(files)
        names = options.names or _names(files)

        def image(path: pathlib.Path) -> Annotated:
            """Returns the annotated image of a file."""
            label = labels.get(path)
            return Annotated(
                image=path,
                name=image_name(path, files),
                regions=list(_regions(label, names)) if label else [],
                split=split_of_path(path, files.root),
                where=str(label or path),
            )

        images, problems = each_image(files.find(*IMAGES), image)
        regions = [region for image in images for region in image.regions]
        boxes = sum(region.where.endswith(BOX) for region in regions)
        if not problems:
            _check_outlines(files, objects=len(regions), boxes=boxes)
        alone = sum(image not in labels for image in files.find(*IMAGES))
        notes = []
        if boxes:
            notes.append(f"boxes without an outline are filled: {boxes}")
        if alone:
            notes.append(f"images without a label file are all background: {alone}")
        return Annotations(images, names, notes=tuple(notes), problems=problems)


def _check_outlines(files: SourceFiles, *, objects: int, boxes: int) -> None:
    if not objects:
        raise InputError(
            f"{files.root} has no YOLO label file with an object: labels of images/a.jpg are "
            "in labels/a.txt."
        )
    if objects == boxes:
        raise InputError(
            f"{files.root} has boxes and no outlines ({boxes} in all): its labels are for "
            "detection, and a box does not say which pixels are the object. Export the dataset "
            "for segmentation."
        )


def _labels(files: SourceFiles) -> dict[pathlib.Path, pathlib.Path]:
    """Returns {image: its label file}, for images that have one."""
    texts = {_place(path.parent, path.stem): path for path in files.find(".txt")}
    if not texts:
        return {}
    return {
        image: texts[place]
        for image in files.find(*IMAGES)
        for place in _places(image, files.root, texts)[:1]
    }


def _places(image: pathlib.Path, root: pathlib.Path, texts: dict) -> list[tuple[str, str]]:
    """Returns where the label file of an image is: beside it, or in the folder of labels."""
    folders = [image.parent]
    parts = image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ()
    for place in reversed(range(len(parts))):
        for other in FOLDERS.get(parts[place].casefold(), ()):
            above = root.joinpath(*parts[:place])
            folders += [
                folder.joinpath(*parts[place + 1 :])
                for folder in _children(above)
                if folder.name.casefold() == other
            ]
    places = [_place(folder, image.stem) for folder in folders]
    return [place for place in places if place in texts]


def _place(folder: pathlib.Path, stem: str) -> tuple[str, str]:
    """Returns what a label file and its image share; macOS may write an umlaut as two signs."""
    return composed(str(folder)), composed(stem)


def _children(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _quick_lines(path: pathlib.Path) -> list[str]:
    """Returns the first lines of a file, if it is text."""
    try:
        return [line for _, line in read_lines(path)[:3]]
    except InputError:
        return []


def _names(files: SourceFiles) -> tuple[str, ...]:
    """Returns the class names by number, from the one file that has them.

    Raises:
      InputError: no file has them, or two have different ones.
    """
    found: dict[pathlib.Path, tuple[str, ...]] = {}
    for path in files.find(".yaml", ".yml"):
        if names := yaml_names(path):
            found[path] = names
    if not found:
        for path in files.find(".txt", ".names", ".labels"):
            if path.name.casefold() in LISTS:
                found[path] = listed_names(path)
    if not found:
        raise InputError(
            f"{files.root} has no data.yaml, obj.names or classes.txt with the names of its "
            'classes: give them in the order of their numbers, --names "NAME,NAME".'
        )
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise InputError(
                f"{first} and {other} name different classes: remove one of them, or give the "
                'names with --names "NAME,NAME".'
            )
    return found[first]


def _regions(path: pathlib.Path, names: Sequence[str]) -> Iterator[Region]:
    for number, line in read_lines(path):
        where = f"{path}, line {number},"
        index, *values = line.split()
        if not index.isdecimal() or int(index) >= len(names):
            raise InputError(
                f"{where} has the class {index}, and there are {len(names)} classes, 0 to "
                f"{len(names) - 1}: correct it, or give all names with --names."
            )
        if len(values) == 4:
            centre_x, centre_y, width, height = numbers(values, where=where)
            yield Region(
                names[int(index)],
                _box(centre_x, centre_y, width, height, where),
                instance=number,
                where=f"line {number}{BOX}",
            )
            continue
        shares = numbers(values, where=where)
        _check_shares(shares, where)
        outlines.check_polygon(shares, where=where)
        yield Region(
            names[int(index)], _outline(shares, where), instance=number, where=f"line {number}"
        )


def _box(
    x: float, y: float, width: float, height: float, where: str
) -> Callable[[Size], Mask_HW]:
    sides = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    left, top, right, bottom = sides
    _check_shares([x, y, width, height], where)
    return _outline([left, top, right, top, right, bottom, left, bottom], where)


def _outline(shares: Sequence[float], where: str) -> Callable[[Size], Mask_HW]:
    """Returns what draws an outline whose coordinates are shares of the image's sides."""

    def draw(size: Size) -> Mask_HW:
        """Returns the polygon's mask."""
        sides = (size.width, size.height)
        x_y = [share * sides[place % 2] for place, share in enumerate(shares)]
        return outlines.polygon(x_y, where=where).draw(size)

    return draw


def _check_shares(shares: Sequence[float], where: str) -> None:
    # A little beyond the edge comes from rounding, and from tools that do not clip.
    wrong = [share for share in shares if not -0.5 <= share <= 1.5]
    if wrong:
        raise InputError(
            f"{where} has the coordinate {wrong[0]:g}, but YOLO's are shares of the image's "
            "width and height, 0 to 1: divide by them, or delete the line."
        )


YOLO_SEG = YoloSeg()
