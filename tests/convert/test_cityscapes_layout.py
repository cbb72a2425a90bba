"""Cityscapes' layout and its four kinds of labels."""

import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED, Size
from segjax.convert.formats.cityscapes_layout import CITYSCAPES_LAYOUT
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]

ROAD, SKY, CAR, TRUCK = 0, 10, 13, 14


def place(folder, kind, suffix=".png"):
    path = folder / "gtFine" / "val" / "city" / f"city_000000_000001_gtFine_{kind}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def photo(folder, width=6, height=1):
    path = folder / "leftImg8bit" / "val" / "city" / "city_000000_000001_leftImg8bit.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)


def save(folder, kind, ids, dtype=np.uint8):
    Image.fromarray(np.array([ids], dtype)).save(place(folder, kind))


def test_label_ids_become_the_19_classes_and_instances_are_objects(tmp_path):
    photo(tmp_path)
    save(tmp_path, "labelIds", [7, 23, 26, 26, 3, 26])
    save(tmp_path, "instanceIds", [7, 23, 26000, 26001, 3, 26], np.uint16)
    save(tmp_path, "labelTrainIds", [5, 5, 5, 5, 5, 5])
    found = read(CITYSCAPES_LAYOUT, tmp_path)
    (image,) = found.images
    assert painted(found, image).tolist() == [[ROAD, SKY, CAR, CAR, 255, CAR]]
    assert (image.name, image.split) == ("city/city_000000_000001", "val")
    assert [region.class_name for region in image.regions] == ["car", "car"]
    assert len(found.class_names) == 19 and found.background == IGNORED


def test_instance_ids_alone_are_enough(tmp_path):
    photo(tmp_path)
    save(tmp_path, "instanceIds", [7, 27, 27001, 27002, 3, 1024], np.uint16)
    found = read(CITYSCAPES_LAYOUT, tmp_path)
    assert painted(found, found.images[0]).tolist() == [[ROAD, TRUCK, TRUCK, TRUCK, 255, 255]]
    # The ego vehicle (1) is an object that does not count.
    assert [r.class_name for r in found.images[0].regions] == [IGNORED, "truck", "truck"]


def test_train_ids_alone_are_classes(tmp_path):
    photo(tmp_path)
    save(tmp_path, "labelTrainIds", [0, 10, 13, 14, 255, 255])
    found = read(CITYSCAPES_LAYOUT, tmp_path)
    assert painted(found, found.images[0]).tolist() == [[ROAD, SKY, CAR, TRUCK, 255, 255]]


def polygons(folder, *objects, **more):
    data = {"imgHeight": 8, "imgWidth": 10, "objects": list(objects), **more}
    place(folder, "polygons", ".json").write_text(json.dumps(data))


def square(label, left, right, **more):
    return {"label": label, "polygon": [[left, 0], [right, 0], [right, 7], [left, 7]], **more}


def test_polygons_are_painted_in_order_as_cityscapes_scripts_do(tmp_path):
    photo(tmp_path, 10, 8)
    polygons(
        tmp_path,
        square("sky", 0, 9),
        square("cargroup", 2, 4),
        square("license plate", 3, 3.5),
        square("static", 8, 9),
        square("road", 0, 5, deleted=1),
    )
    found = read(CITYSCAPES_LAYOUT, tmp_path)
    (image,) = found.images
    # Pillow's polygons include the border on both sides.
    expected = np.full(10, SKY)
    expected[2:5], expected[8:10] = CAR, 255
    np.testing.assert_array_equal(painted(found, image), np.tile(expected, (8, 1)))
    assert [region.is_crowd for region in image.regions] == [False, True, False]
    assert image.size == Size(8, 10)


def test_the_colours_of_cvats_export_are_its_classes(tmp_path):
    photo(tmp_path)
    (tmp_path / "label_colors.txt").write_text("0 0 0 background\n9 9 9 cup\n8 8 8 disc\n")
    save(tmp_path, "labelIds", [0, 1, 2, 2, 0, 0])
    found = read(CITYSCAPES_LAYOUT, tmp_path)
    assert (found.background, found.class_names) == ("background", ("cup", "disc"))
    assert painted(found, found.images[0]).tolist() == [[0, 1, 2, 2, 0, 0]]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"label": "car", "polygon": [[1, 1], [2, 2]]}], "object 1 (car) is a polygon of 2"),
        ([{"label": "car", "polygon": [[1, 1], [2, "x"], [3, 3]]}], "the point [2, 'x']"),
        ([{"label": "car"}], "KeyError('polygon') is missing or wrong"),
    ],
)
def test_wrong_polygons_are_named(objects, message, tmp_path):
    photo(tmp_path, 10, 8)
    polygons(tmp_path, *objects)
    (problem,) = read(CITYSCAPES_LAYOUT, tmp_path).problems
    assert "polygons.json" in problem and message in problem


def test_labels_without_a_frame_are_named(tmp_path):
    save(tmp_path, "labelIds", [7])
    (problem,) = read(CITYSCAPES_LAYOUT, tmp_path).problems
    assert "has no image city_000000_000001_leftImg8bit.png: unpack leftImg8bit" in problem


def test_an_id_that_is_none_of_cityscapes_has_no_class(tmp_path):
    photo(tmp_path)
    save(tmp_path, "labelIds", [7, 40, 7, 7, 7, 7])
    (image,) = read(CITYSCAPES_LAYOUT, tmp_path).images
    assert image.class_map is not None and 40 not in image.class_map.names


def test_a_broken_table_of_colours_is_named(tmp_path):
    (tmp_path / "label_colors.txt").write_text("0 0 0 a\n0 0 0 b\n")
    with pytest.raises(InputError, match=r"label_colors\.txt has the colour"):
        read(CITYSCAPES_LAYOUT, tmp_path)
