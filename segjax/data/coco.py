"""COCO (Lin et al., 2014, arXiv:1405.0312), with the sets of classes that are trained on."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.coco_classes import PANOPTIC, STUFF, THINGS, VOC_CATEGORIES
from segjax.data.coco_file import CocoImage, annotation_name
from segjax.data.coco_index import CocoIndex, Row
from segjax.data.coco_objects import annotation_area, annotation_box, coco_objects
from segjax.data.coco_panoptic import panoptic_sources
from segjax.data.coco_shapes import draw, is_empty
from segjax.data.coco_sources import name_row, sources_of
from segjax.data.drawn_objects import ObjectRule, check_broken_objects
from segjax.data.files import IMAGES, Place, by_stem, existing_folder, paired
from segjax.data.label_map import LabelMap
from segjax.data.made_masks import MadeMask, Make, Size
from segjax.data.palette import voc_palette
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.data.voc import CLASSES as VOC_CLASSES
from segjax.errors import InputError

SPLITS = ("train", "val")
LEAST_AREA = 1000
"""Pixels that objects of VOC's classes cover together in an image to train on."""

NAMES = {
    "things": ("background", *THINGS.values()),
    "voc": VOC_CLASSES,
    "stuff": (*THINGS.values(), *STUFF.values()),
    "panoptic": tuple(PANOPTIC.values()),
    "instances": ("background", *THINGS.values()),
    "instances91": ("background", *(THINGS.get(number, "N/A") for number in range(1, 91))),
}
"""The names of the classes of each set, in the order of their ids."""

INSTANCES = {
    "instances": {category: place for place, category in enumerate(THINGS, 1)},
    "instances91": {category: category for category in THINGS},
}
"""{category id: class id} of each set whose examples always have objects."""

Label_HW = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class COCO(FileDataset):
    """The split `train` (118,287 images of 2017) or `val` (5000).

    `directory` holds the images in `train2017/` and `val2017/` (or in `images/`). `classes`
    says which labels are read, from where:

    * "things": 80 classes of objects and the background, from
      `annotations/instances_train2017.json`. A later object covers earlier ones; a crowd
      becomes 255 where no object covers it.
    * "voc": VOC's 20 classes and the background, from the same file, as torchvision's training
      scripts make them. A pixel of two objects becomes 255; a crowd is an object. Images to
      train on are those in which the objects' areas are more than 1000 pixels together; all
      images count for `val`.
    * "stuff": the 171 classes of COCO-Stuff (Caesar et al., 2018, arXiv:1612.03716), from
      `stuffthingmaps/train2017/*.png`. Id 255 of the files is ignored, and so are the ids of 11
      categories that have no objects.
    * "panoptic": the 133 classes of the panoptic task (Kirillov et al., 2019,
      arXiv:1801.00868), from `annotations/panoptic_train2017.json` and the PNGs in the folder
      beside it. Pixels of no segment become 255, and those of crowds have their class. With
      `objects=True`, the segments of the 80 things are objects too.
    * "instances": the classes, files and labels of "things", with objects (`segjax.objects`).
      Boxes are the annotations' own, cut at the image's border. So are the areas, which decide
      what is small in the scores. Images to train on are those with a box whose sides are
      longer than a pixel; all images count for `val`.
    * "instances91": the same with 91 classes whose ids are COCO's category ids, as the weights
      of torchvision have them. The ten ids without objects are called "N/A".

    COCO has a few objects that cannot be used: boxes without area, and outlines so thin that
    they have no pixel. They are left out, and a line says how many; `broken_objects="refuse"`
    makes the first one an error.
    """

    split: str = "train"
    directory: str | None = None
    classes: str = "things"
    objects: bool = False
    broken_objects: str | None = None

    def __post_init__(self):
        if self.split not in SPLITS:
            raise InputError(f"COCO has the splits {', '.join(SPLITS)}, got {self.split!r}.")
        if self.classes not in NAMES:
            raise InputError(
                f"COCO has the classes {', '.join(NAMES)}, got classes={self.classes!r}."
            )
        if self.objects and self.classes not in (*INSTANCES, "panoptic"):
            raise InputError(
                f"COCO has objects=True and classes={self.classes!r}, which has no objects: "
                f"set classes to one of {', '.join((*INSTANCES, 'panoptic'))}."
            )
        check_broken_objects("COCO", self.broken_objects, has_objects=bool(self.things))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of COCO's category ids, or of VOC's."""
        return NAMES[self.classes]

    @property
    def things(self) -> tuple[int, ...]:
        """The ids of the 80 things where examples have objects, else ()."""
        if self.classes in INSTANCES:
            return tuple(INSTANCES[self.classes].values())
        return tuple(range(len(THINGS))) if self.objects else ()

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """VOC's table, which has a colour for each class."""
        return voc_palette()

    @property
    def file_ids(self) -> tuple[int, ...]:
        """The category id of each class, 0 of the background, and 255 of ignored pixels.

        The ids of "stuff" are those in its maps, which are category ids minus 1.
        """
        ids = {
            "things": (0, *THINGS),
            "voc": VOC_CATEGORIES,
            "stuff": tuple(category - 1 for category in (*THINGS, *STUFF)),
            "panoptic": tuple(PANOPTIC),
            "instances": (0, *THINGS),
            "instances91": tuple(range(91)),
        }
        return (*ids[self.classes], IGNORE)

    def _recipe(self) -> Recipe:
        return Recipe(
            f"coco-{self.classes}-{self.split}",
            num_classes=len(self.class_names),
            label_map=_stuff_map() if self.classes == "stuff" else (),
            objects=ObjectRule(self.things, self.broken_objects or "drop")
            if self.things
            else None,
        )

    def _sources(self) -> Sequence[Source]:
        root = existing_folder(self.directory, "COCO", "train2017/, val2017/ and annotations/")
        year = f"{self.split}2017"
        images = next((p for p in (root / year, root / "images" / year) if p.is_dir()), None)
        images = images or root / year
        if self.classes == "stuff":
            return _of_maps(root, year, images)
        if self.classes == "panoptic":
            path = root / "annotations" / f"panoptic_{year}.json"
            index = CocoIndex(path, categories=PANOPTIC)
            return panoptic_sources(index, images, objects=self.objects)
        path = root / "annotations" / f"instances_{year}.json"
        index = CocoIndex(path, categories=THINGS)
        if self.classes in INSTANCES:
            return _instances(index, images, self.classes, is_train=self.split == "train")
        if self.classes == "things":
            return _drawn(index, images, _thing_label, "all", name_row)
        if self.split == "val":
            return _drawn(index, images, _voc_label, "all", name_row)
        return _drawn(index, images, _voc_label, "voc", functools.partial(_voc_row, path))


def _instances(
    index: CocoIndex, images: pathlib.Path, kind: str, *, is_train: bool
) -> Sequence[Source]:
    """Returns the sources of images with objects, whose labels are those of "things"."""
    classes = INSTANCES[kind]
    rows = index.rows(
        *(("boxes", functools.partial(_box_row, index.path)) if is_train else ("all", name_row))
    )
    made = [
        MadeMask(
            make=_instance_label(index, number, classes),
            key=f"{kind} {index.digest} {number}",
            where=f"{index.path}, image {number}",
        )
        for number, _ in rows
    ]
    objects = [coco_objects(index, number, classes, about=kind) for number, _ in rows]
    return sources_of(index, images, [file for _, file in rows], made, objects=objects)


def _instance_label(index: CocoIndex, number: str, classes: Mapping[int, int]) -> Make:
    def make(contents: Sequence[bytes], size: Size) -> Label_HW:
        """Returns the class of each pixel."""
        del contents
        return _thing_label(index.path, index.image(number), size, classes=classes)

    return make


def _box_row(path: pathlib.Path, image: CocoImage) -> Row | None:
    """Returns None where no box has sides longer than a pixel, which torchvision leaves out.

    So does `_coco_remove_images_without_annotations` of its references/detection/coco_utils.py.
    """
    boxed = [a for a in image.annotations if annotation_box(a, annotation_name(path, a))]
    wide = any(min(annotation["bbox"][2:]) > 1 for annotation in boxed)
    return name_row(image) if wide else None


def _voc_row(path: pathlib.Path, image: CocoImage) -> Row | None:
    """Returns None where objects of VOC's classes cover too little, as torchvision counts."""
    objects = [a for a in image.annotations if a["category_id"] in VOC_CATEGORIES]
    areas = [annotation_area(a, annotation_name(path, a)) or 0 for a in objects]
    return name_row(image) if sum(areas) > LEAST_AREA else None


def _drawn(
    index: CocoIndex,
    images: pathlib.Path,
    label: Callable[[pathlib.Path, CocoImage, Size], Label_HW],
    about: str,
    row: Callable[[CocoImage], Row | None],
) -> Sequence[Source]:
    """Returns a source for each row, whose label is drawn from the image's annotations."""

    def make(number: str, contents: Sequence[bytes], size: Size) -> Label_HW:
        """Returns the label of the image with this number."""
        del contents
        return label(index.path, index.image(number), size)

    rows = index.rows(about, row)
    made = [
        MadeMask(
            make=functools.partial(make, number),
            key=f"{label.__name__} {index.digest} {number}",
            where=f"{index.path}, image {number}",
        )
        for number, *_ in rows
    ]
    return sources_of(index, images, [file for _, file in rows], made)


def _thing_label(
    path: pathlib.Path,
    image: CocoImage,
    size: Size,
    *,
    classes: Mapping[int, int] = INSTANCES["instances"],
) -> Label_HW:
    """Returns the last object's class of each pixel; crowds are 255 below all objects."""
    label = np.zeros(size, np.uint8)
    crowds = [a for a in image.annotations if a.get("iscrowd")]
    for annotation in (*crowds, *(a for a in image.annotations if not a.get("iscrowd"))):
        if not is_empty(annotation.get("segmentation")):
            category = annotation["category_id"]
            value = IGNORE if annotation.get("iscrowd") else classes[category]
            label[_mask(path, annotation, size)] = value
    return label


def _voc_label(path: pathlib.Path, image: CocoImage, size: Size) -> Label_HW:
    """Returns each pixel's class of VOC, and 255 where two objects overlap.

    So do `FilterAndRemapCocoCategories` and `ConvertCocoPolysToMask` of torchvision's
    references/segmentation/coco_utils.py.
    """
    classes = {category: place for place, category in enumerate(VOC_CATEGORIES)}
    label, objects = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for annotation in image.annotations:
        category = annotation["category_id"]
        if category in classes and not is_empty(annotation.get("segmentation")):
            mask = _mask(path, annotation, size)
            label[mask] = classes[category]
            objects[mask & (objects < 2)] += 1
    label[objects > 1] = IGNORE
    return label


def _mask(path: pathlib.Path, annotation: Mapping[str, Any], size: Size) -> np.ndarray:
    height, width = size
    where = annotation_name(path, annotation)
    return draw(annotation["segmentation"], height=height, width=width, where=where)


def _of_maps(root: pathlib.Path, year: str, images: pathlib.Path) -> Sequence[Source]:
    folders = [root / name / year for name in ("stuffthingmaps", "stuffthingmaps_trainval2017")]
    masks = next((folder for folder in folders if folder.is_dir()), folders[0])
    found_images, found_masks = by_stem(images, IMAGES), by_stem(masks, (".png",))
    return paired(
        found_images,
        found_masks,
        sorted(found_images.keys() | found_masks.keys()),
        image_place=Place(images, IMAGES),
        mask_place=Place(masks, (".png",)),
    )


def _stuff_map() -> LabelMap:
    """Returns the class of each id of the maps, which are category ids minus 1."""
    classes = {category: place for place, category in enumerate(THINGS | STUFF)}
    return tuple((i - 1, classes.get(i, IGNORE)) for i in range(1, 183))
