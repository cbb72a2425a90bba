"""Trackers get a run's rows, know it again, and can neither stop nor delay it."""

import dataclasses
import json
import os
import pathlib
import runpy
import subprocess
import sys
import threading
from typing import ClassVar

import pytest

from segjax.description import wrong_types
from segjax.errors import InputError
from segjax.experiment import checked
from segjax.train import trackers as trackers_module
from segjax.train import tracking as tracking_module
from segjax.train.log import RunLog
from segjax.train.trackers import MLflow, WandB
from segjax.train.tracking import IDS, Tracking, check_trackers

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"
EXPERIMENT = runpy.run_path(str(TINY))["experiment"]


@dataclasses.dataclass(frozen=True)
class Kept:
    """A tracker that keeps what it is told; `fails` names the call that raises."""

    place: str = "a"
    fails: str = ""
    calls: ClassVar[list] = []

    def start(self, name, description, *, workdir, run_id):
        self.told("start", name, description["steps"], run_id)
        return Run(self, run_id or f"run-{self.place}")

    def told(self, call, *values):
        if call == self.fails:
            raise ConnectionError(f"no network for {call}.\nTraceback")
        self.calls.append((self.place, call, *values))


class Run:
    def __init__(self, kept, run_id):
        self.kept, self.run_id = kept, run_id

    def log(self, step, numbers):
        self.kept.told("log", step, numbers)

    def finish(self, status):
        self.kept.told("finish", status)


@pytest.fixture(autouse=True)
def calls():
    Kept.calls.clear()
    return Kept.calls


def track(workdir, rows, *kept, first=0, error=None):
    """Writes rows as a run does that goes on from `first`, and ends by `error`."""
    experiment = dataclasses.replace(EXPERIMENT, trackers=kept)
    log = RunLog(workdir, first_step=first, trackers=Tracking(experiment, workdir))
    try:
        with log:
            for row in rows:
                log.write(row["step"], {k: v for k, v in row.items() if k != "step"})
            if error:
                raise error
    except BaseException as raised:
        assert raised is error


ROWS = [{"step": s, "loss": 0.5 * s, "steps_per_second": 3.0} for s in range(1, 5)]


def steps(calls, place="a"):
    return [values[2] for values in calls if values[:2] == (place, "log")]


def test_a_tracker_gets_the_description_the_finite_numbers_and_the_end(tmp_path, calls):
    odd = {"step": 9, "loss": float("nan"), "mean_iou": None, "host": "node1", "accuracy": 1}
    track(tmp_path, [*ROWS[:1], odd], Kept())
    assert calls == [
        ("a", "start", "tiny", "12", None),
        ("a", "log", 1, {"loss": 0.5, "steps_per_second": 3.0}),
        ("a", "log", 9, {"accuracy": 1.0}),
        ("a", "finish", "done"),
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "stopped"), (SystemExit(75), "stopped"), (ValueError(), "failed")],
)
def test_a_run_that_ends_otherwise_is_stopped_or_failed(tmp_path, calls, error, status):
    track(tmp_path, ROWS, Kept(), error=error)
    assert calls[-1] == ("a", "finish", status)


def test_a_resumed_run_goes_on_under_its_name_and_sends_no_row_twice(tmp_path, calls):
    track(tmp_path, ROWS, Kept(), error=KeyboardInterrupt())
    assert json.loads((tmp_path / IDS).read_text()) == {"Kept(place='a', fails='')": "run-a"}
    calls.clear()
    again = [{**row, "steps_per_second": 9.0} for row in ROWS[2:]]
    evaluated = {"step": 4, "mean_iou": 0.25}
    track(tmp_path, [*again, evaluated, {"step": 5, "loss": 2.5}], Kept(), first=2)
    assert calls[0] == ("a", "start", "tiny", "12", "run-a")
    assert steps(calls) == [4, 5] and calls[1] == ("a", "log", 4, {"mean_iou": 0.25})


def test_a_tracker_that_comes_later_gets_all_rows_from_the_first_one(tmp_path, calls):
    track(tmp_path, ROWS, Kept(), error=KeyboardInterrupt())
    calls.clear()
    track(tmp_path, ROWS[2:], Kept("b"), first=2)
    assert ("b", "start", "tiny", "12", None) in calls
    assert steps(calls, "b") == [1, 2, 3, 4]


@pytest.mark.parametrize("fails", ["start", "log", "finish"])
def test_a_tracker_that_fails_says_one_line_and_the_others_go_on(
    tmp_path, calls, capsys, fails
):
    track(tmp_path, ROWS, Kept("bad", fails), Kept("good"))
    assert steps(calls, "good") == [1, 2, 3, 4]
    said = capsys.readouterr().err.splitlines()
    assert said == [f"Kept: tracking ended, and training goes on: no network for {fails}."]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_tracker_that_hangs_does_not_hold_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tracking_module, "PATIENCE", 0.1)
    stuck = threading.Event()

    @dataclasses.dataclass(frozen=True)
    class Hanging(Kept):
        def told(self, call, *values):
            stuck.wait(10)

    track(tmp_path, ROWS, Hanging())
    stuck.set()
    assert "Hanging: no answer for 0.1 s" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Kept'])
def test_a_damaged_file_of_names_begins_a_new_run(tmp_path, calls, text):
    (tmp_path / IDS).write_text(text)
    track(tmp_path, ROWS, Kept())
    assert calls[0] == ("a", "start", "tiny", "12", None)
    assert json.loads((tmp_path / IDS).read_text()) == {"Kept(place='a', fails='')": "run-a"}


@pytest.mark.parametrize("tracker", [WandB(), MLflow()])
def test_a_package_that_is_missing_is_named_with_its_command(tracker, monkeypatch):
    monkeypatch.setattr(trackers_module.importlib.util, "find_spec", lambda name: None)
    extra = type(tracker).__name__.lower()
    with pytest.raises(InputError, match=rf"pip install 'segjax\[{extra}\]'"):
        check_trackers(dataclasses.replace(EXPERIMENT, trackers=(Kept(), tracker)))


def test_what_is_not_a_tracker_is_refused_and_says_what_to_write():
    good = dataclasses.replace(EXPERIMENT, trackers=(Kept(), WandB(), MLflow()))
    assert not list(wrong_types(good))
    with pytest.raises(InputError, match="trackers: "):
        checked(dataclasses.replace(EXPERIMENT, trackers=(WandB,)), "experiment.py")
    with pytest.raises(InputError, match="trackers: "):
        checked(dataclasses.replace(EXPERIMENT, trackers=("wandb",)), "experiment.py")


ALONE = """
import pathlib, runpy, sys

from segjax.train import tracking
from segjax.train.trackers import MLflow, WandB

tracking.HASTE = 60.0
test, workdir = runpy.run_path(sys.argv[1]), pathlib.Path(sys.argv[2])
"""


def alone(script, workdir):
    """Runs a script in a process of its own: the libraries' warnings are not ours."""
    command = [sys.executable, "-c", ALONE + script, __file__, str(workdir)]
    subprocess.run(command, check=True, env={**os.environ, "WANDB_MODE": "offline"})
    (run_id,) = json.loads((workdir / IDS).read_text()).values()
    return run_id


MLFLOW = """
tracker = MLflow(uri=f"sqlite:///{workdir / 'store.db'}")
test["track"](workdir, test["ROWS"], tracker, error=KeyboardInterrupt())
test["track"](workdir, [*test["ROWS"][2:], {"step": 5, "loss": 2.5}], tracker, first=2)

(run_id,) = tracking._read_ids(workdir).values()
import mlflow
client = mlflow.MlflowClient(tracker.uri)
run = client.get_run(run_id)
assert run.info.status == "FINISHED" and run.data.params["steps"] == "12"
losses = [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")]
assert sorted(losses) == [(s, 0.5 * s) for s in range(1, 6)], losses
"""


@pytest.mark.slow
def test_mlflow_keeps_rows_parameters_and_the_end_in_its_store(tmp_path):
    pytest.importorskip("mlflow")
    alone(MLFLOW, tmp_path)


@pytest.mark.slow
def test_wandb_offline_writes_a_run_that_can_be_uploaded(tmp_path):
    pytest.importorskip("wandb")
    script = "test['track'](workdir, test['ROWS'], WandB(project='tryout'))"
    run_id = alone(script, tmp_path)
    (file,) = (tmp_path / "wandb").glob(f"offline-run-*/run-{run_id}.wandb")
    assert file.stat().st_size > 1000
