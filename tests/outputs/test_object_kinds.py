"""Files of objects and panoptic maps: what each holds, and which options ask for it."""

import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.data.palette import voc_palette
from segjax.data.panoptic_png import segment_ids
from segjax.errors import InputError
from segjax.outputs.kinds import Prediction
from segjax.outputs.object_options import asked_object_outputs, asked_panoptic_outputs
from segjax.outputs.options import asked_outputs
from segjax.outputs.planes import asked_plane_outputs
from segjax.predict import _parser

MADE = runpy.run_path(str(pathlib.Path(__file__).with_name("made_answers.py")))
four, objects, rectangle, ring, segments = (
    MADE[name] for name in ("four", "objects", "rectangle", "ring", "segments")
)
NAMES, THING_NAMES, SIZE = MADE["NAMES"], MADE["THING_NAMES"], MADE["SIZE"]
IMAGE = np.random.default_rng(0).integers(0, 200, (*SIZE, 3)).astype(np.uint8)


def options(*words: str):
    return _parser().parse_args(["run", "in", "--out", "out", *words])


def prediction(answer, folder, names=NAMES) -> Prediction:
    return Prediction(IMAGE, answer, None, folder / "in/a.jpg", names, voc_palette())


def saved(folder, answer, *words: str) -> dict[str, pathlib.Path]:
    """{suffix: file} of all kinds that the options ask for."""
    if isinstance(answer, type(segments())):
        kinds, names = asked_panoptic_outputs(options(*words)), THING_NAMES
    else:
        kinds, names = asked_object_outputs(options(*words), NAMES), NAMES
    files = {kind.suffix: folder / f"a{kind.suffix}" for kind in kinds}
    for kind in kinds:
        kind.save(prediction(answer, folder, names), files[kind.suffix])
    return files


def ids_of(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "I;16"
        return np.array(picture)


def test_instance_ids_count_from_1_by_falling_score_and_the_better_one_is_on_top(tmp_path):
    ids = ids_of(saved(tmp_path, four())[".png"])
    parts = rectangle(1, 1, 6, 9) | rectangle(12, 2, 3, 3)
    expected = np.where(parts, 3, 0)
    expected[ring()] = 2
    expected[rectangle(4, 5, 6, 8)] = 1
    np.testing.assert_array_equal(ids, expected)


def test_a_score_and_a_number_choose_what_is_shown_and_the_json_keeps_all(tmp_path):
    low = saved(tmp_path, four(), "--score-above", "0.1")
    assert ids_of(low[".png"]).max() == 4
    files = saved(tmp_path, four(), "--score-above", "0.75", "--max-objects", "1")
    assert {*np.unique(ids_of(files[".png"]))} == {0, 1}
    found = json.loads(files["_objects.json"].read_text())
    assert [each["score"] for each in found["objects"]] == pytest.approx([0.9, 0.8, 0.7, 0.2])
    assert [each["id"] for each in found["objects"]] == [1, 2, 3, 4]
    assert found["objects"][1]["class"] == "cell" and found["objects"][1]["category_id"] == 2
    assert found["objects"][1]["area"] == ring().sum()
    assert found["objects"][1]["bbox"] == [14, 8, 12, 9]


def test_an_overlay_draws_contours_and_names_over_the_image(tmp_path):
    drawn = np.array(Image.open(saved(tmp_path, four(), "--overlay")["_overlay.png"]))
    changed = (drawn != IMAGE).any(-1)
    assert changed[ring()].all() and not changed.all()
    none = saved(tmp_path, objects(), "--overlay")
    np.testing.assert_array_equal(np.array(Image.open(none["_overlay.png"])), IMAGE)


def test_each_object_is_cut_out_to_its_own_file_of_its_size(tmp_path):
    folder = saved(tmp_path, four(), "--cut-out")["_cutouts"]
    assert sorted(path.name for path in folder.iterdir()) == ["001.png", "002.png", "003.png"]
    cut = np.array(Image.open(folder / "002.png"))
    assert cut.shape == (9, 12, 4)
    np.testing.assert_array_equal(cut[..., :3], IMAGE[8:17, 14:26])
    np.testing.assert_array_equal(cut[..., 3] == 255, ring()[8:17, 14:26])
    (tmp_path / "kept").mkdir()
    kept = saved(tmp_path / "kept", four(), "--cut-out", "--keep", "cell")["_cutouts"]
    assert sorted(path.name for path in kept.iterdir()) == ["002.png", "003.png"]


def test_parts_of_an_object_share_a_group_id_in_labelme(tmp_path):
    shapes = json.loads(saved(tmp_path, four(), "--labelme")[".json"].read_text())["shapes"]
    named = [(shape["label"], shape["group_id"]) for shape in shapes]
    assert named.count(("cell", 3)) == 2 and named.count(("grain", 1)) == 1
    # The ring's hole is a polygon of the background, drawn after the ring.
    assert named.index(("background", None)) > named.index(("cell", 2))


def test_boxes_alone_are_filled_rectangles(tmp_path):
    files = saved(tmp_path, four(masks=False), "--cut-out")
    assert (ids_of(files[".png"])[11:14, 18:22] == 2).all()
    found = json.loads(files["_objects.json"].read_text())["objects"]
    assert "segmentation" not in found[1] and found[1]["area"] == 108


def test_a_panoptic_png_holds_ids_as_colours_and_its_json_their_classes(tmp_path):
    answer = segments()
    files = saved(tmp_path, answer, "--overlay", "--labelme")
    read = segment_ids(files[".png"], name=files[".png"])
    np.testing.assert_array_equal(read, answer.ids)
    found = json.loads(files["_objects.json"].read_text())["objects"]
    assert [each["class"] for each in found] == ["sky", "road", "car", "car"]
    assert [each["is_thing"] for each in found] == [False, False, True, True]
    shapes = json.loads(files[".json"].read_text())["shapes"]
    assert {shape["group_id"] for shape in shapes} == {None, 1, 2, 7, 70_000}
    assert (np.array(Image.open(files["_overlay.png"])) != IMAGE).any()


@pytest.mark.parametrize(
    "words, line",
    [
        (["--probabilities"], "--probabilities needs a class for every pixel"),
        (["--file-ids"], "--file-ids needs a class for every pixel"),
        (["--blur", "3"], "--blur needs a class for every pixel"),
        (["--background", "white"], "--background needs a class for every pixel"),
        (["--keep", "cell"], "--keep needs --cut-out"),
        (["--keep", "cel", "--cut-out"], "there is no such class; near: cell"),
        (["--tolerance", "1", "--coco"], "--tolerance is for the polygons of --labelme"),
        (["--score-above", "1.5"], "--score-above 1.5: give a score from 0 to 1"),
        (["--score-above", "nan"], "--score-above nan: give a score"),
        (["--max-objects", "0"], "--max-objects 0: give a number of objects"),
    ],
)
def test_options_of_other_tasks_and_wrong_values_are_one_line(words, line):
    with pytest.raises(InputError, match=line) as error:
        asked_object_outputs(options(*words), NAMES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["--probabilities", "--cut-out", "--score-above=0.4"])
def test_a_panoptic_run_refuses_what_it_does_not_have(word):
    with pytest.raises(InputError, match=f"{word.split('=')[0]} "):
        asked_panoptic_outputs(options(word))


@pytest.mark.parametrize("words", [["--score-above", "0.3"], ["--max-objects", "4"]])
def test_runs_of_classes_refuse_options_that_choose_objects(words):
    for asked in (
        lambda: asked_outputs(options(*words), NAMES),
        lambda: asked_plane_outputs(options(*words), ["disc"], [(1, 2, 3)]),
    ):
        with pytest.raises(InputError, match=f"{words[0]} is for runs that find objects"):
            asked()
