"""Colour masks and tables of colours."""

import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED
from segjax.convert.colour_tables import datumaro_table, ids_of_colours, read_table, table_of
from segjax.convert.formats.colour_masks import COLOUR_MASKS
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)
MASK = np.array([[RED, GREEN, BLACK], [RED, RED, BLACK]], np.uint8)
FORMS = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nback ground:0,0,0::\ncar:255,0,0::\n"
    "low tree:0,255,0:leaf:fall\n",
    "label_colors.txt": "0 0 0\tback ground\n255 0 0 \tcar\n0 255 0\tlow tree\n",
    "class_dict.csv": "name,r,g,b\nback ground,0,0,0\ncar,255,0,0\nlow tree,0,255,0\n",
    "own.txt": "back ground 0 0 0\ncar 255, 0, 0\nlow tree #00ff00\n",
    "hex.txt": "#000000 back ground\n# a comment\n#FF0000;car\n#00ff00\tlow tree\n",
}


def source(folder, mask=MASK, *, name="a.png"):
    for kind, pixels in (("images", np.zeros_like(mask)), ("masks", mask)):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / name)
    return folder


@pytest.mark.parametrize("name", FORMS)
def test_tables_of_all_forms_are_read(name, tmp_path):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8")
    colours = read_table(tmp_path / name).colours
    assert colours == {"back ground": BLACK, "car": RED, "low tree": GREEN}
    assert list(colours) == ["back ground", "car", "low tree"]


@pytest.mark.parametrize("name", [name for name in FORMS if name not in ("own.txt", "hex.txt")])
def test_a_table_beside_the_masks_names_their_colours(name, tmp_path):
    (tmp_path / name).write_text(FORMS[name].replace("back ground", "background"), "utf-8")
    found = read(COLOUR_MASKS, source(tmp_path))
    assert (found.background, found.class_names) == ("background", ("car", "low tree"))
    assert painted(found, found.images[0]).tolist() == [[1, 2, 0], [1, 1, 0]]
    assert COLOUR_MASKS.recognize(FolderFiles(tmp_path)) == f"1 colour masks with {name}"


def test_without_a_background_every_pixel_has_a_class(tmp_path):
    (tmp_path / "own.txt").write_text(FORMS["own.txt"], encoding="utf-8")
    found = read(COLOUR_MASKS, source(tmp_path), colours=tmp_path / "own.txt")
    assert found.background == IGNORED and found.class_names[0] == "back ground"
    assert painted(found, found.images[0]).tolist() == [[1, 2, 0], [1, 1, 0]]


def test_a_class_called_ignored_becomes_255(tmp_path):
    text = "ignored 0 0 0\ncar 255 0 0\ntree 0 255 0"
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    found = read(COLOUR_MASKS, source(tmp_path), colours=tmp_path / "t.txt")
    assert painted(found, found.images[0])[0].tolist() == [0, 1, 255]


def test_datumaros_meta_file_names_colours_and_background(tmp_path):
    meta = {
        "label_map": {"0": "Void", "10": "tree", "2": "car"},
        "segmentation_colors": [BLACK, RED, GREEN],
        "background_label": "0",
    }
    (tmp_path / "dataset_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    found = read(COLOUR_MASKS, source(tmp_path))
    assert (found.background, found.class_names) == ("Void", ("car", "tree"))
    assert datumaro_table({"label_map": {"0": "sky"}}, tmp_path) is None
    with pytest.raises(InputError, match="3 names and 2 colours"):
        datumaro_table({**meta, "segmentation_colors": [RED, GREEN]}, tmp_path)


def test_palette_masks_are_read_by_their_colours(tmp_path):
    (tmp_path / "labelmap.txt").write_text("car:255,0,0::\ntree:0,255,0::\nx:0,0,0::", "utf-8")
    source(tmp_path)
    Image.fromarray(MASK).quantize(3).save(tmp_path / "masks" / "a.png")
    found = read(COLOUR_MASKS, tmp_path)
    assert painted(found, found.images[0]).tolist() == [[0, 1, 2], [0, 0, 2]]


def test_an_unknown_colour_is_named_with_its_pixels_and_the_nearest_class(tmp_path):
    table = table_of([("car", RED), ("tree", GREEN), ("road", BLACK)], tmp_path / "t.txt")
    mask = MASK.copy()
    mask[0, :2] = (250, 3, 0)
    source(tmp_path, mask)
    with pytest.raises(InputError) as caught:
        ids_of_colours(tmp_path / "masks" / "a.png", table)
    assert "a.png has the colour (250, 3, 0) in 2 pixels, which is not in" in str(caught.value)
    assert "nearest is 'car' (255, 0, 0): add it to" in str(caught.value)


def test_a_blurred_mask_is_said_to_be_resized(tmp_path):
    table = table_of([("car", RED), ("road", BLACK)], tmp_path / "t.txt")
    ramp = np.zeros((1, 64, 3), np.uint8)
    ramp[..., 0] = np.arange(64)
    source(tmp_path, ramp)
    with pytest.raises(InputError, match="62 more colours.*seems to be resized or compressed"):
        ids_of_colours(tmp_path / "masks" / "a.png", table)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda path: Image.fromarray(MASK).save(path, "JPEG"), "compressed as JPEG"),
        (lambda path: Image.new("RGBA", (3, 2)).save(path), "transparent pixels"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
    ],
)
def test_a_mask_without_exact_colours_is_refused(save, message, tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        ids_of_colours(tmp_path / "a.png", table_of([("car", RED)], tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car 1 2 3\ncar 4 5 6", "two colours for 'car'"),
        ("car 1 2 3\ntruck 1 2 3", r"colour \(1, 2, 3\) for 'car' and for 'truck'"),
        ("car 1 2 300", r"line 1, has the colour \(1, 2, 300\)"),
        ("car 1 2 3\nwheel", "line 2, is 'wheel': write"),
        ("", "has no colours"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(text, message, tmp_path):
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"t\.txt.*{message}"):
        read_table(tmp_path / "t.txt")


def test_without_a_table_the_colours_are_shown(tmp_path):
    assert COLOUR_MASKS.recognize(FolderFiles(source(tmp_path))) == "1 colour masks"
    with pytest.raises(InputError, match="has 3 colours, such as #ff0000.*--colours FILE"):
        read(COLOUR_MASKS, tmp_path)


def test_two_tables_are_refused(tmp_path):
    for name in ("labelmap.txt", "class_dict.csv"):
        (source(tmp_path) / name).write_text(FORMS[name], encoding="utf-8")
    with pytest.raises(InputError, match="both tables of colours: say which with --colours"):
        read(COLOUR_MASKS, tmp_path)


def test_grey_masks_without_a_table_are_not_colour_masks(tmp_path):
    files = FolderFiles(source(tmp_path, np.zeros((2, 3), np.uint8)))
    assert COLOUR_MASKS.recognize(files) is None
