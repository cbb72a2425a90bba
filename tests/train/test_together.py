"""Several seeds in one program: each is the run that it would be alone."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import signal
from typing import Any

import jax
import numpy as np
import pytest

from segjax import experiment as experiments
from segjax import launch
from segjax.contracts import AXIS
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError, RunError
from segjax.parallel.sharing import over_devices
from segjax.stopping import Stops
from segjax.train import together
from segjax.train.chosen import restore_chosen
from segjax.train.flops import flops_of
from segjax.train.loop import train_step
from segjax.train.plan import make_plan
from segjax.train.run import runs_of_file
from segjax.train.seed_group import what_is_left
from segjax.train.together import Member, _stacked, check_together

TINY = pathlib.Path(__file__).parents[1] / "commands/tiny.py"
SEEDS = (0, 3)


def tiny(**changes):
    return dataclasses.replace(experiments.load(TINY), **changes)


def largest_difference(one, other) -> float:
    """The largest difference of two trees, relative to the largest value."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    numbers = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    most = max(abs(a).max(initial=0) for a, _ in numbers)
    return max(abs(a - b).max(initial=0) for a, b in numbers) / most


def test_a_step_of_two_seeds_is_the_step_of_each_alone():
    """With dropout, batch norm and a running mean, on four devices."""
    plans = [make_plan(tiny(seed=seed), note=lambda _: None) for seed in SEEDS]
    found = []
    for plan in plans:
        batch = next(plan.batches(0))
        found.append((plan.initial_state(), batch))
    states, batches = zip(*found, strict=True)
    state = jax.tree.map(lambda *each: np.stack(each), *states)
    step = over_devices(jax.vmap(train_step(plans[0]), in_axes=(0, 1)))
    new, measured = jax.device_get(step(state, _stacked(batches)))
    alone = over_devices(train_step(plans[0]))
    losses = []
    for i, (state, batch) in enumerate(found):
        expected, alone_measured = jax.device_get(alone(state, batch))
        own = jax.tree.map(lambda x, i=i: x[i], new)
        assert int(own.step) == 1 and largest_difference(own.params, expected.params) < 1e-5
        assert largest_difference(own.averaged, expected.averaged) < 1e-5
        losses.append(alone_measured["loss"])
        np.testing.assert_allclose(measured["loss"][i], losses[-1], rtol=1e-5)
    assert losses[0] != losses[1]


def test_a_seed_without_a_batch_gets_one_that_its_state_ignores():
    batch = {"image": np.ones((4, 2, 2, 3)), "step": np.full(4, 7)}
    found = _stacked([None, batch])
    assert found["image"].shape == (4, 2, 2, 2, 3)
    assert found["step"][:, 0].tolist() == [-1] * 4 and found["step"][:, 1].tolist() == [7] * 4


def test_batches_of_different_shapes_are_an_error_that_names_the_remedy():
    step = np.zeros(4)
    one, other = ({"image": np.ones((4, size, 2, 3)), "step": step} for size in (2, 3))
    with pytest.raises(
        RunError, match="differ in the shape of 'image'; .* leave --together out"
    ):
        _stacked([one, other])


@dataclasses.dataclass(frozen=True)
class InGroups(Synthetic):
    """A dataset whose batches have different sizes."""

    groups = ((0,), (1,))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": (2, 1)}, r"split=\(2, 1\) spreads each image"),
        ({"train_data": InGroups()}, "batches of train_data have different sizes"),
    ],
    ids=["split", "groups"],
)
def test_what_cannot_be_trained_together_is_refused_with_the_remedy(changes, reason, tmp_path):
    with pytest.raises(InputError, match=f"--together: .*{reason}.*Leave --together out"):
        check_together(tiny(**changes), tmp_path)


def test_a_run_that_was_tuned_by_itself_is_refused(tmp_path):
    check_together(tiny(), tmp_path)
    (tmp_path / "forms.json").write_text("{}")
    with pytest.raises(InputError, match="was tuned by itself.*Leave --together out"):
        check_together(tiny(), tmp_path)


def test_several_processes_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(together, "is_alone", lambda: False)
    with pytest.raises(InputError, match="several processes train each run; add --by-host"):
        check_together(tiny(), tmp_path)


def test_a_stopped_group_says_what_each_seed_has_saved(tmp_path):
    runs = runs_of_file(TINY, workdir=tmp_path, seeds="0,3")
    start = f"{tmp_path / 'tiny'}: nothing is saved yet; the same command starts again."
    assert what_is_left(runs) == start
    (runs[1].workdir / "checkpoints/4").mkdir(parents=True)
    assert "saved are seed 0 not yet, seed 3 at step 4; " in what_is_left(runs)


def _rows(run: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


class Seed:
    """Stands for a member: it notes in which order its row and its state are kept."""

    def __init__(self, batch):
        self.batch, self.kept, self.error = batch, [], None
        self.rows = self.wait = self

    fetching = contextlib.nullcontext

    def next(self):
        return self.batch()

    def flush(self):
        self.kept.append("row")

    def save(self, state):
        self.kept.append(state["step"].item())


@pytest.fixture
def heard():
    """Ctrl-C as a process in the foreground hears it, wherever pytest runs."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("heard")
def test_seeds_that_are_interrupted_as_they_wait_for_a_batch_keep_their_last_rows():
    seeds: list[Any] = [Seed(dict), Seed(_interrupt)]
    state: Any = {"step": np.array([5, 6])}
    with Stops() as stops, stops.deferred():
        with pytest.raises(KeyboardInterrupt):
            together._batches(seeds, state, stops)
        stops.cause = None
    assert [seed.kept for seed in seeds] == [["row", 5], ["row", 6]]


def _interrupt():
    signal.raise_signal(signal.SIGINT)


def test_an_error_of_a_seed_is_noted_and_the_first_stays():
    member = Member(make_plan(tiny(), note=lambda _: None), pathlib.Path("/dev/null/x"))
    assert member.restored() is None and "/dev/null/x" in str(member.error)
    with member.attempt():
        raise RunError("later")
    assert "later" not in str(member.error)
    with pytest.raises(KeyboardInterrupt), member.attempt():
        raise KeyboardInterrupt


def test_the_flops_of_a_step_of_several_seeds_are_those_of_all_seeds():
    plan = make_plan(tiny(), note=lambda _: None)
    state, batch = plan.state_shapes(), next(plan.batches(0))
    step = train_step(plan, accumulate=1)
    of = lambda x, axis: np.stack([np.zeros(x.shape, x.dtype)] * 3, axis)
    stacked = [jax.tree.map(lambda x, a=a: of(x, a), t) for a, t in enumerate((state, batch))]
    one = flops_of(step, state, batch, axis=AXIS)
    assert flops_of(together._of_seeds(step), *stacked, axis=AXIS).total() == 3 * one.total()


@pytest.mark.slow
def test_a_seed_whose_folder_is_damaged_does_not_stop_the_others(tmp_path, capsys):
    command = [str(TINY), "--seeds", "0,3,4", "--set", "steps=2", "--set", "checkpoint_every=2"]
    command += ["--set", "steps=2", "--workdir", str(tmp_path), "--together"]
    (tmp_path / "tiny/seed3/checkpoints/1").mkdir(parents=True)
    (tmp_path / "tiny/seed3/checkpoints/1/state").write_text("nothing", encoding="utf-8")
    assert launch.main(command) == 1
    assert "1 of 3 runs failed" in capsys.readouterr().err
    for seed in (0, 4):
        assert (tmp_path / f"tiny/seed{seed}/evaluation.json").is_file()
        rows = [row for row in _rows(tmp_path / f"tiny/seed{seed}") if "loss" in row]
        assert [row["step"] for row in rows] == [1, 2]


@pytest.mark.slow
def test_runs_that_are_trained_together_and_resumed_equal_those_trained_alone(tmp_path):
    command = [str(TINY), "--seeds", "0,3", "--set", "steps=6", "--set", "checkpoint_every=3"]
    alone, both = tmp_path / "alone", tmp_path / "both"
    assert launch.main([*command, "--workdir", str(alone)]) == 0
    assert launch.main([*command, "--workdir", str(both), "--together"]) == 0
    _check_equal(alone, both)
    # One seed's last checkpoint is lost: it goes on by itself, the other has nothing to do.
    shutil.rmtree(both / "tiny/seed3/checkpoints/6")
    for run in both.glob("tiny/seed*"):
        (run / "predictions.npz").unlink()
    assert launch.main([*command, "--workdir", str(both), "--together"]) == 0
    _check_equal(alone, both)


def _check_equal(alone: pathlib.Path, both: pathlib.Path) -> None:
    for seed in SEEDS:
        runs = [root / f"tiny/seed{seed}" for root in (alone, both)]
        one, other = (restore_chosen(run / "checkpoints", "6")[1] for run in runs)
        assert largest_difference(one, other) < 1e-5
        rows = [_rows(run) for run in runs]
        assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
        for name in ("loss", "gradient_norm", "mean_iou"):
            one, other = ([row[name] for row in each if name in row] for each in rows)
            assert one and one == pytest.approx(other, rel=1e-5)
        scores = [json.loads((run / "evaluation.json").read_text()) for run in runs]
        assert scores[0] == scores[1] and (runs[1] / "report.html").is_file()


@pytest.mark.slow
def test_a_seed_that_fails_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(together.Member, "next", _without_data_for_seed_3)
    command = [str(TINY), "--seeds", "0,3", "--set", "steps=2", "--set", "checkpoint_every=2"]
    assert launch.main([*command, "--workdir", str(tmp_path / "x"), "--together"]) == 1
    error = capsys.readouterr().err
    assert "1 of 2 runs failed" in error and "tiny/seed3" in error
    assert (tmp_path / "x/tiny/seed3/failure.txt").read_text() == "no image\n"
    assert (tmp_path / "x/tiny/seed0/evaluation.json").is_file()


next_batch = together.Member.next


def _without_data_for_seed_3(member):
    if member.plan.experiment.seed == 3:
        member.error = member.error or RunError("no image")
    return next_batch(member)
