"""CamVid: street scenes from a car, 11 classes, in the layout of SegNet's tutorial.

The original release has 701 frames of 960 × 720 pixels, whose masks are painted in 32 colours.
`Folder` reads it with the tables here::

    Folder(
        image="701_StillsRaw_full/{stem}.png",
        mask="LabeledApproved_full/{stem}_L.png",
        class_names=tuple(COLOURS_32),
        colours=tuple(COLOURS_32.values()),
        mask_colours=MASK_COLOURS_32,
    )
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.colour_masks import MaskColours
from segjax.data.files import IMAGES, MASKS, Place, by_stem, existing_folder, paired
from segjax.data.lists import listed_stems
from segjax.data.palette import palette_of
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.errors import InputError

COLOURS = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
COLOURS_32 = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Wall": (64, 192, 0),
}
"""The original classes in the order of `label_colors.txt`, without Void."""

MASK_COLOURS_32: MaskColours = (
    *((colour, index) for index, colour in enumerate(COLOURS_32.values())),
    ((0, 0, 0), IGNORE),
)
"""What the colours of the original masks mean; Void is ignored."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CamVid(FileDataset):
    """The split `train` (367 images), `val` (101) or `test` (233), 480 × 360 pixels.

    `directory` holds for each split the images `train/`, the masks `trainannot/` and the list
    `train.txt`, one image a line. Id 11 of the files, void, becomes 255.
    """

    split: str = "train"
    directory: str | None = None

    def __post_init__(self):
        if self.split not in SPLITS:
            raise InputError(f"CamVid has the splits {', '.join(SPLITS)}, got {self.split!r}.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 11 classes in SegNet's order."""
        return tuple(COLOURS)

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """SegNet's colours."""
        return palette_of(tuple(COLOURS.values()))

    def _recipe(self) -> Recipe:
        void = ((len(COLOURS), IGNORE),)
        return Recipe(f"camvid-{self.split}", num_classes=len(COLOURS), label_map=void)

    def _sources(self) -> list[Source]:
        root = existing_folder(self.directory, "CamVid", "train/, trainannot/ and train.txt")
        images, masks = root / self.split, root / f"{self.split}annot"
        return paired(
            by_stem(images, IMAGES),
            by_stem(masks, MASKS),
            listed_stems(root / f"{self.split}.txt"),
            image_place=Place(images, IMAGES),
            mask_place=Place(masks, MASKS),
        )
