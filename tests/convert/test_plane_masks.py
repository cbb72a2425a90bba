"""One mask file for each class of an image."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import Size
from segjax.convert.formats.plane_masks import PLANE_MASKS
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read = PAINTING["read"]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels)).save(path)


CUP, DISC = [[0, 255, 0]], [[0, 255, 255]]
LAYOUTS = {
    "a folder for each class": ("images/x.jpg", "masks/cup/x.png", "masks/disc/x.png"),
    "a folder for each class and split": (
        "train/images/x.jpg",
        "train/masks/cup/x.png",
        "train/masks/disc/x.png",
    ),
    "a folder for each image": ("images/x.jpg", "masks/x/cup.png", "masks/x/disc.png"),
    "endings": ("images/x.jpg", "masks/x_cup.png", "masks/x_disc.png"),
    "endings twice": ("images/x.jpg", "masks/x_cup_mask.png", "masks/x_disc_mask.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_class_has_a_region_and_they_may_overlap(layout, tmp_path):
    image, cup, disc = LAYOUTS[layout]
    save(tmp_path / image, np.zeros((1, 3, 3), np.uint8))
    save(tmp_path / cup, np.array(CUP, np.uint8))
    save(tmp_path / disc, np.array(DISC, np.uint8))
    assert PLANE_MASKS.recognize(FolderFiles(tmp_path)) == "mask files of 2 classes"
    found = read(PLANE_MASKS, tmp_path)
    assert found.has_planes and found.class_names == ("cup", "disc")
    (image,) = found.images
    masks = {region.class_name: region.mask(Size(1, 3)) for region in image.regions}
    assert masks["cup"].tolist() == [[False, True, False]]
    assert masks["disc"].tolist() == [[False, True, True]]


def test_a_mask_that_lacks_is_an_absent_class_and_0_and_1_are_binary(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png", np.zeros((1, 3, 3), np.uint8))
        save(tmp_path / "masks" / "cup" / f"{name}.png", np.array([[0, 1, 0]], np.uint8))
    save(tmp_path / "masks" / "disc" / "a.png", np.array(DISC, np.uint8))
    found = read(PLANE_MASKS, tmp_path)
    assert [len(image.regions) for image in found.images] == [2, 1]
    assert found.images[1].regions[0].mask(Size(1, 3)).sum() == 1
    assert found.notes[1] == "images that lack the mask of a class do not have it: 1"


def test_folders_of_splits_are_not_classes(tmp_path):
    for split in ("train", "val"):
        save(tmp_path / "images" / "x.png", np.zeros((1, 3, 3), np.uint8))
        save(tmp_path / "masks" / split / "x.png", np.array(CUP, np.uint8))
    assert PLANE_MASKS.recognize(FolderFiles(tmp_path)) is None


def test_a_single_mask_with_an_ending_is_not_one_of_several_classes(tmp_path):
    save(tmp_path / "images" / "x.jpg", np.zeros((1, 3, 3), np.uint8))
    save(tmp_path / "masks" / "x_mask.png", np.array(CUP, np.uint8))
    assert PLANE_MASKS.recognize(FolderFiles(tmp_path)) is None
    save(tmp_path / "masks" / "y.png", np.array(CUP, np.uint8))
    with pytest.raises(InputError, match=r"name them masks/CLASS/x\.png"):
        read(PLANE_MASKS, tmp_path)


def test_a_mask_belongs_to_the_image_with_the_longest_fitting_name(tmp_path):
    for name in ("scan", "scan_left", "scan_right"):
        save(tmp_path / "images" / f"{name}.jpg", np.zeros((1, 3, 3), np.uint8))
    for name in ("scan_tumor", "scan_cyst", "scan_left_tumor", "scan_left_cyst"):
        save(tmp_path / "masks" / f"{name}.png", np.array(CUP, np.uint8))
    found = read(PLANE_MASKS, tmp_path)
    assert found.class_names == ("cyst", "tumor")
    assert [(image.name, len(image.regions)) for image in found.images] == [
        ("scan", 2),
        ("scan_left", 2),
    ]
    assert "images without a mask are left out: 1" in found.notes
