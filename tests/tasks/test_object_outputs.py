"""Tasks of objects say which files predict writes of them, and what the page shows."""

import types

import pytest

from segjax.data.palette import voc_palette
from segjax.predict import _parser
from segjax.tasks.instance import Instance
from segjax.tasks.panoptic_deeplab import BottomUp

DATA = types.SimpleNamespace(
    class_names=("background", "cell"), palette=voc_palette(), things=(1,)
)
EVERY = ("--overlay", "--labelme", "--coco", "--areas")


@pytest.mark.parametrize(
    "task, words, suffixes, lists, scored",
    [
        (
            Instance(),
            ("--cut-out",),
            [".png", "_objects.json", "_overlay.png", "_cutouts", ".json"],
            ["areas.csv", "counts.csv", "annotations.json"],
            True,
        ),
        (
            BottomUp(),
            (),
            [".png", "_objects.json", "_overlay.png", ".json"],
            ["panoptic.json", "legend.svg", "areas.csv", "counts.csv", "annotations.json"],
            False,
        ),
    ],
)
def test_every_option_has_its_file_and_only_detectors_a_slider(
    task, words, suffixes, lists, scored
):
    options = _parser().parse_args(["run", "in", "--out", "out", *EVERY, *words])
    assert [kind.suffix for kind in task.outputs(options, DATA)] == suffixes
    assert [each.file for each in task.lists(options, DATA)] == lists
    assert task.shown(DATA).scored == scored
