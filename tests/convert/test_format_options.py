"""Options of the command that only some formats need, through the command itself."""

import json

import numpy as np
import pytest
from PIL import Image

from segjax.convert.__main__ import main


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)


def convert(source, *options):
    """The first mask of the result, and its summary."""
    out = source.parent / "out"
    assert main([str(source), "--out", str(out), *options]) == 0
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    (mask,) = sorted((out / "masks").rglob("*.png"))
    with Image.open(mask) as image:
        return np.asarray(image).tolist(), summary


@pytest.fixture
def source(tmp_path):
    save(tmp_path / "in" / "images" / "a.png", np.zeros((1, 4, 3)))
    return tmp_path / "in"


def test_values_of_grey_masks_get_their_classes(source):
    save(source / "masks" / "a.png", [[0, 128, 7, 128]])
    label, summary = convert(source, "--values", "0:background,128:membrane,*:ignore")
    assert label == [[0, 1, 255, 1]] and list(summary["classes"]) == ["background", "membrane"]
    assert summary["made_by"]["formats"] == ["grey-masks"]


def test_a_table_of_colours_outside_the_source_is_read(source, tmp_path):
    save(source / "masks" / "a.png", [[(0, 0, 0), (9, 0, 0), (0, 9, 0), (9, 0, 0)]])
    table = tmp_path / "colours.txt"
    table.write_text("background 0 0 0\ncar #090000\ntree #000900\n", encoding="utf-8")
    label, summary = convert(source, "--colours", str(table), "--merge", "car,tree=thing")
    assert label == [[0, 1, 1, 1]] and summary["made_by"]["formats"] == ["colour-masks"]


def test_the_attribute_of_via_that_is_the_class_is_chosen(source):
    region = {
        "shape_attributes": {"name": "rect", "x": 1, "y": 0, "width": 2, "height": 1},
        "region_attributes": {"kind": "cat", "colour": "red"},
    }
    entry = {"filename": "a.png", "size": 1, "regions": [region], "file_attributes": {}}
    (source / "via.json").write_text(json.dumps({"a.png1": entry}), encoding="utf-8")
    label, summary = convert(source, "--attribute", "colour")
    assert label == [[0, 1, 1, 0]] and "red" in summary["classes"]
    assert summary["made_by"]["--attribute"] == "colour"


def test_masks_of_classes_that_overlap_stay_apart(source, tmp_path):
    save(source / "masks" / "cup" / "a.png", [[0, 255, 0, 0]])
    save(source / "masks" / "disc" / "a.png", [[0, 255, 255, 0]])
    out = tmp_path / "out"
    assert main([str(source), "--out", str(out)]) == 0
    found = {
        path.parent.name: np.asarray(Image.open(path)).tolist()
        for path in (out / "masks").rglob("*.png")
    }
    assert found == {"cup": [[0, 1, 0, 0]], "disc": [[0, 1, 1, 0]]}


def test_an_archive_is_to_be_unpacked(tmp_path, capsys):
    archive = tmp_path / "task.zip"
    archive.write_bytes(b"PK")
    assert main([str(archive), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "task.zip is an archive: unpack it" in error


def test_an_error_in_one_image_is_one_line_or_left_out(source, capsys):
    save(source / "masks" / "a.png", [[0, 1, 1, 0]])
    save(source / "images" / "b.png", np.zeros((1, 4, 3)))
    save(source / "masks" / "b.png", [[0, 1, 9, 0]])
    arguments = [str(source), "--out", str(source.parent / "out"), "--values", "0:a,1:b"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "b.png has the value 9 in 1 pixels" in error
    label, _ = convert(source, "--values", "0:a,1:b", "--skip-errors")
    assert label == [[0, 1, 1, 0]]


def test_a_mask_without_an_image_is_one_line_or_left_out(source, capsys):
    save(source / "masks" / "a.png", [[0, 1, 1, 0]])
    save(source / "masks" / "lonely.png", [[0, 1, 1, 0]])
    (source / "images" / "lonely.png").symlink_to("gone.png")
    arguments = [str(source), "--out", str(source.parent / "out"), "--values", "0:a,1:b"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "lonely.png has no image of its name" in error
    label, _ = convert(source, "--values", "0:a,1:b", "--skip-errors")
    assert label == [[0, 1, 1, 0]]
