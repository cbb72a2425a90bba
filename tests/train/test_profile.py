"""`--profile` traces the steps that it names, and only those."""

import pathlib

import jax
import numpy as np
import pytest

from segjax import launch
from segjax.errors import InputError
from segjax.train.profile import FOLDER, Profile, Span, check_span, span

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"


@pytest.mark.parametrize("text", ["", "10", "10:", ":10", "a:b", "-1:5", "1:2:3", "1.5:3"])
def test_what_is_not_start_and_stop_is_refused(text):
    with pytest.raises(InputError, match="is not START:STOP"):
        span(text)


@pytest.mark.parametrize("text", ["5:5", "6:5"])
def test_steps_that_end_before_they_begin_are_refused(text):
    with pytest.raises(InputError, match="has no steps: STOP must be above START"):
        span(text)


def test_steps_that_the_run_does_not_have_or_has_taken_are_refused():
    check_span(Span(5, 10), total=10, taken=5)
    check_span(None, total=1, taken=5)
    with pytest.raises(InputError, match="5:11: the run has 10 steps; let STOP be at most 10"):
        check_span(Span(5, 11), total=10, taken=0)
    with pytest.raises(InputError, match="6 of its 10 steps already; let START be 6 or more"):
        check_span(Span(5, 10), total=10, taken=6)
    with pytest.raises(InputError, match="10 of its 10 steps already; use another --workdir"):
        check_span(Span(5, 10), total=10, taken=10)


class Tracer:
    """JAX's profiler, which notes when it is begun and ended."""

    def __init__(self, monkeypatch):
        self.calls = []
        start = lambda folder, create_perfetto_trace: self.calls.append(folder)
        monkeypatch.setattr(jax.profiler, "start_trace", start)
        monkeypatch.setattr(jax.profiler, "stop_trace", lambda: self.calls.append("stop"))


def take(profile, tracer, steps):
    step_fn = profile.watched(lambda state, batch: tracer.calls.append(state) or (state, {}))
    for step in steps:
        step_fn(step, {"step": np.full(4, step)})


def test_the_steps_after_start_up_to_stop_are_traced(tmp_path, monkeypatch):
    tracer = Tracer(monkeypatch)
    with Profile(Span(2, 4), tmp_path) as profile:
        take(profile, tracer, range(1, 6))
    assert tracer.calls == [1, str(tmp_path / FOLDER), 2, 3, "stop", 4, 5]


def test_a_run_that_ends_in_between_ends_its_trace(tmp_path, monkeypatch):
    tracer = Tracer(monkeypatch)
    with pytest.raises(KeyboardInterrupt), Profile(Span(2, 4), tmp_path) as profile:
        take(profile, tracer, [2])
        raise KeyboardInterrupt
    assert tracer.calls == [str(tmp_path / FOLDER), 2, "stop"]


def test_without_steps_the_step_itself_comes_back(tmp_path):
    step_fn = lambda state, batch: (state, {})
    assert Profile(None, tmp_path).watched(step_fn) is step_fn


def test_a_trace_holds_the_steps_by_number(tmp_path):
    step_fn = jax.jit(lambda state, batch: (state + batch["step"].sum(), {}))
    with Profile(Span(1, 2), tmp_path) as profile:
        watched, state = profile.watched(step_fn), 0
        for step in range(3):
            state, _ = watched(state, {"step": np.full(2, step)})
    (file,) = (tmp_path / FOLDER).glob("plugins/profile/*/*.xplane.pb")
    assert file.read_bytes().count(b"train") and int(state) == 6


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--evaluate"], "--profile traces training, and --evaluate does not train."),
        (["--seeds", "2"], "--profile traces one run, but this command has 2"),
    ],
)
def test_a_command_that_does_not_train_one_run_is_refused(more, line, capsys, tmp_path):
    command = [str(TINY), "--workdir", str(tmp_path / "run"), "--profile", "1:2", *more]
    assert launch.main(command) == 2
    assert line in capsys.readouterr().err
