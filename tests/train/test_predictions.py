"""Predictions that an ablation keeps come back as the task made them."""

import json
import pathlib
import shutil
import types

import numpy as np
import pytest

from segjax import launch
from segjax.errors import InputError
from segjax.experiment import load
from segjax.objects import Objects, PanopticMap
from segjax.tasks.multilabel import Multilabel
from segjax.train.predictions import prediction_of, save_predictions

TASKS = pathlib.Path(__file__).parents[1] / "tasks"
SOURCE = '''"""Two variants of a panoptic run."""

import dataclasses

from segjax.train.optimizer import AdamW, Constant
from tiny_panoptic import experiment as tiny

SHORT = dataclasses.replace(tiny, steps=2)

experiments = [
    dataclasses.replace(SHORT, name="fast"),
    dataclasses.replace(SHORT, name="slow", optimizer=AdamW(Constant(1e-4))),
]
'''


def kept(tmp_path, experiment, prediction):
    """What is read of a prediction that was written, on the only image that is shown."""
    scorer = types.SimpleNamespace(predictions=lambda variables, images: [prediction])
    save_predictions(tmp_path, experiment, scorer, {})
    return prediction_of(tmp_path, 0, experiment.task)


def test_segments_come_back(tmp_path):
    experiment = load(TASKS / "tiny_panoptic.py")
    given = PanopticMap.of_example(experiment.eval_data[0], experiment.eval_data.things)
    back = kept(tmp_path, experiment, given)
    assert back.segments == given.segments and len(given.segments) > 1
    np.testing.assert_array_equal(back.ids, given.ids)


def test_objects_come_back_with_their_masks(tmp_path):
    experiment = load(TASKS / "discs.py")
    given = Objects.of_example(experiment.eval_data[3])
    back = kept(tmp_path, experiment, given)
    assert len(back) == len(given) == 3 and back.size == given.size
    np.testing.assert_array_equal(back.mask(2), given.mask(2))
    data = experiment.eval_data
    one, other = (
        experiment.task.panels(data[3], each, data, longest=40) for each in (given, back)
    )
    np.testing.assert_array_equal(one.predicted[0].rgb, other.predicted[0].rgb)


def test_arrays_come_back_and_other_predictions_are_refused_with_the_remedy():
    task, array = Multilabel(), np.ones((2, 3, 1), np.float32)
    assert task.unpacked(task.packed(array)) is array
    with pytest.raises(
        InputError, match="a PanopticMap, but .* define `packed` and `unpacked`"
    ):
        task.packed(PanopticMap(np.zeros((2, 2), int), ()))


@pytest.mark.slow
def test_an_ablation_of_a_panoptic_task_shows_its_segments(tmp_path):
    shutil.copy(TASKS / "tiny_panoptic.py", tmp_path)
    (tmp_path / "variants.py").write_text(SOURCE, encoding="utf-8")
    root = tmp_path / "runs"
    assert launch.main([str(tmp_path / "variants.py"), "--workdir", str(root)]) == 0
    table = json.loads((root / "comparison.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in table["variants"]] == ["fast", "slow"]
    assert all(0 <= each["pq"]["mean"] <= 1 for each in table["variants"])
    page = (root / "comparison.html").read_text(encoding="utf-8")
    for title in ("Image", "Truth", "fast", "slow"):
        assert f"<figcaption>{title}</figcaption>" in page
