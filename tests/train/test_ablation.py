"""How the runs of an ablation are carried out, with work that trains nothing."""

import json
import pathlib
from functools import partial

import pytest

from segjax.errors import InputError, RunError, TryAgain, run_command
from segjax.stopping import TRY_AGAIN
from segjax.train.ablation import _carry_out
from segjax.train.failures import FAILURE, failure_of
from segjax.train.lock import InUseError, locked
from segjax.train.run import Run, runs_of_file

QUICKSTART = pathlib.Path(__file__).parents[2] / "experiments/quickstart.py"


@pytest.fixture
def runs(tmp_path) -> list[Run]:
    return runs_of_file(QUICKSTART, workdir=tmp_path, grid=["model.features=4,8"], seeds="2")


@pytest.fixture
def carry_out(runs):
    """Carries out the runs; returns the folders in their order, and what was said."""

    def carried(fails=lambda run: None, *, done=lambda run: False, mine=None):
        tried, said = [], []

        def work(run: Run) -> None:
            tried.append(f"{run.experiment.name}/{run.experiment.seed}")
            if error := fails(run):
                raise error

        try:
            _carry_out(runs, runs if mine is None else mine, work, said.append, done)
        finally:
            carried.tried, carried.said = tried, said
        return tried, said

    return carried


def table(tmp_path) -> dict[str, dict]:
    found = json.loads((tmp_path / "comparison.json").read_text())["variants"]
    return {variant["name"]: variant for variant in found}


def test_a_failure_is_recorded_and_the_others_go_on(carry_out, tmp_path):
    error = RunError("loss is not finite\nand more")
    with pytest.raises(RunError, match="1 of 4 runs failed, see above: .*features_4/seed1"):
        carry_out(lambda run: error if "features_4/seed1" in str(run.workdir) else None)
    assert len(carry_out.tried) == 4
    assert failure_of(tmp_path / "features_4/seed1") == "loss is not finite"
    assert table(tmp_path)["features_4"]["failed"] == [1]
    assert table(tmp_path)["features_4"]["missing"] == [0]
    assert carry_out.said[-1].endswith("(4 of 4 runs are missing)")


def test_what_failed_before_is_tried_last_and_forgotten_once_it_succeeds(carry_out, tmp_path):
    with pytest.raises(RunError):
        carry_out(lambda run: InputError("bad") if run.experiment.seed == 0 else None)
    tried, _ = carry_out()
    assert tried == ["features_4/1", "features_8/1", "features_4/0", "features_8/0"]
    assert not list(tmp_path.rglob(FAILURE))


def test_an_error_of_the_users_own_code_is_a_failure_with_its_traceback(carry_out, capsys):
    with pytest.raises(RunError, match="4 of 4 runs failed"):
        carry_out(lambda run: KeyError("label"))
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_stops_all_and_counts_as_no_failure(carry_out, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        carry_out(lambda run: KeyboardInterrupt())
    assert carry_out.tried == ["features_4/0"] and not list(tmp_path.rglob(FAILURE))


def test_whether_a_run_is_done_is_asked_when_its_turn_comes(carry_out):
    """Another process may have completed it meanwhile."""
    finished = set()

    def fails(run: Run) -> None:
        finished.update({run.workdir, run.workdir.with_name("seed1")})

    tried, said = carry_out(fails, done=lambda run: run.workdir in finished)
    assert tried == ["features_4/0", "features_8/0"]
    assert sum("already complete" in line for line in said) == 2


def test_a_share_without_a_run_writes_the_page(carry_out, tmp_path):
    tried, said = carry_out(mine=[])
    assert tried == [] and (tmp_path / "comparison.html").is_file()
    assert said == [f"comparison: {tmp_path / 'comparison.html'} (4 of 4 runs are missing)"]


def test_a_run_that_another_process_holds_is_left_to_it_and_tried_again_later(carry_out, runs):
    held, refuse = runs[1], lambda run: _refused(run) if run == runs[1] else None
    with (
        locked(held.workdir),
        pytest.raises(TryAgain, match="^1 run is left to other processes: .*again.$") as caught,
    ):
        carry_out(refuse)
    assert str(held.workdir) in str(caught.value)
    assert len(carry_out.tried) == 4 and not list(held.workdir.glob(FAILURE))
    assert run_command(partial(_raise, caught.value)) == TRY_AGAIN
    said = carry_out.said
    assert any(" is in use by process " in line and "wait for" not in line for line in said)


def test_a_run_that_another_process_completes_meanwhile_is_done(carry_out, runs):
    completed = set()

    def fails(run: Run) -> Exception | None:
        if run != runs[1]:
            return None
        error = _refused(run)
        completed.add(run.workdir)
        return error

    with locked(runs[1].workdir):
        tried, said = carry_out(fails, done=lambda run: run.workdir in completed)
    assert len(tried) == 4 and not any("left to" in line for line in said)


def _raise(error: Exception) -> None:
    raise error


def _refused(run: Run) -> Exception:
    with pytest.raises(InUseError) as caught, locked(run.workdir):
        pass
    return caught.value
