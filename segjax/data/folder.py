"""Your own images and masks, side by side in a folder."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.files import IMAGES, MASKS, by_stem, existing_folder, paired
from segjax.data.label_map import LabelMap, check_label_map
from segjax.data.lists import listed
from segjax.data.mask_pattern import MaskPattern
from segjax.data.names import inside, near_entry
from segjax.data.palette import palette_of, voc_palette, voc_planes
from segjax.data.prepare import FileDataset, Recipe, Source
from segjax.errors import InputError


@dataclass(frozen=True)
class Folder(FileDataset):
    """Images below `directory`/`images`, masks of the same relative names below `masks`.

    Without a split, every image counts. With one, either of two layouts::

        directory/                          directory/
          train.txt   one name a line         images/train/a.jpg
          images/a.jpg                        masks/train/a.png
          masks/a.png

    A mask is an image of one channel, of equal channels, or with a palette (PNG, TIFF, BMP),
    or a grey GIF. Its stored samples, at any depth, are class ids in the order of
    `class_names`; 255 is ignored. `label_map` renames other ids, as pairs (id in the file,
    class id or 255): the first pair that fits decides, and ids that none fits stay. So masks of
    0 and 255 are read by `label_map=((255, 1),)`, and ADE20K's by
    `((0, 255), (1, 0), (2, 1), …)`. A pair may also name a range: `((">127", 1), ("else", 0))`,
    `(("nonzero", 1),)`; others are ">=128", "<10", "<=9" and "10-20". Masks that store one
    white as 1 and another as 255 are refused unless the label map gives them one class.

    Images and masks are turned as the EXIF data of each say; images become RGB (`channels=3`)
    or grey (`channels=1`). Files of several pages (TIFF; moving pictures) give one example a
    page, if image and mask have equally many. Images above `max_megapixels` are refused.
    `colours` are for drawing: one (red, green, blue) a class; VOC's are the default.

    For classes that overlap (`tasks.multilabel`), a label has a plane a class, h w k, without
    background: 1 inside, 0 outside, 255 ignored, which `label_map` renames as above. Either
    `masks` names a folder a class, or a pattern in which * is the image's name::

        Folder(class_names=("disc", "cup"), masks=("disc", "cup"), label_map=((255, 1),))
        Folder(class_names=("disc", "cup"), masks=("masks/*_disc", "masks/*_cup"))

    or `planes=True`: a mask has a channel a class (two to four of 8 bits, alpha too), or is a
    TIFF of one page a class.
    """

    split: str | None = None
    directory: str | None = None
    images: str = "images"
    masks: str | tuple[str, ...] = "masks"
    class_names: tuple[str, ...] = ()
    label_map: LabelMap = ()
    channels: int = 3
    colours: tuple[tuple[int, int, int], ...] | None = None
    max_megapixels: float = DEFAULT_LIMIT.megapixels
    planes: bool | None = None

    def __post_init__(self):
        count = len(self.class_names)
        if not 1 <= count <= IGNORE:
            raise InputError(
                f"Folder needs class_names=('background', ...), 1 to 255 names, got {count}."
            )
        if self.channels not in (1, 3):
            raise InputError(f"Folder makes images of channels=1 or 3, got {self.channels}.")
        self._check_masks()
        check_label_map(self.label_map, 2 if self.has_planes else count)
        if not self.max_megapixels > 0:
            raise InputError(f"Folder needs max_megapixels > 0, got {self.max_megapixels}.")
        if self.colours is not None and len(self.colours) != count:
            raise InputError(
                f"Folder needs one colour a class, got {len(self.colours)} colours for {count} "
                "classes."
            )

    def _check_masks(self) -> None:
        if not isinstance(self.planes, bool | None):
            raise InputError(
                f"Folder has planes={self.planes!r}: write planes=True where one file holds "
                "all planes, or leave it out."
            )
        if isinstance(self.masks, str):
            patterns = (self.masks,)
            if "*" in self.masks and not self.planes:
                raise InputError(
                    f"Folder has masks={self.masks!r}: one pattern alone is for planes=True; "
                    f'of one class, write masks=("{self.masks}",), of an index mask a folder.'
                )
        else:
            patterns = self.masks
            self._check_pattern_a_class()
        for pattern in patterns:
            MaskPattern.of(pattern)

    def _check_pattern_a_class(self) -> None:
        masks = self.masks
        if not isinstance(masks, Sequence) or not all(isinstance(each, str) for each in masks):
            raise InputError(
                f'Folder has masks={masks!r}: write the name of a folder, as "masks", or a '
                "tuple of one folder or pattern a class."
            )
        if self.planes is not None:
            remedy = (
                "name the one folder of files that hold all planes, or leave planes out"
                if self.planes
                else "name the one folder of masks of ids, or leave planes out"
            )
            raise InputError(
                f"Folder has a folder or pattern a class, masks={masks!r}, and planes="
                f"{self.planes}: {remedy}."
            )
        if len(masks) != len(self.class_names):
            raise InputError(
                f"Folder has {len(masks)} masks for {len(self.class_names)} class(es): name "
                "one folder or pattern a class."
            )
        known: set[MaskPattern] = set()
        for pattern in (MaskPattern.of(str(pathlib.PurePosixPath(each))) for each in masks):
            if pattern in known:
                raise InputError(
                    f"Folder has masks={masks!r}, which gives two classes the same masks: name "
                    "another folder or pattern for one of them."
                )
            known.add(pattern)

    @property
    def has_planes(self) -> bool:
        """Whether a label has a plane a class, h w k."""
        return bool(self.planes) or not isinstance(self.masks, str)

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """`colours`, or VOC's."""
        if self.colours is not None:
            return palette_of(self.colours)
        return voc_planes(len(self.class_names)) if self.has_planes else voc_palette()

    def _recipe(self) -> Recipe:
        return Recipe(
            "folder" if self.split is None else f"folder-{pathlib.PurePath(self.split).name}",
            num_classes=len(self.class_names),
            channels=self.channels,
            label_map=self.label_map,
            limit=Limit(self.max_megapixels, "Folder(max_megapixels={})"),
            planes=self.has_planes,
        )

    def _sources(self) -> list[Source]:
        patterns = (self.masks,) if isinstance(self.masks, str) else self.masks
        wanted = " and ".join(f"{each}{'' if '*' in each else '/'}" for each in patterns)
        root = existing_folder(self.directory, "Folder", f"{self.images}/ and {wanted}")
        names = inside(root, f"{self.split}.txt")
        is_list = self.split is not None and names.is_file()
        below = None if is_list else self.split
        images = self._part(root, self.images, below)
        if below is not None and not images.is_dir():
            raise InputError(
                f"Folder's split {self.split!r} needs the list {names}{near_entry(names)} "
                f"or the folder {images}{near_entry(images)}: make one of them, or leave "
                "split=None for all images."
            )
        stems = listed(names, _without_suffix) if is_list else None
        image_files = by_stem(images, IMAGES)
        found = [
            _found(pattern, self._part(root, pattern.folder, below))
            for pattern in map(MaskPattern.of, patterns)
        ]
        by_class = [
            _paired(images, image_files, masks, stems, taken=_taken(image_files, found, masks))
            for masks in found
        ]
        return by_class[0] if isinstance(self.masks, str) else _joined(by_class)

    def _part(self, root: pathlib.Path, folder: str, split: str | None) -> pathlib.Path:
        part = inside(root, folder)
        return part if split is None else inside(part, split)


class _Masks(NamedTuple):
    """The mask files of one pattern in a folder, by the names of the images they are for."""

    pattern: MaskPattern
    folder: pathlib.Path
    files: dict[str, pathlib.Path]


def _found(pattern: MaskPattern, folder: pathlib.Path) -> _Masks:
    by_image = {
        name: path
        for stem, path in by_stem(folder, MASKS).items()
        if (name := pattern.image(stem)) is not None
    }
    return _Masks(pattern, folder, by_image)


def _taken(
    images: Mapping[str, pathlib.Path], found: Sequence[_Masks], but: _Masks
) -> set[pathlib.Path]:
    """Returns the mask files that other patterns than `but` give to an image.

    Where one pattern is the end of another, as "*_tumor" of "*_core_tumor", it fits masks of
    the other too.
    """
    others = (masks for masks in found if masks is not but)
    return {path for masks in others for name, path in masks.files.items() if name in images}


def _paired(
    images: pathlib.Path,
    image_files: dict[str, pathlib.Path],
    masks: _Masks,
    stems: list[str] | None,
    *,
    taken: Collection[pathlib.Path],
) -> list[Source]:
    """Returns images with their masks of one pattern; `stems` is what a list names, or None."""
    free = {name for name, path in masks.files.items() if path not in taken}
    return paired(
        image_files,
        masks.files,
        sorted(image_files.keys() | free) if stems is None else stems,
        image_folder=images,
        mask_folder=masks.folder,
        mask_name=masks.pattern.mask,
    )


def _joined(by_class: Sequence[Sequence[Source]]) -> list[Source]:
    """Returns one source an image, with the masks of all classes."""
    return [
        Source(same[0].name, same[0].image, tuple(mask for s in same for mask in s.masks))
        for same in zip(*by_class, strict=True)
    ]


def _without_suffix(name: str) -> str:
    path = pathlib.PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGES else str(path)
