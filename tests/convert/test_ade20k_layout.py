"""ADE20K: SceneParsing's 150 classes, and the full annotations of 2017 and 2020."""

import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED
from segjax.convert.formats.ade20k_layout import ADE20K_FULL, SCENE_PARSE_150
from segjax.convert.source_files import FolderFiles
from segjax.data.ade20k import CLASSES
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)


def scene(folder, info, name="objectInfo150.csv"):
    save(folder / "images" / "validation" / "a.png", np.zeros((1, 4, 3)))
    save(folder / "annotations" / "validation" / "a.png", [[0, 1, 65, 60]])
    (folder / name).write_text(info)
    return folder


CSV = "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1,9,9,1,wall\n60,0.1,9,9,0,stairway;staircase\n"
CSV += "65,0.1,9,9,0,coffee;table;cocktail;table\n"
TXT = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t9\t9\t1\twall\n60\t0.1\t9\t9\t0\tstairway, "
TXT += "staircase\n65\t0.1\t9\t9\t0\tcoffee table, cocktail table\n"


@pytest.mark.parametrize(
    ("info", "name"), [(CSV, "objectInfo150.csv"), (TXT, "objectInfo150.txt")]
)
def test_ids_have_the_names_of_the_list_and_0_is_ignored(info, name, tmp_path):
    found = read(SCENE_PARSE_150, scene(tmp_path, info, name))
    assert found.class_names == ("wall", "stairway", "coffee table")
    (image,) = found.images
    assert painted(found, image).tolist() == [[255, 0, 2, 1]]
    assert (image.name, image.split) == ("validation/a", "val")


def test_a_list_without_its_columns_is_named(tmp_path):
    with pytest.raises(InputError, match=r"objectInfo150\.csv lacks the columns Idx and Name"):
        read(SCENE_PARSE_150, scene(tmp_path, "a,b\n1,2\n"))


def test_names_of_the_real_list_are_those_of_the_dataset(real_data):
    found = read(SCENE_PARSE_150, real_data / "ade20k")
    assert found.class_names == CLASSES and len(found.images) == 3


def full_2017(folder, lines, blue):
    pixels = np.zeros((1, len(blue), 3))
    pixels[0, :, 2] = blue
    save(folder / "training" / "a_seg.png", pixels)
    save(folder / "training" / "a.jpg", pixels)
    (folder / "training" / "a_atr.txt").write_text("\n".join(lines))
    return folder


LINES = [
    '001 # 0 # 0 # sky # sky # ""',
    '002 # 0 # 0 # person, individual # person # "walking"',
    '003 # 0 # 1 # person, individual # person # ""',
    '001 # 1 # 0 # arm # arm # ""',
]


@pytest.mark.parametrize(
    ("blue", "expected"),
    [
        ([0, 40, 80, 200, 80], [255, 1, 0, 0, 0]),
        ([40, 80, 200], [1, 0, 0]),  # Without a pixel that has no object.
    ],
)
def test_objects_of_2017_are_numbered_by_their_blue_values(blue, expected, tmp_path):
    found = read(ADE20K_FULL, full_2017(tmp_path, LINES, blue))
    assert (found.background, found.class_names) == (IGNORED, ("person", "sky"))
    (image,) = found.images
    assert painted(found, image).tolist() == [expected]
    assert [region.class_name for region in image.regions] == ["sky", "person", "person"]
    assert found.notes == ("parts of objects are left out: 1",) and image.split == "train"


def test_a_broken_line_of_attributes_is_named(tmp_path):
    found = read(ADE20K_FULL, full_2017(tmp_path, [LINES[0], "002 # x"], [1]))
    assert not found.images and "a_atr.txt, line 2, is '002 # x'" in found.problems[0]


def full_2020(folder, objects):
    pixels = np.zeros((1, 4, 3))
    pixels[0, 1] = (15, 145, 2)  # 15 // 10 * 256 + 145 = 401.
    pixels[0, 2] = pixels[0, 3] = (71, 39, 1)  # 71 // 10 * 256 + 39 = 1831.
    pixels[0, 3, 2] = 7
    save(folder / "validation" / "a_seg.png", pixels)
    save(folder / "validation" / "a.jpg", pixels)
    text = json.dumps({"annotation": {"object": objects}})
    (folder / "validation" / "a.json").write_text(text)
    return folder


def thing(name, number, level=0):
    return {"name": name, "name_ndx": number, "parts": {"part_level": level}}


def test_classes_of_2020_are_in_red_and_green_and_objects_in_blue(tmp_path):
    objects = [thing("car, auto", 401), thing("person, soul", 1831), thing("arm", 5, 1)]
    found = read(ADE20K_FULL, full_2020(tmp_path, objects))
    (image,) = found.images
    assert found.class_names == ("car", "person")
    assert painted(found, image).tolist() == [[255, 0, 1, 1]]
    assert sorted(r.class_name for r in image.regions) == ["car", "person", "person"]


def test_a_meta_file_orders_the_classes(tmp_path):
    full_2017(tmp_path, LINES, [0, 1, 2, 3])
    (tmp_path / "dataset_meta.json").write_text('{"label_map": {"0": "sky", "1": "person"}}')
    assert read(ADE20K_FULL, tmp_path).class_names == ("sky", "person")


def test_a_wrong_json_is_named(tmp_path):
    found = read(ADE20K_FULL, full_2020(tmp_path, [{"name": "car"}]))
    assert not found.images and "a.json is not a file of ADE20K 2020 (KeyE" in found.problems[0]


def test_segments_without_classes_are_not_recognised(tmp_path):
    save(tmp_path / "a_seg.png", np.zeros((1, 1, 3)))
    assert ADE20K_FULL.recognize(FolderFiles(tmp_path)) is None
