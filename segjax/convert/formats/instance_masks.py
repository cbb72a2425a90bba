"""Masks of object ids, one a file or one file an object, for one class of objects.

Two layouts: `images/` beside `instances/`, whose files hold the id of each pixel's object and 0
where there is none; and that of the Data Science Bowl 2018, a folder an image,
`<id>/images/<id>.png` and `<id>/masks/*.png`, one black-and-white file an object.
"""

import functools
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from segjax.convert.annotated import (
    Annotated,
    Annotations,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.id_regions import IdRegions
from segjax.convert.image_files import each_image
from segjax.data.decode import decode
from segjax.data.files import IMAGES, MASKS
from segjax.data.masks import stored_samples
from segjax.data.names import composed
from segjax.errors import InputError

FOLDERS = ("instances", "instance_masks", "instance_ids")
FOREGROUND = "foreground"


@dataclass(frozen=True)
class InstanceMasks:
    """The reader of masks of ids; all objects are of one class.

    The class is called "foreground", or as `--classes` says: its name, or those of background
    and class.
    """

    name: str = "instance-masks"
    title: str = "Masks of object ids (PNG, TIFF), or one file an object"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns which folder gives the format away, or None."""
        if found := _id_masks(files):
            return f"masks of object ids in {found[0].parent.name}/"
        if found := _object_masks(files):
            return f"one mask an object in {next(iter(found)).stem}/masks/"
        return None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns the images and their objects.

        Raises:
          InputError: there are no such masks, or `names` are too many.
        """
        background, name = _names(options)
        photos = defaultdict(list)
        for image in files.find(*IMAGES):
            if image.parent.name not in FOLDERS:
                photos[composed(image.stem)].append(image)
        readers = [
            *(
                functools.partial(_of_ids, files, path, photos[composed(path.stem)], name)
                for path in _id_masks(files)
            ),
            *(
                functools.partial(_of_objects, files, image, paths, name)
                for image, paths in _object_masks(files).items()
            ),
        ]
        if not readers:
            raise InputError(
                f"{files.root} has no masks of objects: put them into instances/ beside "
                "images/, or one file an object into <id>/masks/ beside <id>/images/."
            )
        images, problems = each_image(readers, lambda read: read())
        return Annotations(images, (name,), background=background, problems=problems)


INSTANCE_MASKS = InstanceMasks()


def _names(options: Options) -> tuple[str, str]:
    names = list(options.names or [FOREGROUND])
    if len(names) > 2:
        raise InputError(
            f"Masks of object ids have one class and the background, but {len(names)} names "
            f"are given: {', '.join(names)}. Give one name, or two."
        )
    return ("background", names[0]) if len(names) == 1 else (names[0], names[1])


def _id_masks(files: SourceFiles) -> list[pathlib.Path]:
    return [path for path in files.find(*MASKS) if path.parent.name in FOLDERS]


def _object_masks(files: SourceFiles) -> Mapping[pathlib.Path, list[pathlib.Path]]:
    """Returns {image: its masks} for the folders that are called as the image in them."""
    images = {
        path.parent.parent: path
        for path in files.find(*IMAGES)
        if path.parent.name == "images"
        and composed(path.parent.parent.name) == composed(path.stem)
    }
    found: dict[pathlib.Path, list[pathlib.Path]] = defaultdict(list)
    for path in files.find(*MASKS):
        if path.parent.name == "masks" and path.parent.parent in images:
            found[images[path.parent.parent]].append(path)
    return found


def _of_ids(
    files: SourceFiles, path: pathlib.Path, images: Sequence[pathlib.Path], name: str
) -> Annotated:
    near = [image for image in images if image.parent.parent == path.parent.parent] or images
    if len(near) != 1:
        several = f"there are {len(near)}" if near else "there is none"
        raise InputError(
            f"The mask {path} belongs to an image {path.stem}.*, and {several}: put one into "
            "images/ beside the folder of masks."
        )
    return Annotated(
        image=near[0],
        name=files.stem_of(near[0]),
        regions=IdRegions(functools.partial(_objects, path, name)),
        where=str(path),
    )


@functools.lru_cache(maxsize=8)
def _objects(
    path: pathlib.Path, name: str
) -> tuple[Integer[np.ndarray, "h w"], Mapping[int, str]]:
    ids = stored_samples(decode(path), path)
    return ids, {number: name for number in np.unique(ids).tolist() if number != 0}


def _of_objects(
    files: SourceFiles, image: pathlib.Path, paths: Sequence[pathlib.Path], name: str
) -> Annotated:
    regions = [
        Region(name, functools.partial(_mask, path), number, where=f"object {path.name}")
        for number, path in enumerate(paths, 1)
    ]
    below = files.stem_of(image).removesuffix(f"/images/{image.stem}")
    return Annotated(image, below, regions, where=str(paths[0].parent))


def _mask(path: pathlib.Path, size: Size) -> Mask_HW:
    del size  # The mask has its file's; another one than the image's is reported there.
    return stored_samples(decode(path), path) != 0
