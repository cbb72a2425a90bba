"""YOLO segmentation labels, and the files that name their classes."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats.yolo_seg import YOLO_SEG
from segjax.convert.source_files import FolderFiles
from segjax.convert.yolo_names import yaml_names
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]

SQUARE = "0.1 0.25 0.5 0.25 0.5 0.75 0.1 0.75"


def write(folder, image, lines, *, label=None):
    path = folder / image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(path)
    if label is not None:
        (folder / label).parent.mkdir(parents=True, exist_ok=True)
        (folder / label).write_text("\n".join(lines) + "\n", encoding="utf-8")


def names(folder, text="names: [cat, dog]\n", name="data.yaml"):
    (folder / name).write_text(text, encoding="utf-8")


LAYOUTS = {
    "ultralytics": ("images/{}/a.jpg", "labels/{}/a.txt", "{}/a"),
    "roboflow": ("{}/images/a.jpg", "{}/labels/a.txt", "{}/a"),
    "darknet": ("{}/a.jpg", "{}/a.txt", "{}/a"),
    "annotations": ("{}/Images/a.jpg", "{}/Annotations/a.txt", "{}/a"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outlines_of_each_layout_are_painted_with_their_split(layout, tmp_path):
    image, label, name = LAYOUTS[layout]
    names(tmp_path)
    for split in ("train", "valid"):
        write(tmp_path, image.format(split), [f"1 {SQUARE}"], label=label.format(split))
    assert YOLO_SEG.recognize(FolderFiles(tmp_path)) == "2 YOLO label files"
    found = read(YOLO_SEG, tmp_path)
    expected = np.zeros((8, 10), int)
    expected[2:6, 1:5] = 2
    assert [(i.name, i.split) for i in found.images] == [
        (name.format("train"), "train"),
        (name.format("valid"), "val"),
    ]
    for image in found.images:
        np.testing.assert_array_equal(painted(found, image), expected)


def test_names_may_write_umlauts_as_one_sign_or_two(tmp_path):
    names(tmp_path)
    write(
        tmp_path,
        "images/gru\u0308n/ka\u0308se.jpg",
        [f"1 {SQUARE}"],
        label="labels/gr\u00fcn/k\u00e4se.txt",
    )
    found = read(YOLO_SEG, tmp_path)
    assert len(found.images[0].regions) == 1 and not found.notes


def test_images_without_a_label_file_are_background_and_boxes_are_filled(tmp_path):
    names(tmp_path)
    write(tmp_path, "images/a.jpg", [f"0 {SQUARE}", "1 0.5 0.5 0.2 0.5"], label="labels/a.txt")
    write(tmp_path, "images/b.jpg", [])
    write(tmp_path, "images/c.jpg", [""], label="labels/c.txt")
    found = read(YOLO_SEG, tmp_path)
    label = painted(found, found.images[0])
    assert (label[2:6, 4:6] == 2).all() and (label[2:6, 1:4] == 1).all()
    assert not painted(found, found.images[1]).any() and len(found.images) == 3
    assert found.notes == (
        "boxes without an outline are filled: 1",
        "images without a label file are all background: 1",
    )


def test_a_dataset_for_detection_is_refused(tmp_path):
    names(tmp_path)
    write(tmp_path, "images/a.jpg", ["1 0.5 0.5 0.2 0.5"], label="labels/a.txt")
    with pytest.raises(InputError, match="boxes and no outlines \\(1 in all\\).*for segm"):
        read(YOLO_SEG, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"2 {SQUARE}", "has the class 2, and there are 2 classes, 0 to 1"),
        (f"-1 {SQUARE}", "has the class -1"),
        (f"1.0 {SQUARE}", "has the class 1.0"),
        ("0 0.1 0.2 0.3 nan 0.5 0.6", "coordinate 'nan'"),
        ("0 10 20 30 40 50 60", "coordinate 10, but YOLO's are shares"),
        ("0 0.1 0.2 0.3 0.4 0.5", "has 5 coordinates"),
        ("0 0.1 0.2", "polygon of 1 point,"),
    ],
)
def test_a_wrong_line_is_named(line, message, tmp_path):
    names(tmp_path)
    write(tmp_path, "images/a.jpg", [f"0 {SQUARE}", line], label="labels/a.txt")
    (problem,) = read(YOLO_SEG, tmp_path).problems
    assert "a.txt, line 2, " in problem and message in problem


def test_names_come_from_yaml_or_a_list_or_the_user(tmp_path):
    write(tmp_path, "images/a.jpg", [f"0 {SQUARE}"], label="labels/a.txt")
    with pytest.raises(InputError, match="no data.yaml, obj.names or classes.txt.*--names"):
        read(YOLO_SEG, tmp_path)
    assert read(YOLO_SEG, tmp_path, names=("x", "y")).class_names == ("x", "y")
    names(tmp_path, "owl\nhare\n", "classes.txt")
    assert read(YOLO_SEG, tmp_path).class_names == ("owl", "hare")
    names(tmp_path)
    assert read(YOLO_SEG, tmp_path).class_names == ("cat", "dog")
    names(tmp_path, "names: [cat, cow]", "other.yaml")
    with pytest.raises(
        InputError, match=r"data\.yaml and .*other\.yaml name different classes"
    ):
        read(YOLO_SEG, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "path: ../data\nnc: 2\nnames: ['it''s', 'a, b']  # two\n",
        'names: ["it\'s",\n  "a, b"]\nnc: 2',
        "names:\n  0: it's\n  1: 'a, b'\nnc: 2\n",
        "train: x # names: [y]\nnames:\n- it's # first\n- a, b\n",
        "names: {0: it's, 1: 'a, b'}".replace("it's", '"it\'s"'),
        'names :\n  1: a, b\n  0: "it\'s"\n',
    ],
)
def test_names_in_the_forms_of_yaml_that_tools_write(text, tmp_path):
    names(tmp_path, text)
    assert yaml_names(tmp_path / "data.yaml") == ("it's", "a, b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: &anchor\n  0: a\n", "form that is not read here"),
        ("names: *other\n", "form that is not read here"),
        ("names: [a, b\nnc: 2\n", "form that is not read here"),
        ("names:\n  0: a\n  2: b\n", r"names for the classes \[0, 2\]"),
        ("names:\n  0: a\n  0: b\n", "two names for class 0"),
        ("names:\n  0: |\n    a\n", "form that is not read here"),
        ("names: []\n", r"names for the classes \[\]"),
    ],
)
def test_other_names_are_refused_with_the_remedy(text, message, tmp_path):
    names(tmp_path, text)
    with pytest.raises(InputError, match=rf"data\.yaml.*{message}"):
        yaml_names(tmp_path / "data.yaml")
    names(tmp_path, "nc: 2\n")
    assert yaml_names(tmp_path / "data.yaml") is None


def test_text_files_with_other_contents_are_not_recognised(tmp_path):
    write(tmp_path, "images/a.jpg", ["a cat on a mat"], label="labels/a.txt")
    assert YOLO_SEG.recognize(FolderFiles(tmp_path)) is None


def test_two_images_of_one_label_file_are_both_named(tmp_path):
    names(tmp_path)
    write(tmp_path, "images/a.png", [])
    write(tmp_path, "images/a.jpg", [f"0 {SQUARE}"], label="labels/a.txt")
    found = read(YOLO_SEG, tmp_path)
    assert len(found.images) == 1
    (problem,) = found.problems
    assert "images/a.jpg and " in problem and "images/a.png would both be named 'a'" in problem
