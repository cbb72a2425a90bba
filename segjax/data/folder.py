"""Your own images and masks, side by side in a folder."""

import pathlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.files import IMAGES, MASKS, by_stem, existing_folder, paired
from segjax.data.label_map import LabelMap, check_label_map
from segjax.data.lists import listed
from segjax.data.names import inside, near_entry
from segjax.data.palette import palette_of, voc_palette
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
    """

    split: str | None = None
    directory: str | None = None
    images: str = "images"
    masks: str = "masks"
    class_names: tuple[str, ...] = ()
    label_map: LabelMap = ()
    channels: int = 3
    colours: tuple[tuple[int, int, int], ...] | None = None
    max_megapixels: float = DEFAULT_LIMIT.megapixels

    def __post_init__(self):
        count = len(self.class_names)
        if not 1 <= count <= IGNORE:
            raise InputError(
                f"Folder needs class_names=('background', ...), 1 to 255 names, got {count}."
            )
        if self.channels not in (1, 3):
            raise InputError(f"Folder makes images of channels=1 or 3, got {self.channels}.")
        check_label_map(self.label_map, count)
        if not self.max_megapixels > 0:
            raise InputError(f"Folder needs max_megapixels > 0, got {self.max_megapixels}.")
        if self.colours is not None and len(self.colours) != count:
            raise InputError(
                f"Folder needs one colour a class, got {len(self.colours)} colours for {count} "
                "classes."
            )

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """`colours`, or VOC's."""
        return voc_palette() if self.colours is None else palette_of(self.colours)

    def _recipe(self) -> Recipe:
        return Recipe(
            "folder" if self.split is None else f"folder-{pathlib.PurePath(self.split).name}",
            num_classes=len(self.class_names),
            channels=self.channels,
            label_map=self.label_map,
            limit=Limit(self.max_megapixels, "Folder(max_megapixels={})"),
        )

    def _sources(self) -> list[Source]:
        root = existing_folder(self.directory, "Folder", f"{self.images}/ and {self.masks}/")
        images, masks = inside(root, self.images), inside(root, self.masks)
        names = inside(root, f"{self.split}.txt")
        if self.split is not None and not names.is_file():
            images, masks = inside(images, self.split), inside(masks, self.split)
            if not images.is_dir():
                raise InputError(
                    f"Folder's split {self.split!r} needs the list {names}{near_entry(names)} "
                    f"or the folder {images}{near_entry(images)}: make one of them, or leave "
                    "split=None for all images."
                )
        image_files, mask_files = by_stem(images, IMAGES), by_stem(masks, MASKS)
        stems = sorted(image_files.keys() | mask_files.keys())
        if self.split is not None and names.is_file():
            stems = listed(names, _without_suffix)
        return paired(image_files, mask_files, stems, image_folder=images, mask_folder=masks)


def _without_suffix(name: str) -> str:
    path = pathlib.PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGES else str(path)
