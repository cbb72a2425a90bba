"""COCO's JSON files as annotations: which files there are, their images and their regions."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.image_files import each_image
from segjax.convert.layouts import split_of
from segjax.data.coco_file import CocoFile, CocoImage, annotation_name, coco_file, is_coco
from segjax.data.coco_shapes import bounds, check_segmentation, draw, is_empty
from segjax.drawing.annotations import PREDICTED
from segjax.errors import InputError

MOST_TRIED = 50
"""JSON files that are looked into before a source counts as another format's."""


def kind_of(path: pathlib.Path, contents: Any) -> str | None:
    """Returns what a JSON file holds: instances, stuff, panoptic, keypoints; or None.

    Captions, labels of whole images and lists of images count as None.
    """
    if not is_coco(contents):
        return None
    annotations, categories = contents["annotations"], contents["categories"]
    keys = [annotation.keys() for annotation in annotations if isinstance(annotation, dict)]
    if any("segments_info" in found for found in keys):
        return "panoptic"
    outlined = any("segmentation" in found or "bbox" in found for found in keys)
    if not categories or (annotations and not outlined):
        return None
    if any("keypoints" in each for each in categories if isinstance(each, dict)):
        return "keypoints"
    return "stuff" if path.stem.startswith("stuff") else "instances"


def files_of_kind(files: SourceFiles, kind: str) -> list[pathlib.Path]:
    """Returns the source's JSON files of a kind.

    Files of keypoints, which hold some of the same objects again, are instances where nothing
    else holds them.
    """
    return _of_kind(
        {path: kind_of(path, files.json(path)) for path in files.find(".json")}, kind
    )


def sign_of(files: SourceFiles, kind: str, what: str) -> str | None:
    """Returns which files give a kind away, among the first ones, or None."""
    kinds = {}
    for path, _ in zip(files.find(".json"), range(MOST_TRIED), strict=False):
        with contextlib.suppress(InputError):  # Reading the source reports a broken file.
            kinds[path] = kind_of(path, files.json(path))
    found = _of_kind(kinds, kind)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{what} in {found[0].name}{more}" if found else None


def _of_kind(kinds: Mapping[pathlib.Path, str | None], kind: str) -> list[pathlib.Path]:
    wanted = kind
    if kind == "instances" and "instances" not in kinds.values():
        wanted = "keypoints"
    return [path for path, found in kinds.items() if found == wanted]


@dataclass
class Gathered:
    """What several files of one source say together."""

    images: list[Annotated] = field(default_factory=list)
    names: dict[str, tuple[int, int, int] | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add_categories(self, coco: CocoFile) -> None:
        """Adds the names and colours of a file's categories, by name."""
        for category in coco.categories.values():
            self.names.setdefault(category.name, category.colour)
        self.notes += [
            f"{coco.path.name}: the category {name!r} is the group of the others and has no "
            "objects; it is left out"
            for name in coco.dropped
        ]

    def add_images(self, images: Iterable[Annotated], problems: Iterable[str]) -> None:
        """Adds images, and a line for each that cannot be used."""
        self.images += images
        self.problems += problems

    def annotations(self, background: str) -> Annotations:
        """Returns all of it; a category called as the background is the background."""
        return Annotations(
            images=self.images,
            class_names=tuple(name for name in self.names if name != background),
            background=background,
            colours={name: colour for name, colour in self.names.items() if colour},
            notes=tuple(self.notes),
            problems=tuple(self.problems),
        )


def read_objects(
    files: SourceFiles, options: Options, kind: str, *, background: str
) -> Annotations:
    """Returns the outlines that the source's JSON files of a kind hold, in the files' order.

    As pycocotools' own helper paints them, a later annotation covers earlier ones. Crowds that
    are ignored lie below all objects, so that they hide none.

    Raises:
      InputError: a file has not COCO's form.
    """
    gathered, boxes, covered = Gathered(), [], []

    def entries() -> Iterator[tuple[CocoFile, CocoImage]]:
        for coco in opened(files, kind):
            gathered.add_categories(coco)
            covered.append(_covers_all(coco))
            yield from ((coco, image) for image in coco.images)

    def read(entry: tuple[CocoFile, CocoImage]) -> Annotated:
        coco, image = entry
        boxes.extend(a for a in image.annotations if is_empty(a.get("segmentation")))
        regions = _regions(coco, image, options, is_stuff=kind == "stuff")
        return annotated(files, coco, image, regions)

    gathered.add_images(*each_image(entries(), read))
    if boxes:
        gathered.notes.append(
            f"{len(boxes)} annotation(s) have no outline, such as a box alone; they are left "
            "out"
        )
    return gathered.annotations(IGNORED if all(covered) else background)


def _covers_all(coco: CocoFile) -> bool:
    """Returns whether a file of `predict --coco` has a region for each pixel.

    The ids of its categories are those of the classes plus 1, without the class that is called
    background.
    """
    ids = [*coco.categories]
    return coco.description == PREDICTED and ids == [*range(1, len(ids) + 1)]


def opened(files: SourceFiles, kind: str) -> Iterator[CocoFile]:
    """Returns the source's files of a kind, each read when it is asked for.

    Raises:
      InputError: there is none, or a file has not COCO's form.
    """
    found = files_of_kind(files, kind)
    if not found:
        raise InputError(
            f"{files.root} has no COCO file of {kind}: a JSON file with the lists `images`, "
            "`annotations` and `categories`. Name the folder that holds it."
        )
    return (coco_file(path, files.json(path)) for path in found)


def annotated(
    files: SourceFiles, coco: CocoFile, image: CocoImage, regions: Sequence[Region]
) -> Annotated:
    """Returns an image of a file with its regions.

    Raises:
      InputError: as `image_path`.
    """
    path = image_path(files, coco, image)
    return Annotated(
        image=path,
        name=files.stem_of(path),
        regions=regions,
        size=Size(*image.size) if image.size else None,
        split=split_of_file(coco.path, files.root),
        where=f"{coco.path}, image {image.id}",
    )


def _regions(
    coco: CocoFile, image: CocoImage, options: Options, *, is_stuff: bool
) -> list[Region]:
    crowds, objects = [], []
    for place, annotation in enumerate(image.annotations):
        segmentation = annotation.get("segmentation")
        if is_empty(segmentation):
            continue
        where = annotation_name(coco.path, annotation)
        check_segmentation(segmentation, where=where)
        category = coco.categories[annotation["category_id"]]
        # "Stuff" is not counted, so a crowd of it is not known otherwise.
        is_crowd = bool(annotation.get("iscrowd")) and not is_stuff
        hidden = is_crowd and options.crowds == "ignore"
        region = Region(
            class_name=IGNORED if hidden else category.name,
            mask=functools.partial(_mask, segmentation, where),
            instance=None if is_stuff or is_crowd or not category.is_thing else place,
            is_crowd=is_crowd,
            where=f"annotation {annotation.get('id', place)}",
            bounds=bounds(segmentation),
        )
        (crowds if hidden else objects).append(region)
    return crowds + objects


def _mask(segmentation: Any, where: str, size: Size) -> Mask_HW:
    return draw(segmentation, height=size.height, width=size.width, where=where)


def image_path(files: SourceFiles, coco: CocoFile, image: CocoImage) -> pathlib.Path:
    """Returns an image's file.

    Of several with its name, the one beside the JSON file is meant, as Roboflow has them, or
    else the one in the folder of the JSON's split: `train2017/` of `instances_train2017.json`.
    EISeg writes the JSON file and masks into `label/` below the images; `predict --coco`
    writes both into a folder of its own.

    Raises:
      InputError: it is missing, or several files may be meant.
    """
    beside = coco.path
    if coco.description == PREDICTED:
        ending = pathlib.PurePosixPath("/", image.file).as_posix()
        found = [
            path
            for path in files.find(pathlib.Path(image.file).suffix.lower())
            if path.as_posix().endswith(ending) and not path.is_relative_to(beside.parent)
        ]
        if len(found) == 1:
            return found[0]
    if beside.parent.name == "label" and os.path.isfile(beside.parent.parent / image.file):
        return files.inside(f"../{image.file}", beside=beside)
    folder = _split_word(beside, files.root)
    if folder and not os.path.isfile(beside.parent / image.file):
        try:
            return files.inside(f"{folder}/{image.file}", beside=beside)
        except InputError:
            pass  # What is said of the path as the file writes it is clearer.
    return files.inside(image.file, beside=beside)


def split_of_file(path: pathlib.Path, root: pathlib.Path) -> str | None:
    """Returns the split that the name of a file, or of its folder below a root, ends in.

    >>> root = pathlib.Path("test")
    >>> split_of_file(root / "annotations/instances_train2017.json", root)
    'train'
    >>> split_of_file(root / "valid/_annotations.coco.json", root)
    'val'
    >>> split_of_file(root / "annotations.json", root)
    """
    word = _split_word(path, root)
    return split_of(word) if word else None


def _split_word(path: pathlib.Path, root: pathlib.Path) -> str | None:
    folder = "" if path.parent == root else path.parent.name
    words = (path.stem.rpartition("_")[2], folder)
    return next((word for word in words if split_of(word)), None)
