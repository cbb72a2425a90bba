"""Ctrl-C at marked points of a run: what is saved, what is said, and that it changes no bit."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from segjax import launch
from segjax.data.synthetic import Synthetic
from segjax.tasks.scorer import Scorer
from segjax.train import evaluation, loop, plan
from segjax.train.checkpoint import Checkpoints
from segjax.train.interrupt import CtrlC, what_is_left
from segjax.train.log import Progress, read_metrics
from segjax.train.telemetry import without_timing

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C as a process in the foreground hears it, wherever pytest runs."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """The workdir of a run that nobody interrupted."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert launch.main([str(TINY), "--workdir", str(workdir)]) == 0
    return workdir


def run(workdir, capsys, *more) -> tuple[int, str]:
    """(status, the last line on standard error) of the tiny experiment's command."""
    capsys.readouterr()
    status = launch.main([str(TINY), "--workdir", str(workdir), *more])
    return status, capsys.readouterr().err.splitlines()[-1]


def what_came_of(workdir):
    with Checkpoints(workdir, read_only=True) as checkpoints:
        state = checkpoints.restore_tree(checkpoints.steps[-1])
        best = checkpoints.step_of("best")
    rows = [without_timing(row) for row in read_metrics(workdir)]
    return jax.tree.map(np.asarray, state), rows, best


def assert_equal_runs(one, other):
    (state, rows, best), (other_state, other_rows, other_best) = map(what_came_of, (one, other))
    same = jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), state, other_state)
    assert jax.tree.all(same) and rows == other_rows and best == other_best


def press_at(monkeypatch, owner, name, count):
    """Presses Ctrl-C at the end of the method's `count`-th call, and never again."""
    method, calls = getattr(owner, name), []

    def pressed(*arguments, **options):
        result = method(*arguments, **options)
        calls.append(name)
        if len(calls) == count:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(owner, name, pressed)


def test_ctrl_c_between_two_checkpoints_saves_the_step_and_changes_no_bit(
    whole, tmp_path, monkeypatch, capsys
):
    press_at(monkeypatch, loop.Rows, "add", 6)
    assert run(tmp_path / "run", capsys) == (
        130,
        "interrupted: step 6 is saved; the same command resumes from there.",
    )
    assert (tmp_path / "run" / "checkpoints" / "6").is_dir()
    assert run(tmp_path / "run", capsys)[0] == 0
    assert_equal_runs(tmp_path / "run", whole)


@pytest.mark.slow_but("3-12")
@pytest.mark.parametrize(("evaluation", "step"), [(2, 8), (3, 12)])
def test_an_interrupted_evaluation_is_made_up_for(
    whole, evaluation, step, tmp_path, monkeypatch, capsys
):
    press_at(monkeypatch, Progress, "evaluating", evaluation)
    status, line = run(tmp_path / "run", capsys)
    assert status == 130 and (f"step {step} is saved" in line or "all 12 steps" in line)
    assert run(tmp_path / "run", capsys)[0] == 0
    assert_equal_runs(tmp_path / "run", whole)


@pytest.mark.slow
def test_an_evaluation_that_failed_is_made_up_for(whole, tmp_path, monkeypatch, capsys):
    def no_memory(*_, **__):
        raise MemoryError("no room for the probabilities")

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "__call__", no_memory)
        assert run(tmp_path / "run", capsys)[0] == 1
    assert run(tmp_path / "run", capsys)[0] == 0
    assert_equal_runs(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Synthetic, "prepare"), (plan.Plan, "initial_state"), (plan, "_traced")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ctrl_c_before_the_first_step_says_that_nothing_is_saved(
    owner, name, tmp_path, monkeypatch, capsys
):
    press_at(monkeypatch, owner, name, 1)
    assert run(tmp_path / "run", capsys) == (
        130,
        "interrupted: nothing is saved yet; the same command starts again.",
    )
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_ctrl_c_after_the_last_step_says_that_only_the_evaluation_is_missing(
    whole, tmp_path, monkeypatch, capsys
):
    shutil.copytree(whole, tmp_path / "run")
    press_at(monkeypatch, evaluation, "write_results", 1)
    assert run(tmp_path / "run", capsys) == (
        130,
        "interrupted: all 12 steps are trained; the same command evaluates them.",
    )
    assert "evaluates again" in run_evaluation(tmp_path / "run", monkeypatch, capsys)


def run_evaluation(workdir, monkeypatch, capsys):
    monkeypatch.undo()
    press_at(monkeypatch, Progress, "update", 1)
    status, line = run(workdir, capsys, "--evaluate")
    assert status == 130
    return line


def test_what_is_left_names_the_latest_whole_checkpoint(tmp_path):
    assert "nothing is saved" in what_is_left(tmp_path, 20)
    for name in ("4", "16", "18.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert what_is_left(tmp_path, 20).startswith("step 16 is saved")
    assert what_is_left(tmp_path, 16).startswith("all 16 steps are trained")


SECOND = """
import pathlib, signal, sys, threading
from segjax.train.interrupt import CtrlC
signal.signal(signal.SIGINT, signal.default_int_handler)
with CtrlC(lambda: "step 4 is saved.") as ctrl_c:
    signal.raise_signal(signal.SIGINT)
    print("still here", flush=True)
    signal.raise_signal(signal.SIGINT)
    threading.Event().wait()
"""


def test_a_second_ctrl_c_ends_the_process_at_once_whatever_it_waits_for():
    ended = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 130 and ended.stdout == "still here\n"
    first, second = ended.stderr.splitlines()
    assert (
        first.startswith("Ctrl-C: stopping. Press Ctrl-C again")
        and second == "interrupted: step 4 is saved."
    )


WORKERS = """
import multiprocessing, signal, sys, threading
from segjax.data.loader import batches
from segjax.data.synthetic import Synthetic
from segjax.train.interrupt import CtrlC
signal.signal(signal.SIGINT, signal.default_int_handler)
with CtrlC(str):
    found = batches(Synthetic(size=16), (), batch_size=2, seed=0, workers=1)
    next(found)
    print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    threading.Event().wait()
"""


def test_a_second_ctrl_c_leaves_no_worker_process_behind(tmp_path):
    with open(tmp_path / "out", "w") as out:  # A pipe would be held open by what is left.
        ended = subprocess.run([sys.executable, "-c", WORKERS], stdout=out, timeout=120)
    workers = [int(pid) for pid in (tmp_path / "out").read_text().split()]
    assert ended.returncode == 130 and workers
    deadline = time.monotonic() + 20
    while (left := [pid for pid in workers if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended, reaped or not."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


FORKED = """
import os, signal, sys, time
from segjax.train.interrupt import CtrlC
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with CtrlC(str):
        if not (child := os.fork()):
            signal.raise_signal(signal.SIGINT)
            time.sleep(600)
            os._exit(0)
        time.sleep(1)
        print("one Ctrl-C of a child is not two of the user", flush=True)
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
except KeyboardInterrupt:
    print("left the block", flush=True)
finally:
    os.kill(child, signal.SIGKILL)
"""


def test_a_forked_process_neither_holds_the_block_nor_counts_as_a_second_ctrl_c():
    ended = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "left the block", ended.stderr
    assert ended.stderr.count("Ctrl-C:") == 1 and "interrupted" not in ended.stderr


def test_what_a_ctrl_c_says_is_what_is_done(capfd):
    def said(saves, *, working=False):
        with pytest.raises(KeyboardInterrupt), CtrlC(str) as ctrl_c:
            ctrl_c.saves = saves
            with ctrl_c.stops_work() if working else contextlib.nullcontext():
                signal.raise_signal(signal.SIGINT)
        return capfd.readouterr().err

    assert "saving after this step" in said(True)
    assert "state is saved" not in said(False) + said(True, working=True)


def test_outside_the_main_thread_and_where_it_is_ignored_ctrl_c_stays_as_it_is():
    def enter():
        with CtrlC(str):
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    enter()
    assert handlers == [signal.default_int_handler, signal.SIG_IGN]


def test_a_ctrl_c_that_nobody_asked_about_ends_the_block():
    with pytest.raises(KeyboardInterrupt), CtrlC(str):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ValueError, match="first"), CtrlC(str):
        signal.raise_signal(signal.SIGINT)
        raise ValueError("what went wrong first")


def test_what_was_there_before_is_there_again():
    with CtrlC(str):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1
