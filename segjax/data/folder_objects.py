"""The objects of a `Folder`: a map of ids beside each image, or one COCO file for all."""

import json
import pathlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from segjax.data.coco_file import CocoImage
from segjax.data.coco_index import CocoIndex, Row
from segjax.data.coco_objects import drawn_annotations
from segjax.data.contents import digest
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.drawn_objects import DrawnObject, MadeObjects, MakeObjects
from segjax.data.faults import Fault, report
from segjax.data.file_pattern import FilePattern
from segjax.data.files import MASKS, MASKS_BY_NAME, by_stem
from segjax.data.id_maps import objects_of_label, read_ids
from segjax.data.names import composed, inside, near_entry
from segjax.data.source import Source
from segjax.errors import InputError

JSON = ".json"


class FolderObjects(NamedTuple):
    """Where a folder's objects are, and which of them count.

    Attributes:
      text: the field `objects`: a folder, a pattern, or the name of a COCO file.
      class_names: of the dataset.
      only: the ids of `thing_classes`, whose objects alone are wanted; None for all.
      limit: the largest map that is decoded.
    """

    text: str
    class_names: tuple[str, ...]
    only: tuple[int, ...] | None
    limit: Limit

    @property
    def pattern(self) -> FilePattern | None:
        """The names of the maps of ids; None where one file holds all objects."""
        if self.text.lower().endswith(JSON) and "{" not in self.text:
            return None
        if "{" in self.text:
            return FilePattern.of(self.text, MASKS, field="objects", named=MASKS_BY_NAME[:1])
        return FilePattern.of_folder(self.text, MASKS)


def check_object_fields(
    objects: str | None,
    thing_classes: Sequence[str] | None,
    class_names: Sequence[str],
    *,
    planes: bool,
) -> None:
    """Raises InputError unless the fields of a `Folder` that are about objects fit.

    Raises:
      InputError: the line names the field and what to write.
    """
    if objects is None:
        if thing_classes is not None:
            raise InputError(
                f"Folder has thing_classes={thing_classes!r}, but no objects: set "
                'objects="instances", or leave thing_classes out.'
            )
        return
    if planes:
        raise InputError(
            f"Folder has objects={objects!r} and a mask for each class: objects need masks of "
            "class ids."
        )
    if unknown := [each for each in thing_classes or () if each not in class_names]:
        raise InputError(
            f"Folder has {unknown[0]!r} in thing_classes, which is not in class_names: write "
            "one of its names."
        )
    if thing_classes is None and len(class_names) < 2:
        raise InputError(
            f"Folder has objects={objects!r} and the class {class_names[0]!r} alone, which is "
            "the background: name the classes of objects behind it."
        )
    _ = FolderObjects(objects, (), None, DEFAULT_LIMIT).pattern  # Checks the names of files.


def with_objects(
    sources: Sequence[Source], objects: FolderObjects, *, root: pathlib.Path, split: str | None
) -> list[Source]:
    """Returns the sources of a folder, each with its objects.

    Raises:
      InputError: the folder, a map or the file is missing, or the file does not list an image.
    """
    pattern = objects.pattern
    if pattern is None:
        return _of_json(sources, objects, inside(root, objects.text), root)
    return _of_maps(sources, objects, pattern, root, split)


def _of_maps(
    sources: Sequence[Source],
    objects: FolderObjects,
    pattern: FilePattern,
    root: pathlib.Path,
    split: str | None,
) -> list[Source]:
    folder = inside(root, pattern.folder)
    if split is not None and inside(folder, split).is_dir():
        folder = inside(folder, split)
    there = by_stem(folder, pattern.suffixes)
    found = [(source, there.get(pattern.name(composed(source.name)))) for source in sources]
    report([partial(_no_map, source, folder, pattern) for source, path in found if not path])
    return [
        replace(
            source,
            objects=MadeObjects(
                make=_map_objects(path, objects),
                key=f"map {source.name} {objects.only}",
                where=str(path),
                files=(path,),
            ),
        )
        for source, path in found
        if path
    ]


def _no_map(source: Source, folder: pathlib.Path, pattern: FilePattern) -> Fault:
    suffix = pattern.suffixes[0] if len(pattern.suffixes) == 1 else ".*"
    text = (
        f"The image {source.image} has no map of objects "
        f"{folder / pattern.name(source.name)}{suffix}: add it, or leave the image out."
    )
    return Fault("missing_mask", text, source.image)


def _map_objects(path: pathlib.Path, objects: FolderObjects) -> MakeObjects:
    def make(contents: Sequence[bytes], label: np.ndarray) -> Sequence[DrawnObject]:
        """Returns the objects of a map of ids."""
        size = (label.shape[0], label.shape[1])
        ids = read_ids(path, contents[0], size, limit=objects.limit)
        return objects_of_label(ids, label, only=objects.only, where=str(path))

    return make


def _of_json(
    sources: Sequence[Source], objects: FolderObjects, path: pathlib.Path, root: pathlib.Path
) -> list[Source]:
    if not path.is_file():
        raise InputError(
            f"Folder has objects={objects.text!r}, but {path} is missing{near_entry(path)}: "
            "add the file, or change objects=..."
        )
    index = CocoIndex(path, categories=None)
    numbers = {file: number for number, file in index.rows("all", _row)}
    listed = [(source, _number(source, numbers, root)) for source in sources]
    report([partial(_not_listed, source, path) for source, number in listed if number is None])
    about = digest(json.dumps([objects.class_names, objects.only]).encode())[:8]
    return [
        replace(
            source,
            objects=MadeObjects(
                make=_json_objects(index, number, objects),
                key=f"json, areas {index.digest} {about} {number}",
                where=f"{path}, image {number}",
            ),
        )
        for source, number in listed
        if number is not None
    ]


def _row(image: CocoImage) -> Row:
    return [str(image.id), image.file]


def _number(source: Source, numbers: dict[str, str], root: pathlib.Path) -> str | None:
    """Returns the id of a source's image: that of the longest end of its path in the file."""
    path = source.image
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[1:]
    ends = (composed("/".join(parts[first:])) for first in range(len(parts)))
    return next((numbers[end] for end in ends if end in numbers), None)


def _not_listed(source: Source, path: pathlib.Path) -> Fault:
    text = f"{path} does not list the image {source.image}: add it, or leave the image out."
    return Fault("missing_mask", text, source.image)


def _json_objects(index: CocoIndex, number: str, objects: FolderObjects) -> MakeObjects:
    def make(contents: Sequence[bytes], label: np.ndarray) -> Sequence[DrawnObject]:
        """Returns the objects of an image in the COCO file."""
        del contents
        annotations = index.image(number).annotations
        used = {each["category_id"] for each in annotations}
        classes = _classes(index, objects, used)
        size = (label.shape[0], label.shape[1])
        return drawn_annotations(index.path, annotations, classes, size)

    return make


def _classes(index: CocoIndex, objects: FolderObjects, used: set) -> dict:
    """Returns {category id: class id} of those whose objects are wanted.

    Raises:
      InputError: a category that is used is not one of the classes.
    """
    ids = {name: number for number, name in enumerate(objects.class_names)}
    classes = {}
    for number, category in index.file.categories.items():
        class_id = ids.get(category.name)
        if class_id is None and number in used and objects.only is None:
            raise InputError(
                f"{index.path} has objects of the category {category.name!r}, which is not in "
                "class_names: add it there, or name those that count in thing_classes."
            )
        if class_id is not None and (objects.only is None or class_id in objects.only):
            classes[number] = class_id
    return classes
