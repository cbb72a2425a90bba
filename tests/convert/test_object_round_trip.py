"""Objects and segments that `predict` writes come back through `convert` as the same masks."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import Options
from segjax.convert.classes import Choice

HERE = pathlib.Path(__file__)
FILES = runpy.run_path(str(HERE.with_name("labelme_files.py")))
LISTS = runpy.run_path(str(HERE.parents[1] / "outputs/test_object_lists.py"))
converted, mask, Folder, MADE = (
    FILES["converted"],
    FILES["mask"],
    LISTS["Folder"],
    LISTS["MADE"],
)


def partition(out: pathlib.Path) -> set[frozenset]:
    """The pixels of each object of the converted image."""
    with Image.open(out / "instances/a.png") as picture:
        ids = np.asarray(picture)
    return {frozenset(np.flatnonzero(ids == i).tolist()) for i in np.unique(ids) if i}


def shown(folder) -> set[frozenset]:
    """The pixels of each object in the PNG of ids that `predict` wrote."""
    with Image.open(folder.out / "a.png") as picture:
        ids = np.asarray(picture)
    return {frozenset(np.flatnonzero(ids == i).tolist()) for i in np.unique(ids) if i}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("words", [["--coco", "--score-above", "0.5"], ["--labelme"]])
def test_objects_come_back_as_the_same_instances_and_classes(tmp_path, words):
    folder = Folder(tmp_path)
    if "--labelme" in words:
        words = [*words, "--tolerance", "0"]
    folder.predict(*words, "--max-objects", "3")
    where = Options(images=folder.source, names=MADE["NAMES"] if "--labelme" in words else None)
    summary, out = converted(folder.out, out=tmp_path / "dataset", options=where)
    assert list(summary["classes"]) == list(MADE["NAMES"])
    assert partition(out) == shown(folder) and len(shown(folder)) == 3
    classes = np.array([0, 2, 1, 1])
    with Image.open(folder.out / "a.png") as picture:
        np.testing.assert_array_equal(mask(out), classes[np.asarray(picture)])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("way", ["panoptic", "coco", "labelme"])
def test_segments_come_back_as_the_same_classes_and_things(tmp_path, way):
    folder = Folder(tmp_path, panoptic=True)
    folder.predict(
        *{"coco": ["--coco"], "labelme": ["--labelme", "--tolerance", "0"]}.get(way, [])
    )
    if way != "panoptic":
        (folder.out / "panoptic.json").unlink()
    names = MADE["THING_NAMES"]
    where = Options(images=folder.source, names=names if way == "labelme" else None)
    choice = Choice(ignored=("background",)) if way == "labelme" else Choice()
    dataset = {"out": tmp_path / "dataset", "choice": choice}
    _, out = converted(folder.out, options=where, **dataset)
    ids = MADE["segments"]().ids
    expected = np.select([ids == 1, ids == 2, ids >= 7], [0, 2, 1], 255)
    np.testing.assert_array_equal(mask(out), expected)
    if way != "labelme":  # Of whose shapes each is an object.
        things = {frozenset(np.flatnonzero(ids == i).tolist()) for i in (7, 70_000)}
        assert partition(out) == things
