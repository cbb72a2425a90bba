"""ADE20K's scene parsing benchmark: 150 classes (Zhou et al., 2017, arXiv:1608.05442)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.files import IMAGES, Place, by_stem, existing_folder, paired
from segjax.data.palette import voc_palette
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.errors import InputError

NAMES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf,
house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub,
railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink,
skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar,
arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
television, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman,
bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food,
step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket,
sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate,
monitor, bulletin board, shower, radiator, glass, clock, flag
"""
"""The first of each class's synonyms, in the order of the ids 1 … 150."""

CLASSES = tuple(name.strip() for name in NAMES.split(","))
FOLDERS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class ADE20K(FileDataset):
    """The split `train` (20210 images) or `val` (2000), of many sizes.

    `directory` is `ADEChallengeData2016`, which holds `images/training/*.jpg`,
    `annotations/training/*.png`, and the same for `validation`. In the files, id 0 means none
    of the classes: it becomes 255, and ids 1 … 150 become 0 … 149.
    """

    split: str = "train"
    directory: str | None = None

    def __post_init__(self):
        if self.split not in FOLDERS:
            raise InputError(f"ADE20K has the splits {', '.join(FOLDERS)}, got {self.split!r}.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 150 classes in the order of their ids."""
        return CLASSES

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """VOC's table, which has a colour for each of 150 classes too."""
        return voc_palette()

    def _recipe(self) -> Recipe:
        label_map = ((0, IGNORE), *((i + 1, i) for i in range(len(CLASSES))))
        return Recipe(f"ade20k-{self.split}", num_classes=len(CLASSES), label_map=label_map)

    def _sources(self) -> list[Source]:
        root = existing_folder(self.directory, "ADE20K", "images/ and annotations/")
        folder = FOLDERS[self.split]
        images, masks = root / "images" / folder, root / "annotations" / folder
        found_images, found_masks = by_stem(images, IMAGES), by_stem(masks, (".png",))
        stems = sorted(found_images.keys() | found_masks.keys())
        return paired(
            found_images,
            found_masks,
            stems,
            image_place=Place(images, IMAGES),
            mask_place=Place(masks, (".png",)),
        )
