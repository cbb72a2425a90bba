"""A task that an experiment file defines runs through every command that can serve it."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import launch, predict
from segjax.errors import InputError
from segjax.experiment import describe, load
from segjax.report.score import Score
from segjax.tasks.scorer import plain
from segjax.tasks.sums import SumMetric
from segjax.train.checkpoint import Checkpoints
from segjax.train.plan import make_plan
from segjax.transforms.entries import Declare
from segjax.transforms.geometric import RandomCrop
from segjax.transforms.kinds import Bilinear

FILE = pathlib.Path(__file__).parents[2] / "experiments/tutorials/distance_regression.py"
SMALL = ("model.depth=1", "model.features=4", "train_data.size=32", "eval_data.size=32")
SHORT = ("eval_data.count=6", "batch_size=4", "optimizer.schedule.warmup_steps=1", "steps=6")


def run(workdir, *settings) -> int:
    chosen = [*SMALL, *SHORT, "checkpoint_every=2", "evaluation.batch_size=3", *settings]
    words = [word for setting in chosen for word in ("--set", setting)]
    return launch.main([str(FILE), "--workdir", str(workdir), *words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    assert run(workdir) == 0
    return workdir


def test_it_is_scored_by_its_own_metric(finished):
    evaluation = json.loads((finished / "evaluation.json").read_text())
    rows = [json.loads(row) for row in (finished / "metrics.jsonl").read_text().splitlines()]
    scored = {row["step"]: row["mean_absolute_error"] for row in rows if len(row) == 2}
    assert set(scored) == {2, 4, 6}
    assert evaluation["mean_absolute_error"] == min(scored.values())
    assert scored[evaluation["step"]] == min(scored.values())
    assert "mean_iou" not in evaluation and evaluation["images"] == 6


def test_the_report_has_its_score_its_curve_and_its_pictures(finished):
    page = (finished / "report.html").read_text()
    score = json.loads((finished / "evaluation.json").read_text())["mean_absolute_error"]
    assert f"<dt>Mean absolute error</dt><dd>{score:.4g}</dd>" in page
    assert "Lower is better. Best mean absolute error" in page
    assert page.count("<figcaption>Prediction</figcaption>") == 6
    assert "Mean over all pixels of all images, in pixels." in page
    assert '<p class="kicker">Report</p>' in page


def test_it_resumes_to_the_same_bits(finished, tmp_path, monkeypatch):
    stopped = tmp_path / "run"
    save = Checkpoints.save

    def stop_after_four(self, state, **score):
        save(self, state, **score)
        if int(state.step) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", stop_after_four)
    assert run(stopped) == 130
    monkeypatch.undo()
    assert run(stopped) == 0
    with Checkpoints(finished, read_only=True) as one, Checkpoints(stopped) as other:
        pairs = zip(_arrays(one.restore_tree(6)), _arrays(other.restore_tree(6)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def _arrays(tree) -> list[np.ndarray]:
    if isinstance(tree, dict):
        return [array for value in tree.values() for array in _arrays(value)]
    if isinstance(tree, list):
        return [array for value in tree for array in _arrays(value)]
    return [np.asarray(tree)]


def test_files_that_it_does_not_make_are_refused_in_one_line(finished, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict.main([str(finished), str(FILE), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        "error: predict writes no files for Regression: define `outputs` in the task.\n"
    )
    assert not out.exists()


def test_a_label_that_is_no_number_is_named_before_the_first_step(monkeypatch):
    data = load(FILE).eval_data
    given, broken = type(data).__getitem__, {"label": np.full((32, 32), np.nan)}
    monkeypatch.setattr(type(data), "__getitem__", lambda *at: {**given(*at), **broken})
    with pytest.raises(InputError, match="a label is one finite number for each pixel"):
        make_plan(dataclasses.replace(load(FILE), eval_data=data, batch_size=4))


def test_the_page_shows_the_metric_that_the_file_has():
    lines = [line for line in _python_of_page()[0].splitlines() if line.startswith("    ")]
    missing = [line for line in lines if line not in FILE.read_text(encoding="utf-8")]
    assert len(lines) > 10 and [line.split("  #")[0] for line in missing] == [
        "    loss=absolute_error,"
    ]


def test_the_masked_loss_of_the_page_counts_known_labels_and_has_finite_gradients():
    names = {}
    exec(_python_of_page()[1], names)
    label = jnp.array([[[1.0, jnp.nan], [4.0, jnp.nan]]])
    loss = lambda output: names["absolute_error"](output, {"label": label})["absolute_error"]
    total, weight = loss(jnp.zeros((1, 2, 2, 1)))
    assert (float(total), float(weight)) == (5.0, 2.0)
    gradient = jax.grad(lambda output: loss(output)[0])(jnp.zeros((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient[0, ..., 0], [[-1, 0], [-1, 0]])


def test_labels_of_floats_are_nan_beyond_the_image_unless_declared_bilinear():
    example = {
        "image": np.zeros((4, 4, 3), np.uint8),
        "label": np.ones((4, 4), np.float32),
        "name": "a",
    }
    rng = np.random.default_rng(0)
    crop = RandomCrop(8)
    outside = crop(example, rng)["label"]
    assert np.isnan(outside).sum() == 48 and np.nansum(outside) == 16
    outside = crop(Declare("label", Bilinear())(example, rng), rng)["label"]
    assert (outside == 0).sum() == 48 and outside.sum() == 16


def _python_of_page():
    page = (FILE.parents[2] / "docs/own_task.md").read_text(encoding="utf-8")
    return [block.split("```")[0] for block in page.split("```python\n")[1:]]


def test_the_task_is_part_of_what_decides_a_run():
    assert "task = distance_regression.Regression()" in describe(load(FILE))


def metric(**options) -> SumMetric:
    return SumMetric(
        {"error": Score("Error", is_share=False, higher_is_better=False)},
        count=lambda example, prediction: np.array([prediction, 1.0]),
        scores=lambda sums: {"error": sums[0] / sums[1], "by": {"all": np.nan}},
        **options,
    )


def test_a_metric_of_sums_is_of_all_images_and_ranks_each_alone():
    found = metric()
    for index, value in enumerate((3.0, 1.0, 5.0)):
        found.add(index, {}, value)
    found.merge(3)
    assert plain(found.scores()) == {"error": 3.0, "by": {"all": None}}
    assert found.ranking() == {0: 3.0, 1: 1.0, 2: 5.0}


def test_where_less_is_better_a_checkpoint_stands_by_the_negative():
    found = metric()
    assert found.standing({"error": 2.5}) == {"-error": -2.5}
    assert found.standing({"error": None})["-error"] < -1e300
    assert found.line({"error": 2.5}) == "error 2.5000" and found.line({"error": None}) == ""
