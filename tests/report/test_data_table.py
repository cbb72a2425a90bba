"""What is said of a run's datasets in a table and on a page, before the first step."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from segjax.data.folder import Folder
from segjax.data.palette import voc_palette, voc_planes
from segjax.data.survey import Survey, survey
from segjax.report.contact_sheet import MARGIN, class_tile, contact_sheet, planes_tile
from segjax.report.data_sheet import write_data_sheet
from segjax.report.data_table import data_table


@dataclasses.dataclass(frozen=True)
class Named:
    """A dataset of which only the names and colours are read."""

    class_names: tuple[str, ...]
    has_planes: bool = False
    channels = 3
    palette = voc_palette()

    def prepare(self): ...

    def __len__(self): ...

    def __getitem__(self, index): ...


def found(pixels, *shapes, total=None):
    counts = {shape: shapes.count(shape) for shape in shapes}
    images = tuple(("d", str(i)) for i in range(len(shapes)))
    return Survey(pixels, images, total or len(images), counts)


def test_a_table_has_a_column_a_dataset_and_a_row_a_class():
    data = Named(("road", "car", "bus"))
    train = found({0: 700, 1: 100, 255: 200}, (20, 30, 3), (40, 25, 3))
    val = found({0: 1, 2: 9999}, (20, 30, 3), total=7)
    assert data_table({"train_data": (data, train), "eval_data": (data, val)}).splitlines() == [
        "              train_data    eval_data",
        "images                 2  1 of 7 read",
        "size      30x20 to 25x40        30x20",
        "channels               3            3",
        "road              70.0 %      < 0.1 %",
        "car               10.0 %         none",
        "bus                 none      100.0 %",
        "ignored           20.0 %         none",
    ]


def test_shares_of_classes_that_overlap_are_each_of_one_planes_pixels():
    data = Named(("disc", "cup"), has_planes=True)
    table = data_table({"a": (data, found({0: 50, 1: 10, -1: 120, 255: 20}, (10, 10, 1)))})
    assert [line.split()[-2:] for line in table.splitlines()[4:]] == [
        ["50.0", "%"],
        ["10.0", "%"],
        ["10.0", "%"],
    ]


def test_of_many_classes_the_most_frequent_have_rows_and_absent_ones_are_named():
    data = Named(tuple(f"class{i}" for i in range(20)))
    pixels = {i: 10 * (i + 1) for i in range(18)}
    lines = data_table({"train_data": (data, found(pixels, (2, 2, 3)))}).splitlines()
    assert lines[4].split() == ["class17", "10.5", "%"] and lines[15].startswith("class6 ")
    assert lines[16].split() == ["8", "more", "classes", "12.3", "%"]
    assert lines[-1] == "absent from train_data: class18, class19"


def test_ids_that_are_no_class_have_a_row_and_two_classes_of_one_name_are_told_apart():
    data = Named(("car", "car"))
    table = data_table({"a": (data, found({0: 1, 1: 1, 7: 2}, (2, 2, 3)))})
    assert "car (0)" in table and "car (1)" in table
    assert "other ids  50.0 %" in table


def test_a_class_called_as_a_row_without_class_keeps_its_share():
    data = Named(("ignored", "other ids", "car"))
    table = data_table({"a": (data, found({0: 962, 1: 8, 2: 10, 7: 5, 255: 15}, (2, 2, 3)))})
    assert table.splitlines()[4:] == [
        "ignored (0)    96.2 %",
        "other ids (1)   0.8 %",
        "car             1.0 %",
        "other ids       0.5 %",
        "ignored         1.5 %",
    ]


def test_a_name_that_an_id_was_put_behind_may_be_a_class_too():
    data = Named(("car", "car", "car (0)"))
    table = data_table({"a": (data, found({0: 1, 1: 1, 2: 2}, (2, 2, 3)))})
    assert [line.split()[-2] for line in table.splitlines()[4:7]] == ["25.0", "25.0", "50.0"]


def test_a_missing_class_called_ignored_is_absent():
    data = Named((*(f"class{i}" for i in range(20)), "ignored"))
    table = data_table({"a": (data, found({i: 1 for i in range(20)}, (2, 2, 3)))})
    assert table.splitlines()[-1] == "absent from a: ignored (20)"


def test_a_dataset_whose_labels_are_no_classes_has_no_shares():
    assert len(data_table({"a": (object(), found({0: 1}, (2, 2, 3)))}).splitlines()) == 4


def test_a_class_tile_has_the_image_beside_its_masks_colours():
    label = np.array([[0, 1], [255, 2]] * 40).repeat(40, axis=1)
    image = np.full((*label.shape, 1), 9, np.uint8)
    tile = class_tile("a", image, label, voc_palette())
    assert tile.image.shape == tile.mask.shape and (tile.image == 9).all()
    assert {tuple(c) for c in tile.mask.reshape(-1, 3)} == {
        tuple(voc_palette()[i]) for i in (0, 1, 2, 255)
    }


def test_a_tile_of_planes_shows_where_they_overlap_and_what_is_ignored():
    label = np.zeros((160, 160, 2), np.uint8)
    label[:80, :, 0], label[40:100, :, 1], label[150:, :, 1] = 1, 1, 255
    tile = planes_tile("a", np.full((160, 160, 3), 100, np.uint8), label, voc_planes(2))
    one, both, other, none, ignored = (
        tile.mask[row, 80].tolist() for row in (20, 60, 90, 120, 155)
    )
    assert none == [45, 45, 45] and ignored == [224, 224, 192]
    assert one[0] > 2 * one[1] and other[1] > 2 * other[0] and both not in (one, other, none)


def test_small_images_are_enlarged_in_blocks_and_long_names_keep_their_end():
    tile = class_tile(
        "x" * 90 + "end", np.zeros((10, 20, 3), np.uint8), np.eye(10, 20), voc_palette()
    )
    assert tile.image.shape == (80, 160, 3) and (tile.mask[:8, :8] == [128, 0, 0]).all()
    sheet = contact_sheet([tile] * 5, [("0 ground", (0, 0, 0)), ("1 thing", (128, 0, 0))])
    two_rows = contact_sheet([tile] * 4, [("0 ground", (0, 0, 0)), ("1 thing", (128, 0, 0))])
    assert sheet.width == two_rows.width and sheet.height > two_rows.height


def test_a_legend_that_is_too_long_for_a_row_goes_on_in_the_next():
    tile = class_tile(
        "a", np.zeros((160, 160, 3), np.uint8), np.zeros((160, 160)), voc_palette()
    )
    legend = [(f"{i} a class of some length", (i, i, i)) for i in range(30)]
    sheet = np.asarray(contact_sheet([tile], legend))
    assert {(i, i, i) for i in range(30)} <= {tuple(c) for c in sheet.reshape(-1, 3)}


TILE = class_tile("a", np.full((160, 160, 3), 9, np.uint8), np.zeros((160, 160)), voc_palette())


@pytest.mark.parametrize("letters", ["été", "gğış", "небо", "ουρανός", "Łódź", "⌀"])
def test_each_letter_of_a_class_is_drawn_and_not_a_box(letters):
    drawn = lambda name: np.asarray(contact_sheet([TILE], [(name, (0, 0, 0))])).tobytes()
    box, names = drawn("\U000f0000"), [drawn(letter) for letter in sorted(set(letters))]
    assert box not in names and len(set(names)) == len(names)


def test_a_letter_is_drawn_alike_in_either_unicode_form(monkeypatch):
    monkeypatch.setattr("PIL.ImageFont.core.HAVE_RAQM", False)  # That would join the accent.
    one, other = (contact_sheet([TILE], [(name, (0, 0, 0))]) for name in ("é", "e\u0301"))
    assert one.tobytes() == other.tobytes()


def test_a_class_with_a_long_name_keeps_its_id_and_stays_on_the_paper():
    sheet = contact_sheet([TILE], [("1 " + "x" * 300, (9, 9, 99)), ("2 b", (9, 99, 9))])
    same = contact_sheet([TILE], [("1 " + "x" * 400, (9, 9, 99)), ("2 b", (9, 99, 9))])
    assert sheet.tobytes() == same.tobytes()
    assert (np.asarray(sheet)[:, -MARGIN:] == 255).all()
    other = contact_sheet([TILE], [("3 " + "x" * 300, (9, 9, 99)), ("2 b", (9, 99, 9))])
    assert other.tobytes() != sheet.tobytes()


def folder(root, **options):
    for i in range(3):
        for part, value in (("images", 7), ("masks", i)):
            (root / part).mkdir(parents=True, exist_ok=True)
            shape = (4, 6, 3) if part == "images" else (4, 6)
            Image.fromarray(np.full(shape, value, np.uint8)).save(root / part / f"{i}.png")
    return Folder(directory=str(root), class_names=("a", "b", "c"), **options)


def test_a_sheet_lies_beside_the_prepared_files_and_is_drawn_once(tmp_path, monkeypatch):
    data = folder(tmp_path)
    path = write_data_sheet(data)
    assert path.parent == data.prepared_folder
    survey(data)
    assert {p.suffix for p in path.parent.iterdir()} >= {".png", ".json"}
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(Folder, "__getitem__", lambda *_: pytest.fail("it was drawn again"))
    assert write_data_sheet(data) == path and path.stat().st_mtime_ns == before
    monkeypatch.undo()
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "cache"))
    coloured = folder(tmp_path, colours=((1, 2, 3), (4, 5, 6), (250, 8, 9)))
    other = write_data_sheet(coloured)
    assert other != path and other.parent == path.parent and path.is_file()
    with Image.open(other) as sheet:
        colours = {tuple(c) for c in np.asarray(sheet).reshape(-1, 3)}
    assert {(1, 2, 3), (4, 5, 6), (250, 8, 9)} <= colours


def test_a_read_only_cache_is_said_before_anything_is_drawn(tmp_path, monkeypatch):
    data = folder(tmp_path)
    data.prepare()
    monkeypatch.setattr("os.access", lambda path, mode: path != data.prepared_folder)
    monkeypatch.setattr(Folder, "__getitem__", lambda *_: pytest.fail("it was drawn"))
    with pytest.raises(PermissionError, match="the cache is read-only"):
        write_data_sheet(data)


def test_a_dataset_without_files_has_no_sheet():
    assert write_data_sheet(Named(("a",))) is None
