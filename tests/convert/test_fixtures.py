"""Every folder of Datumaro's fixtures is recognised and read, or refused for its reason.

Areas of masks and polygons are those that Datumaro 1.13 counts for the same files (but COCO).
Where regions overlap, the area is what later ones leave, in the order that the reader states.
"""

import collections
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats.table import recognized
from segjax.convert.source_files import FolderFiles
from segjax.data.cityscapes import CLASSES
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))

READ = {
    "ade20k2017_dataset/dataset": ("ade20k", 2, 2, {"person": 9, "sky": 9}),
    "ade20k2017_dataset/dataset_with_meta_file": ("ade20k", 1, 2, {"person": 6, "sky": 3}),
    "ade20k2020_dataset/dataset": ("ade20k", 2, 2, {"car": 30, "person": 10}),
    "ade20k2020_dataset/dataset_with_meta_file": ("ade20k", 1, 2, {"car": 15, "person": 5}),
    "cityscapes_dataset/dataset": ("cityscapes", 4, 19, {"truck": 3, "train": 2, "wall": 1}),
    "cityscapes_dataset/train_dataset": ("cityscapes", 4, 19, {"truck": 3, "person": 1}),
    "common_semantic_segmentation_dataset/dataset": (
        "colour-masks",
        2,
        5,
        {"Bicyclist": 4, "Road": 1, "Animal": 3, "Child": 2},
    ),
    "common_semantic_segmentation_dataset/non_standard_dataset": (
        "colour-masks",
        2,
        7,
        {"Bicyclist": 4, "Road": 2, "Animal": 2, "SignSymbol": 2},
    ),
    "cvat_dataset/for_images/export_project": ("cvat", 6, 2, {"label1": 3 * (8 + 1)}),
    "cvat_dataset/for_images/export_task": ("cvat", 2, 2, {"label1": 8, "label2": 0}),
    "cvat_dataset/for_video": ("cvat-video", 3, 3, {"II": 7, "klhg": 0}),
    "labelme_dataset": (
        "labelme-xml",
        1,
        7,
        {"window": 6, "license plate": 10, "q1": 87, "hg": 129, "b1": 110, "o1": 194},
    ),
    "voc_dataset/voc_dataset1": ("voc", 1, 20, {"bicycle": 200}),
    "coco_dataset/coco_instances": ("coco", 2, 3, {"a": 2}),
    "coco_dataset/coco_roboflow": ("coco", 2, 3, {"a": 2}),
    "coco_dataset/mmdet_coco": ("coco", 2, 3, {"a": 2}),
    "coco_dataset/coco_stuff": ("coco-stuff", 2, 2, {"a": 20, "b": 20}),
}
"""Folder: its format, how many images and classes it has, pixels of some classes."""

REFUSED = {
    "voc_dataset/voc_dataset2": "boxes in 4 XML files: a box does not say which pixels",
    "voc_dataset/voc_dataset3": "boxes in 1 XML files: a box does not say which pixels",
    "yolo_dataset/annotations": r"boxes and no outlines \(2 in all\): its labels",
    "yolo_dataset/labels": r"boxes and no outlines \(4 in all\): its labels",
    "yolo_dataset/strict": r"boxes and no outlines \(2 in all\): its labels",
    "coco_dataset/coco": "COCO objects .* COCO panoptic segments .* COCO stuff .*--format",
}
"""Folder: why it cannot be read as it is."""

ELSEWHERE = {"coco_dataset/coco_panoptic"}
"""An image and its mask of different sizes: `test_coco_panoptic.py`."""

NESTED = {"labelme_dataset": 0, "cvat_dataset/for_images": 2}
"""How many levels below `formats/` datasets lie, where it is not one."""


def folders(root):
    """Each dataset below a folder, by its path."""
    for family in sorted(path for path in root.iterdir() if path.is_dir()):
        if NESTED.get(family.name) == 0:
            yield family.name
            continue
        for folder in sorted(path for path in family.iterdir() if path.is_dir()):
            name = f"{family.name}/{folder.name}"
            below = sorted(folder.iterdir()) if name in NESTED else []
            yield from [f"{name}/{each.name}" for each in below] or [name]


def found_in(folder):
    files = FolderFiles(folder)
    format_, _ = recognized(files)
    return format_, PAINTING["read"](format_, folder)


def test_every_folder_has_its_row_here(real_data):
    assert set(folders(real_data / "formats")) == {*READ, *REFUSED, *ELSEWHERE}


@pytest.mark.parametrize("folder", READ)
def test_a_folder_is_recognised_and_its_classes_have_their_areas(folder, real_data):
    name, images, classes, expected = READ[folder]
    format_, found = found_in(real_data / "formats" / folder)
    assert (format_.name, len(found.images), len(found.class_names)) == (name, images, classes)
    assert not found.problems
    labels = PAINTING["all_painted"](found)
    first = 0 if found.background == "__ignore__" else 1
    pixels = collections.Counter()
    for label in labels.values():
        ids, counts = np.unique(label, return_counts=True)
        pixels.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    ids = {each: place + first for place, each in enumerate(found.class_names)}
    assert {each: pixels[ids[each]] for each in expected} == expected


@pytest.mark.parametrize("folder", REFUSED)
def test_a_folder_without_outlines_is_refused_for_its_reason(folder, real_data):
    with pytest.raises(InputError, match=REFUSED[folder]):
        found_in(real_data / "formats" / folder)


def test_the_areas_of_labelme_are_those_of_datumaro(real_data):
    _, found = found_in(real_data / "formats" / "labelme_dataset")
    size = PAINTING["size_of"](found.images[0])
    areas = {r.class_name: int(r.mask(size).sum()) for r in found.images[0].regions}
    assert areas == {
        "window": 6,
        "license plate": 10,
        "o1": 239,
        "q1": 87,
        "b1": 110,
        "m1": 130,
        "hg": 129,
    }


def test_real_images_of_voc_and_cityscapes_equal_their_own_files(real_data):
    voc = real_data / "VOCdevkit" / "VOC2012"
    _, found = found_in(voc)
    assert len(found.images) == 42 and {image.split for image in found.images} == {
        "train",
        "val",
    }
    for image in found.images:
        with Image.open(voc / "SegmentationClass" / f"{image.name}.png") as mask:
            np.testing.assert_array_equal(image.class_map.ids(), mask)
    with Image.open(voc / "SegmentationClass" / f"{found.images[0].name}.png") as mask:
        np.testing.assert_array_equal(PAINTING["painted"](found, found.images[0]), mask)
    city = real_data / "cityscapes"
    _, found = found_in(city)
    (image,) = found.images
    with Image.open(next(city.rglob("*labelIds.png"))) as mask:
        ids = np.asarray(mask)
    expected = np.full(ids.shape, 255)
    for place, (number, _) in enumerate(CLASSES.values()):
        expected[ids == number] = place
    np.testing.assert_array_equal(PAINTING["painted"](found, image), expected)
    objects = [region.class_name for region in image.regions]
    assert sorted(objects) == ["car"] * 3 + ["person"] * 4
