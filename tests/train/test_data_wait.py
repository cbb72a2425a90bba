"""Idle devices: counted from the end of a step or the request, never while a step runs."""

import pathlib
import threading
import time

import pytest

from segjax import launch
from segjax.train.data_wait import DataWait
from segjax.train.log import read_metrics

PAUSE = 0.05
TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"


class Step:
    """Stands for a step's results, which are there when the test says so."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def block_until_ready(self) -> "Step":
        self.done.wait(5)
        return self


def finished(wait: DataWait) -> None:
    wait.dispatched(step := Step())
    step.done.set()
    assert wait._end is not None and wait._end.result(5) <= time.monotonic()


def test_a_batch_that_comes_while_the_step_runs_costs_nothing():
    with DataWait() as wait:
        wait.dispatched(step := Step())
        with wait.fetching():
            time.sleep(PAUSE)
        step.done.set()
    assert wait.take() == 0


def test_the_time_from_the_request_counts_where_the_step_has_ended():
    with DataWait() as wait:
        finished(wait)
        time.sleep(PAUSE)  # The host's own work, such as an evaluation.
        before = time.monotonic()
        with wait.fetching():
            time.sleep(PAUSE)
        assert PAUSE <= wait.take() <= time.monotonic() - before
        assert wait.take() == 0


def test_only_the_time_after_the_end_of_the_step_counts():
    with DataWait() as wait:
        wait.dispatched(step := Step())
        with wait.fetching():
            time.sleep(PAUSE)
            step.done.set()
            assert wait._end is not None
            end = wait._end.result(5)
            time.sleep(PAUSE)
        idle = wait.take()
    assert PAUSE <= idle <= time.monotonic() - end


def test_the_first_batch_of_a_run_is_not_counted():
    with DataWait() as wait:
        with wait.fetching():
            time.sleep(PAUSE)
        assert wait.take() == 0


def test_an_error_in_a_step_is_left_to_those_who_read_it():
    class Failed:
        def block_until_ready(self):
            raise RuntimeError("out of memory")

    with DataWait() as wait:
        wait.dispatched(Failed())
        assert wait._end is not None and wait._end.result(5) > 0
        with pytest.raises(ValueError, match="no batch"), wait.fetching():
            raise ValueError("no batch")


SLOW = """
import dataclasses, importlib.util, time
from segjax.experiment import Loader

spec = importlib.util.spec_from_file_location("tiny", {tiny!r})
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)


@dataclasses.dataclass(frozen=True)
class Slow:
    seconds: float

    def __call__(self, example, rng):
        time.sleep(self.seconds)
        return example


experiment = dataclasses.replace(
    tiny.experiment,
    transforms=(Slow({pause}), *tiny.experiment.transforms),
    loader=Loader(threads=1, buffer=1),
    steps=6,
)
"""


@pytest.mark.parametrize("pause", [0.3, pytest.param(0.0, marks=pytest.mark.slow)])
def test_a_run_says_that_its_devices_wait_for_a_slow_loader(tmp_path, capsys, pause):
    file = tmp_path / "slow.py"
    file.write_text(SLOW.format(tiny=str(TINY), pause=pause))
    workdir = tmp_path / "run"
    assert launch.main([str(file), "--workdir", str(workdir)]) == 0
    rows = [row for row in read_metrics(workdir) if "loss" in row]
    shares = [row["waiting_for_data"] for row in rows]
    assert all(0 <= share <= 1 for share in shares)
    assert "waiting for data" in (workdir / "report.html").read_text(encoding="utf-8").lower()
    if pause:
        assert max(shares) > 0.5
        assert "the devices waited for data during" in capsys.readouterr().err
