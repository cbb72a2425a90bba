"""Early stopping: the step at which a run ends depends on its scores alone."""

import dataclasses
import json
import pathlib
import runpy

import pytest

from segjax import launch
from segjax.announce import LOGGER
from segjax.errors import InputError
from segjax.experiment import EarlyStop
from segjax.train.early_stop import EarlyStopping, Stopped, check_stop, early_stop_line, stopped
from segjax.train.log import read_metrics
from segjax.train.predictions import is_finished
from segjax.train.telemetry import without_timing

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"
EXPERIMENT = runpy.run_path(str(TINY))["experiment"]


def ends(values, *, higher=True, **fields) -> int | None:
    scores = dict(enumerate(values, start=1))
    found = stopped(scores, EarlyStop(**fields), higher_is_better=higher)
    return found and found.step


def test_a_run_ends_after_patience_evaluations_that_are_not_better():
    scores = [0.1, 0.3, 0.3, 0.2, 0.29, 0.9]
    assert ends(scores, patience=3) == 5
    assert ends(scores, patience=4) is None
    assert ends([0.1, 0.2, 0.3, 0.4], patience=1) is None


def test_a_better_score_starts_the_count_anew():
    assert ends([0.3, 0.2, 0.4, 0.3, 0.3], patience=2) == 5


def test_lower_is_better_where_the_metric_says_so():
    assert ends([5.0, 4.0, 3.0], higher=False, patience=1) is None
    assert ends([3.0, 4.0, 5.0], higher=False, patience=2) == 3


def test_a_change_up_to_min_change_is_not_better():
    assert ends([0.5, 0.5625, 0.625], patience=2, min_change=0.125) == 3
    assert ends([0.5, 0.5625, 0.640625], patience=2, min_change=0.125) is None


def test_undefined_scores_are_not_better_and_a_run_of_nothing_else_ends():
    assert ends([0.5, None, float("nan")], patience=2) == 3
    assert ends([None, None], patience=2) == 2
    scores = {1: None, 2: 0.25, 3: float("inf")}
    assert stopped(scores, EarlyStop(patience=1), higher_is_better=True) == Stopped(
        1, None, None
    )


@pytest.mark.parametrize("field", [{"patience": 0}, {"min_change": -0.1}])
def test_fields_below_their_least_value_are_refused(field):
    with pytest.raises(InputError, match=f"{next(iter(field))}=.* must be at least"):
        EarlyStop(**field)


def test_a_metric_that_is_not_logged_is_refused_with_those_that_are():
    wrong = dataclasses.replace(EXPERIMENT, stop=EarlyStop(metric="mean_iuo"))
    with pytest.raises(InputError, match="stop.metric='mean_iuo' .* use one of mean_iou"):
        check_stop(wrong)
    check_stop(dataclasses.replace(EXPERIMENT, stop=EarlyStop(metric="pixel_accuracy")))
    check_stop(EXPERIMENT)


@pytest.fixture
def rows(tmp_path):
    """A folder with rows of scores at steps 4, 8, …; every second one has no score."""
    scores = [0.5, 0.25, 0.25, 0.75]
    lines = [{"step": 4 * i, "mean_iou": score} for i, score in enumerate(scores, start=1)]
    lines += [{"step": 4 * i, "loss": 1.0} for i in (1, 2, 3, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return tmp_path


@pytest.mark.parametrize(("first", "patience", "ended"), [(12, 2, True), (8, 2, False)])
def test_a_run_that_goes_on_decides_by_its_rows_up_to_there(rows, first, patience, ended):
    experiment = dataclasses.replace(EXPERIMENT, stop=EarlyStop(patience=patience))
    assert EarlyStopping(experiment, rows, first=first).has_come == ended
    assert not EarlyStopping(EXPERIMENT, rows, first=first).has_come


@pytest.mark.parametrize("scored", [True, False])
def test_scores_that_the_rows_have_lost_are_said(scored, rows, capsys, caplog):
    evaluation = dataclasses.replace(EXPERIMENT.evaluation, every=4)
    plain = dataclasses.replace(EXPERIMENT, evaluation=evaluation)
    early = dataclasses.replace(plain, stop=EarlyStop(patience=2))
    path = rows / "metrics.jsonl"
    caplog.set_level("INFO", LOGGER.name)
    EarlyStopping(early, rows, first=16, scored=scored)
    lines = [line for line in path.read_text().splitlines() if "mean_iou" in line]
    path.write_text(f"{lines[0]}\n{lines[2]}\n")
    EarlyStopping(plain, rows, first=16, scored=scored)
    assert not capsys.readouterr().err
    EarlyStopping(early, rows, first=16, scored=scored)
    which = "8, 16" if scored else "8"
    assert capsys.readouterr().err == (
        f"{path} has no mean_iou of step {which}: early stopping counts anew from the rows "
        "that are left.\n"
    )


def test_the_line_gives_step_metric_and_best_score(rows):
    experiment = dataclasses.replace(EXPERIMENT, steps=1000, stop=EarlyStop(patience=2))
    history = [row for row in read_metrics(rows) if row["step"] <= 12]
    assert early_stop_line(experiment, history) == (
        "at step 12 of 1,000: mean_iou has not become better in 2 evaluations (the best is 0.5 "
        "at step 4)"
    )
    assert early_stop_line(dataclasses.replace(experiment, steps=12), history) is None
    assert early_stop_line(dataclasses.replace(experiment, stop=None), history) is None


STOPPING = """
import dataclasses, runpy

from segjax.experiment import EarlyStop

tiny = runpy.run_path({tiny!r})["experiment"]
# No score is better by 0.9 than the first one, so the run ends at its third evaluation.
experiments = [
    dataclasses.replace(tiny, steps=40, stop=EarlyStop(patience=2, min_change=0.9))
]
"""


@pytest.mark.slow
def test_a_run_that_stops_early_is_complete_and_goes_on_without_the_field(tmp_path, capsys):
    file, workdir = tmp_path / "stopping.py", tmp_path / "run"
    file.write_text(STOPPING.format(tiny=str(TINY)))
    command = [str(file), "--workdir", str(workdir)]
    run = workdir / "tiny" / "seed0"
    assert launch.main(command) == 0
    assert "training stopped early at step 12 of 40" in capsys.readouterr().out
    rows = read_metrics(run)
    assert max(row["step"] for row in rows) == 12
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["stopped_early"].startswith("at step 12 of 40: mean_iou has not become")
    report = (run / "report.html").read_text(encoding="utf-8")
    assert f"Training stopped early {evaluation['stopped_early']}." in report
    experiment = runpy.run_path(str(file))["experiments"][0]
    assert is_finished(run, experiment)
    assert launch.main(command) == 0
    assert "already complete" in capsys.readouterr().out
    assert launch.main([*command, "--set", "stop=None", "--set", "steps=40"]) == 0
    longer = read_metrics(run)
    assert max(row["step"] for row in longer) == 40
    assert [*map(without_timing, longer)][: len(rows)] == [*map(without_timing, rows)]
    assert "stopped_early" not in json.loads((run / "evaluation.json").read_text())
