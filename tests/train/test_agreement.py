"""Ctrl-C and SIGTERM at marked points of a run: what is saved and said; no bit changes."""

import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest

from segjax import launch
from segjax.data.synthetic import Synthetic
from segjax.parallel.data import data_parallel, shard
from segjax.stopping import CAUSES, Stops
from segjax.tasks.scorer import Scorer
from segjax.train import agreement, evaluation, loop, plan
from segjax.train.agreement import Agreement, asking, what_is_left
from segjax.train.checkpoint import Checkpoints
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


def press_at(monkeypatch, owner, name, count, *, number=signal.SIGINT):
    """Sends Ctrl-C, or another signal, at the end of the `count`-th call, and never again."""
    method, calls = getattr(owner, name), []

    def pressed(*arguments, **options):
        result = method(*arguments, **options)
        calls.append(name)
        if len(calls) == count:
            signal.raise_signal(number)
        return result

    monkeypatch.setattr(owner, name, pressed)


@pytest.mark.parametrize(
    ("number", "status", "kind"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 75, "stopped by SIGTERM")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_between_two_checkpoints_saves_the_step_and_changes_no_bit(
    number, status, kind, whole, tmp_path, monkeypatch, capsys
):
    press_at(monkeypatch, loop.Rows, "add", 6, number=number)
    assert run(tmp_path / "run", capsys) == (
        status,
        f"{kind}: step 6 is saved; the same command resumes from there.",
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_processes_read_a_request_of_one_at_the_same_step(number, monkeypatch):
    # Two processes of two devices, as their agreement sees them.
    monkeypatch.setattr(agreement, "is_alone", lambda: False)
    stops = [Stops(), Stops()]
    processes = [Agreement(each) for each in stops]
    step = data_parallel(asking(lambda state, batch: (state + 1, {"loss": batch["step"][0]})))
    state, reached = np.int32(0), []
    for taken in range(4):
        if taken == 1:
            stops[1].cause = CAUSES[number]
        shares = [each.ask({"step": np.full(2, taken, np.int32)}) for each in processes]
        batch = {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}
        state, measured = step(state, shard(batch))
        heard = [each.hear(taken, dict(measured)) for each in processes]
        assert all(set(numbers) == {"loss"} for numbers in heard)
        reached.append([each.reached for each in processes])
    assert reached == [[False, False], [False, False], [True, True], [True, True]]
    assert [each.cause.status for each in stops if each.cause] == [CAUSES[number].status] * 2
    assert stops[1].cause == CAUSES[number] and stops[0].cause != stops[1].cause


def test_where_one_process_trains_the_step_and_its_batch_stay_as_they_are():
    step, batch = object(), {"step": np.zeros(2, np.int32)}
    assert asking(step) is step  # type: ignore[arg-type]
    alone = Agreement(stops := Stops())
    assert alone.ask(batch) is batch and alone.hear(1, batch) is batch and not alone.reached
    stops.cause = CAUSES[signal.SIGTERM]
    assert alone.reached
