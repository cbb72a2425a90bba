"""ISBI 2012: cell membranes in serial sections of a fly larva, by electron microscope."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segjax.data.files import IMAGES, MASKS, Place, by_stem, existing_folder, paired
from segjax.data.palette import palette_of
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.errors import InputError

SPLITS = ("train", "val", "all")


@dataclass(frozen=True)
class ISBI2012(FileDataset):
    """The 30 labelled sections, 512 × 512, grey; the U-Net paper's data.

    `directory` holds `image/*.png` and `label/*.png` of the same names; labels are 0 (membrane)
    and 255 (cell). The labels of the challenge's own test stack were never published, so the
    last `held_out` sections are `val` and those before them `train`. Neighbouring sections look
    alike: one block at the end is a more honest test than every fifth section would be.
    """

    split: str = "train"
    directory: str | None = None
    held_out: int = 6

    def __post_init__(self):
        if self.split not in SPLITS:
            raise InputError(
                f"ISBI2012 has the splits {', '.join(SPLITS)}, got {self.split!r}."
            )
        if self.held_out < 1:
            raise InputError(f"ISBI2012 needs held_out >= 1, got {self.held_out}.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class 0 and class 1."""
        return ("membrane", "cell")

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """Black membranes, white cells, as in the challenge's files."""
        return palette_of([(0, 0, 0), (255, 255, 255)])

    @property
    def channels(self) -> int:
        """Grey images have one."""
        return 1

    def _recipe(self) -> Recipe:
        renamed = ((255, 1),)
        return Recipe(
            f"isbi2012-{self.split}", num_classes=2, channels=self.channels, label_map=renamed
        )

    def _sources(self) -> list[Source]:
        root = existing_folder(self.directory, "ISBI2012", "image/ and label/")
        images, masks = by_stem(root / "image", IMAGES), by_stem(root / "label", MASKS)
        sources = paired(
            images,
            masks,
            sorted(images.keys() | masks.keys()),
            image_place=Place(root / "image", IMAGES),
            mask_place=Place(root / "label", MASKS),
        )
        if self.held_out >= len(sources):
            raise InputError(
                f"ISBI2012 cannot hold out {self.held_out} of {len(sources)} sections: lower "
                "held_out."
            )
        parts = {"train": sources[: -self.held_out], "val": sources[-self.held_out :]}
        return parts.get(self.split, sources)
