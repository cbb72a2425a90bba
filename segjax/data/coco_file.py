"""COCO's JSON files, checked: images, categories, and the annotations of each image."""

import pathlib
import posixpath
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segjax.data.names import composed
from segjax.errors import InputError, first_of

Id = int | str


@dataclass(frozen=True)
class Category:
    """A category of a file.

    Attributes:
      id: as annotations name it; ids may have gaps.
      name: of the class.
      colour: (r, g, b) if the file has one.
      is_thing: whether its objects are told apart; False for "stuff" such as sky.
    """

    id: Id
    name: str
    colour: tuple[int, int, int] | None = None
    is_thing: bool = True


@dataclass(frozen=True)
class CocoImage:
    """An image of a file.

    Attributes:
      id: as annotations name it.
      file: its path as the JSON writes it, with "/" between folders; the path of `coco_url` if
        there is no `file_name`.
      size: (height, width) if the file has it.
      annotations: in the file's order, as the JSON has them.
    """

    id: Id
    file: str
    size: tuple[int, int] | None
    annotations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class CocoFile:
    """What one JSON file says; `categories` are in the order of their ids.

    `dropped` are names of categories that stand for a group of others, as Roboflow's first one.
    `description` is what the file says of itself.
    """

    path: pathlib.Path
    images: tuple[CocoImage, ...]
    categories: Mapping[Id, Category]
    dropped: tuple[str, ...] = ()
    description: str = ""


def is_coco(contents: Any) -> bool:
    """Returns whether a JSON file's contents have COCO's three lists."""
    return isinstance(contents, dict) and all(
        isinstance(contents.get(key), list) for key in ("images", "annotations", "categories")
    )


def coco_file(path: pathlib.Path, contents: Any) -> CocoFile:
    """Returns the contents of a COCO file, with each annotation at its image.

    Raises:
      InputError: it has not COCO's lists, ids or names repeat, or an annotation names an image
        or a category that is not there; the line names the file and the value.
    """
    if not is_coco(contents):
        raise InputError(
            f"{path} is not a COCO file: it needs the lists `images`, `annotations` and "
            "`categories`."
        )
    categories, dropped = _categories(path, contents)
    info = contents.get("info")  # EISeg writes a word.
    description = str(info.get("description", "")) if isinstance(info, dict) else ""
    images = _images(path, contents, categories)
    return CocoFile(path, images, categories, dropped, description)


def annotation_name(path: pathlib.Path | str, annotation: Mapping[str, Any]) -> str:
    """Returns what names an annotation in messages."""
    return f"{path}, annotation {annotation.get('id', '(without id)')}"


def segments(path: pathlib.Path, annotation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the segments of a panoptic annotation.

    Raises:
      InputError: it has none, or one has no integer as its `id`.
    """
    where = annotation_name(path, annotation)
    if "segments_info" not in annotation:
        raise InputError(f"{where} has no `segments_info`: add its segments, or delete it.")
    found = _parts(where, annotation)
    for segment in found:
        if isinstance(segment.get("id"), bool) or not isinstance(segment.get("id"), int):
            raise InputError(f"{where} has the segment {segment!r} without an `id`: add one.")
    return found


def _parts(where: str, annotation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns what has a category: the segments of a panoptic annotation, or itself."""
    parts = annotation.get("segments_info", [annotation])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise InputError(
            f"{where} has segments_info={parts!r:.60}, not a list of segments: export the file "
            "again."
        )
    return parts


def _categories(
    path: pathlib.Path, contents: Any
) -> tuple[dict[Id, Category], tuple[str, ...]]:
    entries = contents["categories"]
    for entry in entries:
        if not isinstance(entry, dict) or not _is_id(entry.get("id")):
            raise InputError(f"{path} has the category {entry!r} without an `id`: add one.")
    entries, dropped = _without_groups(entries, contents["annotations"])
    by_id: dict[Id, Category] = {}
    by_name: dict[str, Id] = {}
    for entry in sorted(entries, key=lambda entry: (isinstance(entry["id"], str), entry["id"])):
        number, name = entry["id"], str(entry.get("name", entry["id"]))
        if number in by_id:
            raise InputError(
                f"{path} has two categories with the id {number}: {by_id[number].name!r} and "
                f"{name!r}. Give each an id of its own."
            )
        if name in by_name:
            raise InputError(
                f"{path} has two categories {name!r}, with the ids {by_name[name]} and "
                f"{number}: give each a name of its own, or make them one."
            )
        by_name[name] = number
        is_thing = bool(entry.get("isthing", 1))
        by_id[number] = Category(number, name, _colour(entry.get("color")), is_thing)
    return by_id, dropped


def _without_groups(
    entries: list[dict], annotations: list[dict]
) -> tuple[list[dict], tuple[str, ...]]:
    """Returns the categories but for Roboflow's first, which names the group of the others."""
    groups = [entry.get("supercategory") for entry in entries if entry["id"] != 0]
    first = [
        entry
        for entry in entries
        if entry["id"] == 0 and entry.get("name") in groups and entry["name"] is not None
    ]
    used = any(isinstance(a, dict) and a.get("category_id") == 0 for a in annotations)
    if len(first) != 1 or used:
        return entries, ()
    return [entry for entry in entries if entry is not first[0]], (str(first[0]["name"]),)


def _colour(value: Any) -> tuple[int, int, int] | None:
    fits = (
        isinstance(value, list)
        and len(value) in (3, 4)
        and all(isinstance(v, int) and 0 <= v <= 255 for v in value)
    )
    return (value[0], value[1], value[2]) if fits else None


def _images(
    path: pathlib.Path, contents: Any, categories: Mapping[Id, Category]
) -> tuple[CocoImage, ...]:
    files: dict[Id, str] = {}
    for entry in contents["images"]:
        if not isinstance(entry, dict) or not _is_id(entry.get("id")):
            raise InputError(f"{path} has the image {entry!r} without an `id`: add one.")
        file = _file(path, entry)
        if entry["id"] in files:
            raise InputError(
                f"{path} has two images with the id {entry['id']}: {files[entry['id']]!r} and "
                f"{file!r}. Give each an id of its own."
            )
        files[entry["id"]] = file
    _check_files(path, files)
    of_image = _of_image(path, contents["annotations"], files, categories)
    return tuple(
        CocoImage(entry["id"], files[entry["id"]], _size(entry), of_image[entry["id"]])
        for entry in contents["images"]
    )


def _check_files(path: pathlib.Path, files: Mapping[Id, str]) -> None:
    of_file: dict[str, Id] = {}
    for number, file in files.items():
        if file in of_file:
            raise InputError(
                f"{path} has {file!r} twice, as the images {of_file[file]} and {number}: keep "
                "one of them, with all annotations."
            )
        of_file[file] = number


def _file(path: pathlib.Path, entry: Mapping[str, Any]) -> str:
    name = entry.get("file_name")
    if not name and (url := entry.get("coco_url")):
        name = urllib.parse.unquote(urllib.parse.urlsplit(str(url)).path).lstrip("/")
    if not name or not isinstance(name, str):
        raise InputError(
            f"{path} has the image {entry['id']} without a `file_name`: add it, as the image's "
            "path."
        )
    return composed(posixpath.normpath(name.replace("\\", "/")))


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    size = entry.get("height"), entry.get("width")
    known = all(isinstance(n, int) and n > 0 for n in size)
    return (entry["height"], entry["width"]) if known else None


def _of_image(
    path: pathlib.Path,
    annotations: Sequence[Any],
    files: Mapping[Id, str],
    categories: Mapping[Id, Category],
) -> dict[Id, list[Mapping[str, Any]]]:
    of_image: dict[Id, list[Mapping[str, Any]]] = {number: [] for number in files}
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise InputError(f"{path} has the annotation {annotation!r}: export it again.")
        image: Any = annotation.get("image_id")
        where = annotation_name(path, annotation)
        if not _names(image, of_image):
            raise InputError(
                f"{where} belongs to the image {image!r}, which `images` does not list: add "
                "the image, or delete the annotation."
            )
        # An annotation of panoptic segmentation has many segments, each with its category.
        for part in _parts(where, annotation):
            if not _names(part.get("category_id"), categories):
                raise InputError(_unknown(where, part.get("category_id"), categories))
        of_image[image].append(annotation)
    return of_image


def _unknown(where: str, found: Any, categories: Mapping[Id, Category]) -> str:
    known = first_of([f"{c.id} {c.name}" for c in categories.values()])
    return (
        f"{where} has the category {found!r}, which `categories` does not list ({known}): add "
        "the category, or correct the annotation."
    )


def _names(value: Any, known: Mapping[Id, Any]) -> bool:
    return isinstance(value, int | float | str) and value in known


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
