"""Lists of objects of all images, written by way of the writer, and read by other tools."""

import contextlib
import csv
import io
import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segjax.data.palette import voc_palette
from segjax.errors import InputError
from segjax.outputs.found import read_found
from segjax.outputs.inputs import find_inputs
from segjax.outputs.kinds import Labelme
from segjax.outputs.lists import write_lists
from segjax.outputs.object_options import (
    asked_object_lists,
    asked_object_outputs,
    asked_panoptic_lists,
    asked_panoptic_outputs,
)
from segjax.outputs.record import Record
from segjax.outputs.writer import Writer
from segjax.predict import _parser

MADE = runpy.run_path(str(pathlib.Path(__file__).with_name("made_answers.py")))
four, ring, segments, objects = (MADE[name] for name in ("four", "ring", "segments", "objects"))
NAMES, THING_NAMES, SIZE = MADE["NAMES"], MADE["THING_NAMES"], MADE["SIZE"]
COLOURS = ((70, 130, 180), (0, 0, 142), (128, 64, 128))


class Folder:
    """Two images, and a stand-in for the network, which counts how often it is asked."""

    def __init__(self, root: pathlib.Path, *, panoptic: bool = False):
        self.source, self.out, self.asked, self.panoptic = (
            root / "in",
            root / "out",
            0,
            panoptic,
        )
        self.source.mkdir()
        for name in ("a.png", "b.png"):
            pixels = np.full((*SIZE, 3), 50, np.uint8)
            Image.fromarray(pixels).save(self.source / name)

    def predict(self, *words: str, answers=None) -> list:
        options = _parser().parse_args(["run", "in", "--out", "out", *words])
        names = THING_NAMES if self.panoptic else NAMES
        if self.panoptic:
            outputs = asked_panoptic_outputs(options)
            lists = asked_panoptic_lists(options, names, COLOURS, MADE["THINGS"])
        else:
            outputs = asked_object_outputs(options, names)
            lists = asked_object_lists(options, names, COLOURS)
        given = iter(answers or [segments()] * 2 if self.panoptic else [four(), objects()])

        def answer(image, soft):
            self.asked += 1
            return next(given), None

        self.record = Record(self.out)
        self.record.begin({"run": "a", "step": 8}, outputs)
        work = Writer(
            answer=answer,
            channels=3,
            out=self.out,
            outputs=outputs,
            frame_files=any(isinstance(kind, Labelme) for kind in outputs),
            record=self.record,
            class_names=names,
            palette=voc_palette(),
        )
        sources = find_inputs([str(self.source)], self.out)
        entries = [entry for source in sources for entry in work.entries(source)]
        write_lists(lists, self.out, entries, record=self.record)
        return entries

    def rows(self, name: str) -> list[dict]:
        with open(self.out / name, newline="") as file:
            return list(csv.DictReader(file))

    def json(self, name: str):
        return json.loads((self.out / name).read_text())


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def test_overlays_of_several_classes_have_a_legend_of_those_that_are_found(folder):
    options = _parser().parse_args(["run", "in", "--out", "out", "--overlay"])
    assert asked_object_lists(options, NAMES[:2], COLOURS[:2]) == []
    folder.predict("--overlay")
    legend = (folder.out / "legend.svg").read_text()
    assert legend.count("<text") == 2 and ">grain</text>" in legend
    assert "background" not in legend


def test_areas_has_a_line_for_each_object_and_counts_for_each_image_and_class(folder):
    folder.predict("--areas")
    rows = folder.rows("areas.csv")
    assert [(row["image"], row["object"], row["class"]) for row in rows] == [
        ("a.png", "1", "grain"),
        ("a.png", "2", "cell"),
        ("a.png", "3", "cell"),
    ]
    # The ring: 9 x 12 with a hole of 3 x 4, all of it though a better object covers a part.
    of_ring = rows[1]
    assert of_ring["pixels"] == "96" and of_ring["score"] == "0.8000"
    assert [of_ring[key] for key in ("left", "top", "width", "height")] == [
        "14",
        "8",
        "12",
        "9",
    ]
    assert (of_ring["center_x"], of_ring["center_y"]) == ("20.00", "12.50")
    assert float(of_ring["equivalent_diameter"]) == pytest.approx(
        2 * (96 / np.pi) ** 0.5, abs=0.01
    )
    counts = folder.rows("counts.csv")
    assert [(row["image"], row["class"], row["objects"]) for row in counts] == [
        ("a.png", "cell", "2"),
        ("a.png", "grain", "1"),
        ("b.png", "cell", "0"),
        ("b.png", "grain", "0"),
    ]
    assert counts[0]["pixels"] == str(96 + 63) and counts[0]["mean_pixels"] == "79.50"


def test_a_second_command_asks_no_network_and_gives_the_same_lists(folder):
    folder.predict("--areas", "--coco", "--cut-out")
    before = {path.name: path.read_bytes() for path in folder.out.glob("*.*")}
    entries = folder.predict("--areas", "--coco", "--cut-out")
    assert folder.asked == 2 and all(entry.skipped for entry in entries)
    after = {path.name: path.read_bytes() for path in folder.out.glob("*.*")}
    assert after == before


def test_another_score_makes_the_files_anew_that_it_decides(folder):
    folder.predict("--cut-out")
    kept = (folder.out / "a_objects.json").stat().st_mtime_ns
    folder.predict("--cut-out", "--score-above", "0.1")
    assert (folder.out / "a_objects.json").stat().st_mtime_ns == kept
    assert (folder.out / "a_cutouts/004.png").is_file()
    folder.predict("--cut-out", "--max-objects", "1")
    assert [path.name for path in (folder.out / "a_cutouts").iterdir()] == ["001.png"]


def test_a_folder_of_cut_outs_that_somebody_changed_stays(folder):
    folder.predict("--cut-out")
    (folder.out / "a_cutouts/mine.txt").write_text("mine")
    entries = folder.predict("--cut-out", "--max-objects", "1")
    assert entries[0].kept == (folder.out / "a_cutouts",) and entries[1].kept == ()
    assert (folder.out / "a_cutouts/003.png").is_file()


def test_coco_lists_all_objects_unless_a_score_is_given(folder):
    folder.predict("--coco")
    scores = [each["score"] for each in folder.json("annotations.json")["annotations"]]
    assert scores == pytest.approx([0.2, 0.7, 0.8, 0.9])
    folder.predict("--coco", "--score-above", "0.75")
    scores = [each["score"] for each in folder.json("annotations.json")["annotations"]]
    assert scores == pytest.approx([0.8, 0.9])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_pycocotools_takes_the_list_as_truth_and_as_results(folder, kind):
    folder.predict("--coco")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder.out / "annotations.json")
        found = truth.loadRes(folder.json("annotations.json")["annotations"])
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    (of_ring,) = [each for each in truth.anns.values() if abs(each["score"] - 0.8) < 1e-6]
    np.testing.assert_array_equal(truth.annToMask(of_ring), ring())
    assert {each["name"]: each["id"] for each in truth.cats.values()} == {"cell": 2, "grain": 3}


def test_a_panoptic_list_names_the_png_and_the_segments_of_each_image(tmp_path):
    folder = Folder(tmp_path, panoptic=True)
    folder.predict("--areas", "--coco")
    listed = folder.json("panoptic.json")
    assert [each["file_name"] for each in listed["annotations"]] == ["a.png", "b.png"]
    assert [(each["name"], each["isthing"]) for each in listed["categories"]] == [
        ("sky", 0),
        ("car", 1),
        ("road", 0),
    ]
    with Image.open(folder.out / "a.png") as picture:
        red, green, blue = np.moveaxis(np.array(picture).astype(int), -1, 0)
    ids = red + 256 * green + 65536 * blue
    for each in listed["annotations"][0]["segments_info"]:
        assert each["area"] == (ids == each["id"]).sum() > 0
        left, top, width, height = each["bbox"]
        assert (ids[top : top + height, left : left + width] == each["id"]).sum() == each[
            "area"
        ]
    counts = [row["objects"] for row in folder.rows("counts.csv")[:3]]
    assert counts == ["1", "2", "1"]
    things = [each["isthing"] for each in folder.json("annotations.json")["categories"]]
    assert things == [0, 1, 0]


def test_a_json_of_objects_that_somebody_broke_is_one_line(tmp_path):
    for text in ("{", "[]", '{"width": 3}'):
        (tmp_path / "a_objects.json").write_text(text)
        with pytest.raises(InputError, match="a_objects.json is not as this command wrote it"):
            read_found(tmp_path / "a_objects.json")
