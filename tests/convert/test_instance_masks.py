"""Masks of object ids, and the Data Science Bowl's folders of one mask an object."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats import table
from segjax.convert.formats.instance_masks import INSTANCE_MASKS
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels)).save(path)


def test_every_id_is_an_object_of_the_one_class(tmp_path):
    save(tmp_path / "images" / "a.png", np.zeros((1, 4, 3), np.uint8))
    save(tmp_path / "instances" / "a.png", np.array([[0, 1, 300, 300]], np.uint16))
    found = read(INSTANCE_MASKS, tmp_path)
    (image,) = found.images
    assert found.class_names == ("foreground",) and image.name == "images/a"
    assert painted(found, image).tolist() == [[0, 1, 1, 1]]
    assert [region.instance for region in image.regions] == [1, 300]
    assert [r.instance for r in image.regions[:1]] == [1] and len(image.regions) == 2


def test_names_may_write_umlauts_as_one_sign_or_two(tmp_path):
    save(tmp_path / "images" / "ka\u0308se.png", np.zeros((1, 4, 3), np.uint8))
    save(tmp_path / "instances" / "k\u00e4se.png", np.array([[0, 1, 300, 300]], np.uint16))
    assert len(read(INSTANCE_MASKS, tmp_path).images) == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("nucleus",), ("background", "nucleus")), (("tissue", "nucleus"), ("tissue", "nucleus"))],
)
def test_the_class_and_the_background_may_have_names(names, expected, tmp_path):
    save(tmp_path / "images" / "a.png", np.zeros((1, 2, 3), np.uint8))
    save(tmp_path / "instances" / "a.png", np.array([[0, 9]], np.uint8))
    found = read(INSTANCE_MASKS, tmp_path, names=names)
    assert (found.background, *found.class_names) == expected
    with pytest.raises(InputError, match="3 names are given: a, b, c"):
        read(INSTANCE_MASKS, tmp_path, names=("a", "b", "c"))


def test_a_folder_an_image_has_a_mask_an_object(tmp_path):
    for name, masks in (("x1", ([[255, 0, 0]], [[0, 255, 0]])), ("x2", ([[0, 0, 255]],))):
        folder = tmp_path / "stage1_train" / name
        save(folder / "images" / f"{name}.png", np.zeros((1, 3, 3), np.uint8))
        for number, mask in enumerate(masks):
            save(folder / "masks" / f"m{number}.png", np.array(mask, np.uint8))
    found = read(INSTANCE_MASKS, tmp_path)
    assert [image.name for image in found.images] == ["stage1_train/x1", "stage1_train/x2"]
    assert [painted(found, i).tolist() for i in found.images] == [[[1, 1, 0]], [[0, 0, 1]]]
    assert [region.instance for region in found.images[0].regions] == [1, 2]
    files = FolderFiles(tmp_path)
    assert table.recognized(files) == (INSTANCE_MASKS, "one mask an object in x1/masks/")


def test_a_mask_without_image_and_a_source_without_masks_are_named(tmp_path):
    save(tmp_path / "instances" / "a.png", np.array([[0, 9]], np.uint8))
    assert (
        "instances/a.png belongs to an image a.*" in read(INSTANCE_MASKS, tmp_path).problems[0]
    )
    (tmp_path / "instances" / "a.png").unlink()
    assert INSTANCE_MASKS.recognize(FolderFiles(tmp_path)) is None
    with pytest.raises(InputError, match="has no masks of objects"):
        read(INSTANCE_MASKS, tmp_path)


def test_the_nuclei_of_the_data_science_bowl_are_foreground_and_are_kept_apart(real_data):
    folder = real_data / "dsb2018"
    files = FolderFiles(folder)
    assert table.recognized(files)[1] == "masks of object ids in instances/"
    found = read(INSTANCE_MASKS, folder, names=("nucleus",))
    assert len(found.images) == 120
    for image in found.images[::12]:
        with Image.open(folder / "instances" / image.image.name) as opened:
            ids = np.array(opened)
        np.testing.assert_array_equal(painted(found, image), ids > 0)
        assert len(image.regions) == len(np.unique(ids)) - 1
