"""PASCAL VOC's layout, also as CVAT exports it."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats.voc_layout import VOC_LAYOUT
from segjax.convert.id_regions import IdRegions
from segjax.convert.source_files import FolderFiles
from segjax.data.palette import voc_palette
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]

IDS = np.array([[0, 1, 20, 255]], np.uint8)


def palette_image(ids):
    image = Image.fromarray(ids)
    image.putpalette(voc_palette().ravel().tolist())
    return image


def source(folder, mask, *, name="a", objects=None, photo=True):
    for kind in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (folder / kind).mkdir(exist_ok=True)
    if photo:
        Image.new("RGB", mask.size).save(folder / "JPEGImages" / f"{name}.jpg")
    mask.save(folder / "SegmentationClass" / f"{name}.png")
    if objects is not None:
        objects.save(folder / "SegmentationObject" / f"{name}.png")
    return folder


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_masks_of_vocs_own_classes_need_no_table(mode, tmp_path):
    mask = palette_image(IDS)
    mask = Image.fromarray(IDS) if mode == "L" else mask.convert(mode)
    found = read(VOC_LAYOUT, source(tmp_path, mask))
    assert (found.background, found.class_names[0], len(found.class_names)) == (
        "background",
        "aeroplane",
        20,
    )
    assert painted(found, found.images[0]).tolist() == IDS.tolist()
    assert found.colours["tvmonitor"] == (0, 64, 128)


def test_a_labelmap_names_the_colours(tmp_path):
    pixels = np.array([[[0, 0, 0], [250, 50, 83], [0, 0, 0]]], np.uint8)
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nmy car:250,50,83::\n"
    )
    found = read(VOC_LAYOUT, source(tmp_path, Image.fromarray(pixels)))
    assert found.class_names == ("my car",)
    assert painted(found, found.images[0]).tolist() == [[0, 1, 0]]


def test_names_for_the_ids_of_palette_masks_may_be_given(tmp_path):
    source(tmp_path, palette_image(np.array([[0, 1, 2]], np.uint8)))
    found = read(VOC_LAYOUT, tmp_path, names=("bg", "cup"))
    assert (found.background, found.class_names) == ("bg", ("cup",))
    with pytest.raises(InputError, match=r"a\.png has the value 2 in 1 pixels"):
        painted(found, found.images[0])


def test_objects_are_told_apart_in_their_classes(tmp_path):
    ids = np.array([[1, 1, 2, 255, 0]], np.uint8)
    objects = np.array([[1, 2, 3, 255, 0]], np.uint8)
    source(tmp_path, palette_image(ids), objects=palette_image(objects))
    found = read(VOC_LAYOUT, tmp_path)
    regions = found.images[0].regions
    assert [region.class_name for region in regions] == ["aeroplane", "aeroplane", "bicycle"]
    assert len({region.instance for region in regions}) == 3
    np.testing.assert_array_equal(painted(found, found.images[0]), ids)
    coloured = palette_image(objects).convert("RGB")
    coloured.save(tmp_path / "SegmentationObject" / "a.png")
    assert len(read(VOC_LAYOUT, tmp_path).images[0].regions) == 3


def test_lists_say_the_split_and_images_without_masks_are_noted(tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\r\nc\r\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "trainval.txt").write_text("a\nb\n")
    (lists / "test.txt").write_text("")
    for name in ("a", "b", "d"):
        source(tmp_path, palette_image(IDS), name=name)
    found = read(VOC_LAYOUT, tmp_path)
    assert [image.split for image in found.images] == ["train", "val", None]
    assert found.notes == ("listed images without a mask are left out: c",)


def test_a_mask_without_an_image_is_named(tmp_path):
    source(tmp_path, palette_image(IDS))
    source(tmp_path, palette_image(IDS), name="b", photo=False)
    (problem,) = read(VOC_LAYOUT, tmp_path).problems
    assert "b.png has no image of its name" in problem and "--images DIR" in problem


def test_boxes_alone_are_refused(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation><object><bndbox/></object></annotation>")
    assert VOC_LAYOUT.recognize(FolderFiles(tmp_path)) == (
        "1 XML files of PASCAL VOC with boxes"
    )
    with pytest.raises(InputError, match="no masks in SegmentationClass/, but boxes in 1 XML"):
        read(VOC_LAYOUT, tmp_path)
    (tmp_path / "a.xml").write_text("<annotation><object><polygon/></object></annotation>")
    assert VOC_LAYOUT.recognize(FolderFiles(tmp_path)) is None


def test_a_map_of_objects_of_another_size_is_named_and_no_object_is_lost(tmp_path):
    objects = palette_image(np.ones((2, 2), np.uint8))
    found = read(VOC_LAYOUT, source(tmp_path, palette_image(IDS), objects=objects))
    with pytest.raises(InputError, match=r"a\.png has 4x1 pixels, and its map of objects 2x2"):
        list(found.images[0].regions)


def test_an_error_of_a_map_is_not_taken_for_the_end_of_its_regions():
    def objects():
        raise IndexError("broken")

    with pytest.raises(IndexError, match="broken"):
        list(IdRegions(objects))
