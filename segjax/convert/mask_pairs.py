"""Images and their mask files: which folders hold masks, and how masks are named."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from segjax.convert.annotated import Annotations, SourceFiles
from segjax.data.files import IMAGES
from segjax.data.names import composed, nearest
from segjax.errors import InputError

MASK_FOLDER = re.compile(
    r"(?P<before>.*?)[_-]?(masks?|labels?|annot(ation)?s?|gt|ground_?truth|targets?"
    r"|segmentations?|label_?maps?)",
    re.IGNORECASE,
)
"""Names of folders of masks; words before belong to the folder of images: `train_labels`."""

IMAGE_FOLDER = re.compile(r"images?|imgs?|jpegimages|inputs?|data|rgb", re.IGNORECASE)

ENDING = re.compile(
    r"[_. -](masks?|labels?|gt|l|seg(mentation)?|annot(ation)?|semantic|ground_?truth)$",
    re.IGNORECASE,
)
"""What the names of masks add to those of images: `x_mask.png`."""

Key = tuple[str, ...]


class Pair(NamedTuple):
    """An image and its mask."""

    image: pathlib.Path
    mask: pathlib.Path


class Pairs(NamedTuple):
    """The pairs of a source.

    Attributes:
      pairs: images with their masks.
      alone: images that have no mask.
      problems: a line for each mask that has no image.
    """

    pairs: Sequence[Pair]
    alone: Sequence[pathlib.Path]
    problems: Sequence[str] = ()

    def with_problems(self, annotations: Annotations) -> Annotations:
        """Returns the annotations of the pairs, with the problems of their masks."""
        problems = (*self.problems, *annotations.problems)
        return dataclasses.replace(annotations, problems=problems)


def find_pairs(files: SourceFiles) -> Pairs | None:
    """Returns each mask with its image; None if files are not laid out as images and masks.

    Masks lie in a folder of their own, beside that of the images or below the same split, or
    beside the images with a name of their own: `x.jpg` and `x_mask.png`. In a folder of their
    own they have the image's name, add an ending to it, or have the same number at its end.

    Masks in a folder of masks that have no image are problems of the source.

    Raises:
      InputError: no rule pairs the masks that seem to have one.
    """
    images, masks = split_files(files)
    if not masks:
        images, masks = _beside(files)
    if not images or not masks:
        return None
    if found := _by_a_rule(images, masks):
        return found
    matched = {key[-1] for key in images.values()}
    if not any(_stem_of_mask(key[-1]) in matched for key in masks.values()):
        return None
    lonely = _without_image(images, masks)
    rest = {path: key for path, key in masks.items() if path not in lonely}
    if not rest:
        raise InputError(f"{_no_image(lonely[0], images)} There are {len(lonely)} such masks.")
    found = _by_a_rule(images, rest) if lonely else None
    if found is None:
        raise InputError(
            f"{next(iter(rest))} and other masks share an image: keep one mask an image, or "
            "force a format with --format."
        )
    return found._replace(problems=[_no_image(path, images) for path in lonely])


def _by_a_rule(images: dict[pathlib.Path, Key], masks: dict[pathlib.Path, Key]) -> Pairs | None:
    """Returns the pairs, if a rule gives each mask an image."""
    for rule in (_same, _with_ending, _numbered):
        if found := rule(images, masks):
            used = set(found.values())
            pairs = [Pair(found[mask], mask) for mask in sorted(found)]
            pairs.sort(key=lambda pair: pair.image)
            return Pairs(pairs, [image for image in images if image not in used])
    return None


def split_files(
    files: SourceFiles,
) -> tuple[dict[pathlib.Path, Key], dict[pathlib.Path, Key]]:
    """Returns (images, masks), each with its folders, without those that say which it is."""
    images, masks = {}, {}
    for path in files.find(*IMAGES):
        parts = path.relative_to(files.root).parts if path.is_relative_to(files.root) else ()
        kinds = [MASK_FOLDER.fullmatch(part) for part in parts[:-1]]
        kept = [
            kind["before"] if kind else part
            for part, kind in zip(parts[:-1], kinds, strict=True)
            if not (kind and not kind["before"]) and not IMAGE_FOLDER.fullmatch(part)
        ]
        key = (*(composed(part).casefold() for part in kept), composed(path.stem))
        (masks if any(kinds) else images)[path] = key
    return images, masks


def _beside(files: SourceFiles) -> tuple[dict[pathlib.Path, Key], dict[pathlib.Path, Key]]:
    """Returns (images, masks) that share folders: a mask is an image's name and an ending."""
    everything, _ = split_files(files)
    keys = set(everything.values())
    masks = {
        path: key
        for path, key in everything.items()
        if ENDING.search(key[-1]) and (*key[:-1], _stem_of_mask(key[-1])) in keys
    }
    return {path: key for path, key in everything.items() if path not in masks}, masks


def _stem_of_mask(stem: str) -> str:
    return ENDING.sub("", stem)


def _same(images: dict, masks: dict) -> dict[pathlib.Path, pathlib.Path] | None:
    return _matched(images, masks, str, str)


def _with_ending(images: dict, masks: dict) -> dict[pathlib.Path, pathlib.Path] | None:
    return _matched(images, masks, str, _stem_of_mask)


def _numbered(images: dict, masks: dict) -> dict[pathlib.Path, pathlib.Path] | None:
    """Returns pairs by the number at the end, where all words before it are the same."""
    words = [
        {re.sub(r"\d+$", "", key[-1]) for key in group.values()} for group in (images, masks)
    ]
    if any(len(group) != 1 for group in words):
        return None

    def number(stem: str) -> str:
        match = re.search(r"\d+$", stem)
        return str(int(match[0])) if match else stem

    return _matched(images, masks, number, number)


def _matched(
    images: dict[pathlib.Path, Key],
    masks: dict[pathlib.Path, Key],
    of_image: Callable[[str], str],
    of_mask: Callable[[str], str],
) -> dict[pathlib.Path, pathlib.Path] | None:
    """Returns {mask: image} if a rule gives each mask one image, and each another."""
    by_key = collections.defaultdict(list)
    for path, key in images.items():
        by_key[(*key[:-1], of_image(key[-1]))].append(path)
    found = {}
    for path, key in masks.items():
        fitting = by_key.get((*key[:-1], of_mask(key[-1])), [])
        if len(fitting) != 1:
            return None
        found[path] = fitting[0]
    return found if len(set(found.values())) == len(found) else None


def _without_image(
    images: dict[pathlib.Path, Key], masks: dict[pathlib.Path, Key]
) -> list[pathlib.Path]:
    """Returns the masks that have the name of no image."""
    keys = set(images.values())
    return [
        path
        for path, key in masks.items()
        if key not in keys and (*key[:-1], _stem_of_mask(key[-1])) not in keys
    ]


def _no_image(mask: pathlib.Path, images: dict[pathlib.Path, Key]) -> str:
    close = nearest(mask.stem, {str(path): path.stem for path in images})
    near = f"; near: {close[0]}" if close else ""
    return (
        f"The mask {mask} has no image of its name{near}: add the image, or leave the mask out."
    )
