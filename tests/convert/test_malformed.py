"""Files of JSON with a wrong value in any place end in one line, not in a traceback."""

import copy
import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import Size
from segjax.convert.classes import chosen
from segjax.convert.conversion import read_sources
from segjax.convert.painting import paint
from segjax.convert.request import Request
from segjax.errors import InputError

FILES = runpy.run_path(str(pathlib.Path(__file__).with_name("labelme_files.py")))
converted, save_image, save_labelme = (
    FILES[name] for name in ("converted", "save_image", "save_labelme")
)
SQUARE = [[2, 2], [9, 2], [9, 7], [2, 7]]
WRONG = (None, True, 5, "x", ["x"], {"a": 5})
SHAPE = {"label": "car", "points": SQUARE, "shape_type": "polygon", "group_id": 1}
OBJECT = {"name": "car, auto", "name_ndx": 0, "parts": {"part_level": 0}}

FORMATS = {
    "labelme": ("a.json", {"shapes": [SHAPE], "imagePath": "a.png", "imageData": None}),
    "eiseg": ("a.json", [{"name": "car", "labelIdx": 1, "color": [1, 2, 3], "points": SQUARE}]),
    "via": (
        "via.json",
        {
            "_via_img_metadata": {
                "a.png1": {
                    "filename": "a.png",
                    "regions": [
                        {
                            "shape_attributes": {
                                "name": "polygon",
                                "all_points_x": [1, 5, 5],
                                "all_points_y": [1, 1, 5],
                            },
                            "region_attributes": {"kind": "cat"},
                        },
                        {
                            "shape_attributes": {"name": "circle", "cx": 4, "cy": 4, "r": 2},
                            "region_attributes": {"kind": {"cat": True}},
                        },
                    ],
                }
            },
            "_via_attributes": {"region": {"kind": {"options": {"cat": "Cat"}}}},
        },
    ),
    "cityscapes": (
        "gtFine/train/x/a_gtFine_polygons.json",
        {
            "imgHeight": 12,
            "imgWidth": 16,
            "objects": [{"label": "car", "polygon": SQUARE}],
        },
    ),
    "ade20k": ("a.json", {"annotation": {"object": [OBJECT]}}),
    "colour-masks": (
        "dataset_meta.json",
        {
            "label_map": {"0": "background", "1": "car"},
            "segmentation_colors": [[0, 0, 0], [1, 2, 3]],
            "background_label": "0",
        },
    ),
}


def changed(contents):
    """Yields a copy for each place of the contents and each wrong value there."""
    places = [()]
    for place in places:
        value = contents
        for key in place:
            value = value[key]
        if isinstance(value, dict | list):
            keys = value if isinstance(value, dict) else range(len(value))
            places += [(*place, key) for key in keys]
    for place in places[1:]:
        for wrong in WRONG:
            copied = value = copy.deepcopy(contents)
            for key in place[:-1]:
                value = value[key]
            value[place[-1]] = wrong
            yield copied


def read_and_paint(source, format_name):
    """Returns whether all images can be used."""
    request = Request((source,), source.parent / "out", format=format_name, skip_errors=True)
    _, found = read_sources(request)
    classes = chosen(found.class_names, background=found.background, choice=request.choice)
    for image in found.images:
        try:
            paint(image, Size(12, 16), classes)
        except InputError:
            return False
    return not found.problems


@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_value_in_any_place_is_one_line_or_nothing(name, tmp_path):
    file, contents = FORMATS[name]
    root = tmp_path / "in"
    black = Image.fromarray(np.zeros((12, 16, 3), np.uint8))
    for path in ("a.png", "a_seg.png", "a_leftImg8bit.png", "images/b.png", "masks/b.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        black.save(root / path)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    count = refused = 0
    for each in [contents, *changed(contents)]:
        (root / file).write_text(json.dumps(each), encoding="utf-8")
        try:
            refused += not read_and_paint(root, name)
            assert count or not refused
        except InputError as error:
            assert len(str(error).splitlines()) == 1, each
            refused += 1
            assert count, error  # What is not changed can be read.
        except Exception as error:
            raise AssertionError(json.dumps(each)) from error
        count += 1
    assert refused > 0


def test_a_number_of_5000_digits_is_named(tmp_path):
    save_labelme(tmp_path / "in")
    (tmp_path / "in/a.json").write_text(f'{{"shapes": [], "imagePath": {"9" * 5000}}}')
    with pytest.raises(InputError, match=r"a\.json is not JSON \(Exceeds the limit"):
        converted(tmp_path / "in", format="labelme")


def test_a_field_of_csv_that_is_too_long_is_named(tmp_path):
    save_image(tmp_path / "in/a.png")
    header = "filename,region_shape_attributes,region_attributes"
    (tmp_path / "in/via.csv").write_text(f"{header}\na.png,{'x' * 200_000},{{}}\n")
    with pytest.raises(InputError, match=r"via\.csv, after line 1, .*field larger than .*JSON"):
        converted(tmp_path / "in")


def test_a_summary_without_its_makers_and_an_experiment_in_another_encoding(tmp_path):
    save_labelme(tmp_path / "in", shapes=[SHAPE])
    _, out = converted(tmp_path / "in")
    (out / "experiment.py").write_bytes(b"# \xe9\n")
    summary, _ = converted(tmp_path / "in")
    assert (out / "experiment.py").read_bytes() == b"# \xe9\n"
    assert any("is not as this command wrote it" in note for note in summary["notes"])
    written = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    del written["made_by"]
    (out / "summary.json").write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(InputError, match=r"summary\.json is not as this command writes it"):
        converted(tmp_path / "in")
