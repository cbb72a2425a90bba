"""SBD (Hariharan et al., 2011), and the union of VOC's and SBD's images known as trainaug."""

import logging
import pathlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segjax.announce import LOGGER
from segjax.data.faults import raise_first
from segjax.data.files import IMAGES, by_stem, existing_folder
from segjax.data.lists import listed_stems
from segjax.data.made_masks import MadeMask, Size
from segjax.data.palette import voc_palette
from segjax.data.prepare import FileDataset
from segjax.data.sbd_mat import class_ids
from segjax.data.source import Recipe, Source
from segjax.data.voc import CLASSES
from segjax.errors import InputError

SPLITS = ("train", "val")
TRAINAUG = 10_582
"""Images of trainaug in the complete archives."""


class _Classes:
    """VOC's 20 classes and the background."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background, then the objects in alphabetical order."""
        return CLASSES

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """VOC's colours."""
        return voc_palette()


@dataclass(frozen=True)
class SBD(_Classes, FileDataset):
    """The split `train` (8498 images) or `val` (2857), with VOC's classes.

    `directory` is the unpacked archive `benchmark_RELEASE`, or a folder that holds it. Labels
    are read from `dataset/cls/*.mat`; no pixel is ignored. SBD's `val` is not VOC's: each has
    images of the other's `train`.
    """

    split: str = "train"
    directory: str | None = None

    def __post_init__(self):
        if self.split not in SPLITS:
            raise InputError(f"SBD has the splits {', '.join(SPLITS)}, got {self.split!r}.")

    def _recipe(self) -> Recipe:
        return Recipe(f"sbd-{self.split}", num_classes=len(CLASSES))

    def _sources(self) -> Sequence[Source]:
        folder = _sbd(existing_folder(self.directory, "SBD", "benchmark_RELEASE/"))
        return _of_sbd(folder, listed_stems(folder / f"{self.split}.txt"))


@dataclass(frozen=True)
class TrainAug(_Classes, FileDataset):
    """The 10,582 images that published networks for VOC are trained on.

    They are VOC's `train` and all images of SBD that are not in VOC's `val`. `directory` holds
    both unpacked archives, `VOCdevkit` and `benchmark_RELEASE`. Images of VOC's `train` have
    VOC's masks, whose borders of objects are 255. The other ones have SBD's, which have no
    borders. `VOC("val")` takes the same directory.
    """

    directory: str | None = None

    def _recipe(self) -> Recipe:
        return Recipe("trainaug", num_classes=len(CLASSES))

    def _sources(self) -> Sequence[Source]:
        root = existing_folder(self.directory, "TrainAug", "VOCdevkit/ and benchmark_RELEASE/")
        voc, sbd = _voc(root), _sbd(root)
        lists = voc / "ImageSets" / "Segmentation"
        train, val = (listed_stems(lists / f"{split}.txt") for split in SPLITS)
        listed = [stem for split in SPLITS for stem in listed_stems(sbd / f"{split}.txt")]
        stems = trainaug(train, val, listed)
        if len(stems) != TRAINAUG and LOGGER.isEnabledFor(logging.INFO):
            print(
                f"TrainAug has {len(stems)} images; the complete archives have {TRAINAUG}. The "
                f"lists in {lists} name {len(train)} (train) and {len(val)} (val), those in "
                f"{sbd} {len(listed)}.",
                file=sys.stderr,
            )
        of_voc = _of_voc(voc, train)
        of_sbd = _of_sbd(sbd, sorted({*stems} - {*train}))
        return sorted([*of_voc, *of_sbd], key=lambda source: source.name)


def trainaug(train: Sequence[str], val: Sequence[str], sbd: Sequence[str]) -> list[str]:
    """Returns VOC's `train` and what SBD adds to it without VOC's `val`, in order of names.

    >>> trainaug(["2007_1", "2007_3"], ["2007_2"], ["2008_1", "2007_2", "2007_3"])
    ['2007_1', '2007_3', '2008_1']
    """
    return sorted({*train} | {*sbd} - {*val})


def _voc(root: pathlib.Path) -> pathlib.Path:
    places = (root / "VOCdevkit" / "VOC2012", root / "VOC2012")
    return _holding("JPEGImages", places, "the unpacked VOCdevkit")


def _sbd(root: pathlib.Path) -> pathlib.Path:
    places = (root / "benchmark_RELEASE" / "dataset", root / "dataset", root)
    return _holding("cls", places, "SBD's unpacked benchmark_RELEASE")


def _holding(name: str, places: Sequence[pathlib.Path], what: str) -> pathlib.Path:
    for place in places:
        if (place / name).is_dir():
            return place
    raise InputError(
        f"There is no folder {places[0] / name}: put {what} there, or change directory=... "
        "(--data DIR)."
    )


def _of_voc(folder: pathlib.Path, stems: Sequence[str]) -> list[Source]:
    """Returns sources of VOC's images and masks."""
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    found = [by_stem(images, IMAGES), by_stem(masks, (".png",))]
    _check_listed(stems, [images, masks], (".jpg", ".png"), found)
    return [Source(stem, found[0][stem], found[1][stem]) for stem in stems]


def _of_sbd(folder: pathlib.Path, stems: Sequence[str]) -> list[Source]:
    """Returns sources of SBD's images, whose masks are made of MATLAB files."""
    images, labels = folder / "img", folder / "cls"
    found = by_stem(images, IMAGES), by_stem(labels, (".mat",))
    _check_listed(stems, [images, labels], (".jpg", ".mat"), found)
    return [Source(stem, found[0][stem], _made(found[1][stem])) for stem in stems]


def _check_listed(
    stems: Sequence[str],
    folders: Sequence[pathlib.Path],
    suffixes: Sequence[str],
    found: Sequence[Mapping[str, pathlib.Path]],
) -> None:
    """Raises InputError if a listed image lacks a file; the line names the first one."""
    raise_first(
        [
            f"The file {folder / stem}{suffix} is missing, and a list names {stem}: unpack the "
            "archive again."
            for stem in stems
            for folder, suffix, files in zip(folders, suffixes, found, strict=True)
            if stem not in files
        ]
    )


def _made(path: pathlib.Path) -> MadeMask:
    def make(contents: Sequence[bytes], size: Size) -> UInt8[np.ndarray, "h w"]:
        """Returns the class of each pixel."""
        del size  # The map's size is compared with the image's.
        return class_ids(contents[0], name=path)

    return MadeMask(make, key="sbd", where=str(path), files=(path,))
