"""`launch --tune`: what it leaves, and that a run keeps its forms, wherever it goes on."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from segjax import launch
from segjax.ops.conv_bounds import default_form
from segjax.ops.conv_forms import candidates
from segjax.train import evaluation, form_table, form_times, tune
from segjax.train.checkpoint import Checkpoints

TINY = pathlib.Path(__file__).with_name("tiny.py")


class Timer:
    """Stands for the clock: of each case the last form but the default one is fastest."""

    def __init__(self, interrupts_after: int | None = None):
        self.cases, self._left = [], interrupts_after

    def __call__(self, case) -> dict[str, float]:
        if self._left is not None and len(self.cases) >= self._left:
            raise KeyboardInterrupt
        self.cases.append(case)
        others = [name for name in candidates(case) if name != default_form(case)]
        return {name: 1.0 for name in candidates(case)} | {others[-1]: 0.5}


@pytest.fixture
def timer(monkeypatch) -> Timer:
    timer = Timer()
    monkeypatch.setattr(form_times, "seconds_of", timer)
    return timer


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> pathlib.Path:
    """The workdir of one unbroken run with --tune."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGJAX_CACHE", str(workdir.parent / "cache"))
        patch.setattr(form_times, "seconds_of", Timer())
        assert launch.main([str(TINY), "--workdir", str(workdir), "--tune"]) == 0
    return workdir


@pytest.fixture
def cut(tuned, tmp_path) -> pathlib.Path:
    """A copy of that workdir that has lost its last checkpoint."""
    workdir = pathlib.Path(shutil.copytree(tuned, tmp_path / "cut"))
    shutil.rmtree(workdir / "checkpoints" / "12")
    return workdir


def state_of(workdir: pathlib.Path):
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore_tree(12)


def same_bits(one: pathlib.Path, other: pathlib.Path) -> bool:
    same = lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return jax.tree.all(jax.tree.map(same, state_of(one), state_of(other)))


def test_a_tuned_run_leaves_its_table_and_where_it_was_timed(tuned, run):
    record = json.loads((tuned / "forms.json").read_text())
    assert record["machine_digest"] and record["jaxlib"]
    assert record["version"] == form_table.forms.VERSION
    # The batch of four is shared by four devices; images of evaluation are larger.
    case = "value of 1x24x24x3 by 3x3x3x4, stride 1x1, padding 1+1 1+1, dilation 1x1"
    assert record["forms"][case] == "winograd"
    assert record["milliseconds"][case] == {"plain": 1000.0, "taps": 1000.0, "winograd": 500.0}
    assert any(name.startswith("value of 1x32x32x3 ") for name in record["forms"])
    status, out, _ = run(TINY, "--workdir", tuned, "--verify")
    assert status == 0 and f"forms.json: {len(record['forms'])} forms" in out


def test_a_run_that_resumes_elsewhere_without_tune_keeps_its_forms_and_its_bits(
    tuned, cut, run, monkeypatch, timer
):
    monkeypatch.setattr(form_table, "machine_digest", lambda **_: "another")
    written = (cut / "forms.json").read_bytes()
    status, out, _ = run(TINY, "--workdir", cut)
    assert status == 0 and same_bits(cut, tuned)
    (line,) = [line for line in out.splitlines() if "forms" in line]
    assert line.startswith(f"convolutions take the forms of {cut / 'forms.json'}, timed on ano")
    assert line.endswith("the run keeps them, so that its results have the same bits")
    assert (cut / "forms.json").read_bytes() == written and not timer.cases


def test_a_run_that_began_without_a_table_is_not_tuned_later(tuned, cut, run, timer):
    (cut / "forms.json").unlink()
    status, out, _ = run(TINY, "--workdir", cut, "--tune")
    assert status == 0 and not timer.cases and not (cut / "forms.json").exists()
    assert (
        "--tune: this run has no forms.json, as it began with the default forms; it keeps"
        in out
    )
    # Not the bits of the tuned run: its table did decide.
    assert not same_bits(cut, tuned)


def test_an_evaluation_takes_the_table_too(cut, run, monkeypatch):
    taken = []
    usual = evaluation.chosen
    monkeypatch.setattr(
        evaluation, "chosen", lambda names: (taken.append({**names}), usual(names))[1]
    )
    assert run(TINY, "--workdir", cut, "--evaluate")[0] == 0
    assert taken == [json.loads((cut / "forms.json").read_text())["forms"]]


def test_a_damaged_table_is_one_line_with_the_remedy(cut, run):
    path = cut / "forms.json"
    path.write_text(path.read_text().replace("winograd", "taps", 1))
    for mode in ([], ["--tune"], ["--evaluate"]):
        status, _, error = run(TINY, "--workdir", cut, *mode)
        assert status == 2 and error.startswith(
            f"error: {path} is damaged: it does not match its checksum"
        )
        assert "restore it, or delete it, and the run goes on with the default forms" in error
    status, out, _ = run(TINY, "--workdir", cut, "--verify")
    assert status == 1 and "forms.json: DAMAGED: it does not match its checksum" in out


def test_a_table_of_other_forms_is_refused(cut, run, monkeypatch):
    version = form_table.forms.VERSION
    monkeypatch.setattr(form_table.forms, "VERSION", version + 1)
    status, _, error = run(TINY, "--workdir", cut)
    assert status == 2 and f"names forms of another segjax (version {version}" in error
    assert f"this one has {version + 1}). Go on with that segjax, or delete it" in error
    status, out, _ = run(TINY, "--workdir", cut, "--verify")
    assert status == 0 and "forms.json: forms of convolutions of another version" in out


def test_what_was_timed_before_an_interruption_is_not_timed_again(tmp_path, run, monkeypatch):
    workdir, first, second = tmp_path / "run", Timer(interrupts_after=3), Timer()
    monkeypatch.setattr(form_times, "seconds_of", first)
    assert run(TINY, "--workdir", workdir, "--tune")[0] == 130
    assert not workdir.exists()
    monkeypatch.setattr(form_times, "seconds_of", second)
    monkeypatch.setattr(tune, "table_from_here", _stop)
    assert run(TINY, "--workdir", workdir, "--tune")[0] == 130
    assert len(first.cases) == 3 and not {*first.cases} & {*second.cases}
    assert len(second.cases) > 10


def _stop(*_):
    raise KeyboardInterrupt
