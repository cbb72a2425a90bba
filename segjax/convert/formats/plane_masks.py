"""One mask file for each class of an image: classes may overlap (multi-label)."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segjax.convert.annotated import (
    Annotated,
    Annotations,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.grey_values import read_halves
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of, split_of_path
from segjax.convert.mask_pairs import ENDING, Key, split_files
from segjax.data.decode import decode
from segjax.errors import InputError

Planes = Mapping[pathlib.Path, Mapping[str, pathlib.Path]]
"""{image: {class: its mask}}."""


@dataclass(frozen=True)
class PlaneMasks:
    """`masks/CLASS/x.png`, `masks/x/CLASS.png` or `masks/x_CLASS.png` for `images/x.jpg`.

    A mask is split at half of 255, or at 1 if its file stores one bit or only 0 and 1. An image
    has no pixel of a class without a mask.
    """

    name: str = "plane-masks"
    title: str = "one mask file for each class"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many classes have mask files, or None."""
        found = _planes(files)
        if found is None:
            return None
        several = any(len(masks) > 1 for masks in found.values())
        return f"mask files of {len(_class_names(found))} classes" if several else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each image that has a mask.

        Raises:
          InputError: masks are not named after images and classes.
        """
        del options
        found = _planes(files)
        if found is None:
            raise InputError(
                f"{files.root} has no mask files of single classes: name them "
                "masks/CLASS/x.png or masks/x_CLASS.png for images/x.jpg."
            )
        names = _class_names(found)

        def image(path: pathlib.Path) -> Annotated:
            """Returns the annotated image of a file."""
            masks = found[path]
            return Annotated(
                image=path,
                name=image_name(path, files),
                regions=[_region(name, mask) for name, mask in sorted(masks.items())],
                split=split_of_path(path, files.root),
                where=str(next(iter(masks.values()))),
            )

        images, problems = each_image(sorted(found), image)
        partial = sum(len(masks) < len(names) for masks in found.values())
        notes = ("classes may overlap: each has a mask of its own",)
        if partial:
            notes += (f"images that lack the mask of a class do not have it: {partial}",)
        if alone := len(split_files(files)[0].keys() - found.keys()):
            notes += (f"images without a mask are left out: {alone}",)
        return Annotations(images, names, has_planes=True, notes=notes, problems=problems)


def _class_names(planes: Planes) -> tuple[str, ...]:
    return tuple(sorted({name for masks in planes.values() for name in masks}))


def _planes(files: SourceFiles) -> Planes | None:
    """Returns the masks by image and class, by the first way of naming that fits all masks."""
    images, masks = split_files(files)
    by_key = {key: path for path, key in images.items()}
    if not images or not masks or any(key in by_key for key in masks.values()):
        return None
    for split in (_by_folder, _by_image_folder, _by_ending):
        found = _split(masks, by_key, split)
        if found and not any(split_of(name) for name in _class_names(found)):
            return found
    return None


def _split(masks: Mapping[pathlib.Path, Key], images: Mapping[Key, pathlib.Path], split):
    found = collections.defaultdict(dict)
    for path, key in masks.items():
        for image_key, name in split(path, key):
            if image_key in images:
                found[images[image_key]][name] = path
                break
        else:
            return None
    return found


def _by_folder(path: pathlib.Path, key: Key) -> Sequence[tuple[Key, str]]:
    """Yields what `masks/CLASS/x.png` may mean: one of its folders is the class."""
    folders = {part.casefold(): part for part in path.parts}
    return [
        ((*key[:place], *key[place + 1 :]), folders[key[place]])
        for place in range(len(key) - 1)
        if key[place] in folders
    ]


def _by_image_folder(path: pathlib.Path, key: Key) -> Sequence[tuple[Key, str]]:
    return [((*key[:-2], path.parent.name), path.stem)] if len(key) > 1 else []


def _by_ending(path: pathlib.Path, key: Key) -> Sequence[tuple[Key, str]]:
    stem = key[-1]
    if ENDING.search(stem):
        stem = ENDING.sub("", stem)
    places = [place for place, letter in enumerate(stem) if letter in "_-." and place]
    # The longest first: `scan_left_tumor` belongs to `scan_left`, not to `scan`.
    return [((*key[:-1], stem[:place]), stem[place + 1 :]) for place in reversed(places)]


def _region(name: str, mask: pathlib.Path) -> Region:
    def draw(size: Size) -> Mask_HW:
        """Returns the mask of the plane, at its own size."""
        del size
        return read_halves(mask, half=_half(mask)) == 1

    return Region(name, draw, where=str(mask))


def _half(mask: pathlib.Path) -> int:
    return 128 if np.asarray(decode(mask).image).max() > 1 else 1


PLANE_MASKS = PlaneMasks()
