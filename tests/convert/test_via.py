"""VGG Image Annotator's CSV, JSON and projects."""

import csv
import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats.via import VIA
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]

RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
POLYGON = {"name": "polygon", "all_points_x": [5, 9, 9, 5], "all_points_y": [0, 0, 2, 2]}
EXPECTED = np.zeros((8, 10), int)
EXPECTED[2:6, 1:4] = 1
EXPECTED[0:2, 5:9] = 2


def photo(folder, name="a.jpg"):
    Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(folder / name)


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def write_json(folder, regions, *, name="a.jpg", wrap=lambda entries: entries):
    photo(folder, name)
    entries = {f"{name}123": {"filename": name, "size": 123, "regions": regions}}
    (folder / "via.json").write_text(json.dumps(wrap(entries)), encoding="utf-8")
    return folder


CAT_AND_DOG = [region(RECT, kind="cat"), region(POLYGON, kind="dog")]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda entries: entries,
        lambda entries: {"_via_settings": {}, "_via_img_metadata": entries},
        lambda entries: {
            key: {**entry, "regions": dict(enumerate(entry["regions"]))}
            for key, entry in entries.items()
        },
    ],
    ids=["annotations", "project", "version 1"],
)
def test_regions_of_json_are_painted(wrap, tmp_path):
    found = read(VIA, write_json(tmp_path, CAT_AND_DOG, wrap=wrap))
    assert found.class_names == ("cat", "dog")
    np.testing.assert_array_equal(painted(found, found.images[0]), EXPECTED)
    assert found.notes == ("the class is the attribute 'kind'",)


def write_csv(folder, rows, *, first="filename"):
    columns = [first, "file_size", "file_attributes", "region_count", "region_id"]
    columns += ["region_shape_attributes", "region_attributes"]
    with (folder / "via.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number, (name, shape, attributes) in enumerate(rows):
            texts = [json.dumps(shape), json.dumps(attributes)]
            writer.writerow([name, 1, "{}", len(rows), number, *texts])
    return folder


@pytest.mark.parametrize("first", ["filename", "#filename"])
def test_regions_of_csv_are_painted(first, tmp_path):
    photo(tmp_path)
    photo(tmp_path, "empty.jpg")
    rows = [
        ("a.jpg", RECT, {"kind": "cat"}),
        ("empty.jpg", {}, {}),
        ("a.jpg", POLYGON, {"kind": "dog"}),
    ]
    found = read(VIA, write_csv(tmp_path, rows, first=first))
    np.testing.assert_array_equal(painted(found, found.images[0]), EXPECTED)
    assert [image.name for image in found.images] == ["a", "empty"]
    assert not painted(found, found.images[1]).any()


def test_circles_and_ellipses_are_filled_and_lines_and_points_left_out(tmp_path):
    shapes = [
        {"name": "circle", "cx": 5, "cy": 4, "r": 2},
        {"name": "ellipse", "cx": 5, "cy": 4, "rx": 4, "ry": 1, "theta": np.pi / 2},
        {"name": "point", "cx": 1, "cy": 1},
        {"name": "polyline", "all_points_x": [0, 9], "all_points_y": [0, 0]},
    ]
    found = read(VIA, write_json(tmp_path, [region(shape, kind="x") for shape in shapes]))
    label = painted(found, found.images[0])
    expected = np.zeros((8, 10))
    expected[1:7, 4:6] = expected[3:5, 3:7] = 1
    np.testing.assert_array_equal(label, expected)
    assert "regions without an area are left out: 1 polyline, 1 point" in found.notes


def test_an_attribute_is_chosen_where_there_are_several(tmp_path):
    regions = [region(RECT, kind="cat", colour="red"), region(POLYGON, kind="", colour="blue")]
    write_json(tmp_path, regions)
    with pytest.raises(InputError, match=r"2 attributes \(kind, colour\).*--attribute NAME"):
        read(VIA, tmp_path)
    with pytest.raises(InputError, match="--attribute color: no region .*near: 'colour'"):
        read(VIA, tmp_path, attribute="color")
    assert read(VIA, tmp_path, attribute="colour").class_names == ("blue", "red")
    found = read(VIA, tmp_path, attribute="kind")
    assert painted(found, found.images[0])[0, 6] == 255
    assert "pixels of regions without a class are ignored: 1" in found.notes


def test_regions_without_attributes_are_one_class(tmp_path):
    found = read(VIA, write_json(tmp_path, [region(RECT)]))
    assert found.class_names == ("object",) and "all are the class 'object'" in found.notes[0]


def test_names_of_options_and_ticked_boxes_are_classes(tmp_path):
    def wrap(entries):
        options = {"1": "Cat", "2": "Dog"}
        attributes = {"region": {"kind": {"type": "checkbox", "options": options}}}
        return {"_via_img_metadata": entries, "_via_attributes": attributes}

    regions = [region(RECT, kind={"1": True}), region(POLYGON, kind="2")]
    found = read(VIA, write_json(tmp_path, regions, wrap=wrap))
    assert found.class_names == ("Cat", "Dog")
    write_json(tmp_path, [region(RECT, kind={"1": True, "2": True})], wrap=wrap)
    assert "region 1 has 2 values of 'kind' (1, 2)" in read(VIA, tmp_path).problems[0]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({**POLYGON, "all_points_x": [1, 2]}, "2 x and 4 y coordinates"),
        ({**POLYGON, "all_points_x": [1, 2, 3, float("nan")]}, "coordinate nan"),
        ({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}, "of 2 points"),
        ({"name": "rect", "x": 1, "y": 2}, "has no 'width'"),
        ({"name": "cuboid"}, "the shape 'cuboid'"),
    ],
)
def test_a_wrong_region_is_named_with_file_and_image(shape, message, tmp_path):
    (problem,) = read(VIA, write_json(tmp_path, [region(shape, kind="cat")])).problems
    assert "via.json, image 'a.jpg', region 1 " in problem and message in problem


def test_a_broken_line_of_csv_is_named(tmp_path):
    photo(tmp_path)
    write_csv(tmp_path, [("a.jpg", "not an object", {})])
    with pytest.raises(InputError, match=r"via\.csv, line 2 has .* where VIA writes JSON"):
        read(VIA, tmp_path)


def test_only_files_of_via_are_recognised(tmp_path):
    write_json(tmp_path, CAT_AND_DOG)
    assert "via.json" in (VIA.recognize(FolderFiles(tmp_path)) or "")
    for text in ('{"a": 1}', "[]", "{}", '{"shapes": [], "imagePath": "a.jpg"}', "{"):
        (tmp_path / "via.json").write_text(text, encoding="utf-8")
        assert VIA.recognize(FolderFiles(tmp_path)) is None
