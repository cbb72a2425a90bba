"""COCO-Stuff: a JSON file of run lengths, or maps of the 80 things and 91 kinds of stuff."""

import functools
import pathlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    ClassMap,
    Options,
    SourceFiles,
)
from segjax.convert.coco_annotations import read_objects, sign_of
from segjax.convert.image_files import each_image
from segjax.convert.layouts import split_of_path
from segjax.data.coco_classes import STUFF, THINGS
from segjax.data.decode import decode
from segjax.data.masks import stored_samples
from segjax.data.names import composed
from segjax.errors import InputError

OTHER = (183, "other")
"""The class of all things, where only stuff is told apart."""

THINGS_AND_STUFF = {
    **{number - 1: name for number, name in (THINGS | STUFF).items()},
    255: IGNORED,
}
"""What the ids of `stuffthingmaps` mean: category ids minus 1, and 255 for none."""

ONLY_STUFF = {0: IGNORED, **STUFF, OTHER[0]: OTHER[1]}
"""What the ids of `stuff_*_pixelmaps` mean: category ids."""


@dataclass(frozen=True)
class CocoStuff:
    """The reader of the JSON files `stuff_*.json`; what they do not cover becomes 255."""

    name: str = "coco-stuff"
    title: str = "COCO-Stuff JSON (RLE)"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns which JSON file gives the format away, or None."""
        return sign_of(files, "stuff", "COCO stuff")

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns images and their stuff.

        Raises:
          InputError: a file or an image cannot be used.
        """
        return read_objects(files, options, "stuff", background=IGNORED)


@dataclass(frozen=True)
class CocoStuffMaps:
    """The reader of COCO-Stuff's PNGs.

    They lie in folders that are called `stuffthingmaps…` or `…pixelmaps`; if `--format` names
    the format, all PNGs count that have a JPEG of the same name, as things and stuff.
    """

    name: str = "coco-stuff-maps"
    title: str = "COCO-Stuff maps (stuffthingmaps, pixelmaps)"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns which folder gives the format away, or None."""
        for path in files.find(".png"):
            if folder := _folder(path, files.root):
                return f"COCO-Stuff maps in {folder}/"
        return None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns images and their maps.

        Raises:
          InputError: there are no maps.
        """
        del options
        maps = _maps(files)
        if not maps:
            raise InputError(
                f"{files.root} has no maps of COCO-Stuff: PNGs in a folder stuffthingmaps or "
                "with the names of JPEGs. Name the folder that holds both."
            )
        only_stuff = all("pixelmaps" in (_folder(path, files.root) or "") for path in maps)
        names = ONLY_STUFF if only_stuff else THINGS_AND_STUFF
        images, problems = each_image(maps, lambda path: _image(files, path, names))
        return Annotations(
            images,
            class_names=tuple(name for name in names.values() if name != IGNORED),
            background=IGNORED,
            problems=problems,
        )


COCO_STUFF = CocoStuff()
COCO_STUFF_MAPS = CocoStuffMaps()


def _folder(path: pathlib.Path, root: pathlib.Path) -> str | None:
    parts = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    words = ("stuffthingmaps", "pixelmaps")
    return next((part for part in parts if any(word in part for word in words)), None)


def _maps(files: SourceFiles) -> list[pathlib.Path]:
    pngs = [*files.find(".png")]
    if named := [path for path in pngs if _folder(path, files.root)]:
        return named
    photos = {composed(path.stem) for path in files.find(".jpg", ".jpeg")}
    return [path for path in pngs if composed(path.stem) in photos]


def _image(files: SourceFiles, path: pathlib.Path, names: dict[int, str]) -> Annotated:
    image = files.inside(f"{path.parent.name}/{path.stem}.jpg", beside=path)
    return Annotated(
        image=image,
        name=files.stem_of(image),
        class_map=ClassMap(functools.partial(_ids, path), names, str(path)),
        split=split_of_path(path, files.root) or split_of_path(image, files.root),
        where=str(path),
    )


def _ids(path: pathlib.Path) -> Integer[np.ndarray, "h w"]:
    return stored_samples(decode(path), path)
