"""The files of a `Folder`: images by a pattern, and the masks that their names lead to."""

import pathlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from segjax.data.faults import Fault, report
from segjax.data.file_pattern import FilePattern
from segjax.data.files import IMAGES_BY_NAME, Place, by_stem, members, paired
from segjax.data.hold_out import SIDES
from segjax.data.names import inside, near_entry
from segjax.data.source import Source
from segjax.data.split_lists import (
    LISTS,
    listed_pairs,
    listed_stems,
    paired_sources,
    split_list,
)
from segjax.errors import InputError

Files = dict[str, pathlib.Path]


class Layout(NamedTuple):
    """Where the files of a folder lie.

    Attributes:
      root: the user's folder.
      image: how images are named.
      masks: how masks are named: one pattern, or one a class.
      split: a list of names or a folder; None for all images.
      others: how further files of images are named, which are not images themselves.
    """

    root: pathlib.Path
    image: FilePattern
    masks: tuple[FilePattern, ...]
    split: str | None
    others: tuple[FilePattern, ...] = ()


class _Masks(NamedTuple):
    """The mask files of one pattern, by their path below its folder."""

    pattern: FilePattern
    place: Place
    by_name: Files

    def of(self, stem: str) -> pathlib.Path | None:
        return self.by_name.get(self.pattern.name(stem))


def find_sources(layout: Layout) -> list[Source]:
    """Returns each image with its mask, or with one mask a class.

    An image's mask is found by its name: the image's stem, put into the pattern. A file that is
    the mask of another does not count as an image, so both may lie in one folder. A list of
    images and masks in two columns says itself which belong together.

    Raises:
      InputError: a folder, a list, an image or a mask is missing, or two images share a mask;
        or a list names masks where there is one a class.
    """
    names = split_list(layout.root, str(layout.split))
    is_list = layout.split is not None and names.is_file()
    if is_list and (pairs := listed_pairs(names)):
        if len(layout.masks) > 1:
            raise InputError(
                f"The list {names} pairs images with masks, but Folder has one mask a class: "
                "leave the masks out of the list."
            )
        sources = paired_sources(layout.root, names, pairs)
        _check_shared([sources])
        return sources
    below = None if is_list else layout.split
    image_place = _place(layout.root, layout.image, below)
    if below is not None and not image_place.folder.is_dir():
        raise InputError(
            f"Folder's split {below!r} needs the list {names}{near_entry(names)} or the folder "
            f"{image_place.folder}{near_entry(image_place.folder)}: make one of them, or leave "
            "split=None for all images."
        )
    listed_names = listed_stems(names) if is_list else None
    images = _images(layout.image, image_place)
    found = [_masks(pattern, _place(layout.root, pattern, below)) for pattern in layout.masks]
    others = [each for each in layout.others if each.folder == layout.image.folder]
    beside = [_masks(pattern, _place(layout.root, pattern, below)) for pattern in others]
    images = _without_masks(images, [*found, *beside])
    if not images:
        raise InputError(_no_images(layout.image, image_place))
    stems = None if listed_names is None else _stems(listed_names, layout.image, images)
    by_class = [
        paired(
            images,
            files := _by_image(masks, images, others=[m for m in found if m is not masks]),
            sorted(images.keys() | files.keys()) if stems is None else stems,
            image_place=image_place,
            mask_place=masks.place,
        )
        for masks in found
    ]
    _check_shared(by_class)
    return by_class[0] if len(by_class) == 1 else _joined(by_class)


def check_no_splits(layout: Layout) -> None:
    """Raises InputError where a folder that is to be divided by names has splits of its own."""
    folder = _place(layout.root, layout.image, None).folder
    for side in SIDES:
        lists = (inside(layout.root, f"{below}{side}.txt") for below in ("", f"{LISTS}/"))
        for path in (*lists, inside(folder, side)):
            if path.exists():
                raise InputError(
                    f"Folder has held_out, which divides the images by their names, and {path} "
                    "divides them too: leave held_out out, or move the other away."
                )


def _place(root: pathlib.Path, pattern: FilePattern, below: str | None) -> Place:
    folder = inside(root, pattern.folder)
    folder = folder if below is None else inside(folder, below)
    return Place(folder, pattern.suffixes, str if pattern.is_plain else pattern.name)


def _masks(pattern: FilePattern, place: Place) -> _Masks:
    by_name = by_stem(place.folder, place.suffixes, fits=pattern.stem)
    return _Masks(pattern, place, by_name)


def _images(pattern: FilePattern, place: Place) -> Files:
    by_name = by_stem(place.folder, place.suffixes, fits=pattern.stem)
    return {stem: path for name, path in by_name.items() if (stem := pattern.stem(name))}


def _without_masks(images: Files, masks: Sequence[_Masks]) -> Files:
    """Returns the images by stem, without files that are the masks of other images."""
    are_masks = {
        mask
        for each in masks
        for stem, path in images.items()
        if (mask := each.of(stem)) not in (None, path)
    }
    return {stem: path for stem, path in images.items() if path not in are_masks}


def _no_images(pattern: FilePattern, place: Place) -> str:
    others = members(place.folder, None)
    there = f"; the first file there is {others[0]}" if others else ""
    arrays = [path for path in others if path.suffix.lower() in IMAGES_BY_NAME]
    if arrays and len(pattern.suffixes) > 1:
        suffix = arrays[0].suffix.lower()
        above = f"{pattern.folder}/" if pattern.folder not in ("", ".") else ""
        return (
            f"{place.folder} has no images ({' '.join(pattern.suffixes)}), but {arrays[0]}: "
            f'name {suffix} in the pattern, as image="{above}{pattern.template}{suffix}".'
        )
    if pattern.is_plain and len(pattern.suffixes) > 1:
        return (
            f"{place.folder} has no images ({' '.join(pattern.suffixes)}){there}: put some "
            "there, or mend directory=... (--data)."
        )
    return (
        f"{place.folder} has no images named {pattern.text}{there}: mend image=..., or "
        "directory=... (--data)."
    )


def _stems(names: Sequence[str], pattern: FilePattern, images: Files) -> list[str]:
    """Returns the stems that a list means, which may name the files or their paths instead."""
    by_name = {pattern.name(stem): stem for stem in images}
    known = {f"{pattern.folder}/{name}": stem for name, stem in by_name.items()}
    known |= by_name | {stem: stem for stem in images}
    return [known.get(name, known.get(name.removeprefix("./"), name)) for name in names]


def _by_image(masks: _Masks, images: Files, *, others: Sequence[_Masks]) -> Files:
    """Returns the masks of one pattern by the stems of their images, which may be missing.

    Where one pattern is the end of another, as "{stem}_tumor" of "{stem}_core_tumor", it fits
    masks of the other too: those that `others` give to an image are theirs.
    """
    own = {stem: path for stem in images if (path := masks.of(stem)) is not None}
    taken = {*own.values(), *images.values()}
    taken |= {path for each in others for stem in images if (path := each.of(stem))}
    left = {
        stem: path
        for name, path in masks.by_name.items()
        if path not in taken and (stem := masks.pattern.stem(name))
    }
    return {**left, **own}


def _check_shared(by_class: Sequence[Sequence[Source]]) -> None:
    """Raises InputError where an image is its own mask, or two images have one mask."""
    for sources in by_class:
        owners: dict[pathlib.Path, Source] = {}
        problems = []
        for source in sources:
            (mask,) = source.masks
            if mask == source.image:
                text = (
                    f"{mask} is an image and its own mask: give images and masks different "
                    "names or folders."
                )
                problems.append(partial(Fault, "mask_shared", text, mask))
            elif mask in owners:
                text = (
                    f"{owners[mask].image} and {source.image} have the same mask {mask}: "
                    "rename one of them, and give it a mask."
                )
                problems.append(partial(Fault, "mask_shared", text, mask, source.image))
            owners[mask] = source
        report(problems)


def _joined(by_class: Sequence[Sequence[Source]]) -> list[Source]:
    """Returns one source an image, with the masks of all classes."""
    by_name = [{source.name: source for source in sources} for sources in by_class]
    return [
        Source(one.name, one.image, tuple(m for each in by_name for m in each[one.name].masks))
        for one in by_class[0]
        if all(one.name in each for each in by_name)
    ]
