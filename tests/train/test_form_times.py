"""The times of forms: how they are taken, kept and compared, and for which shapes of a run."""

import dataclasses
import json
import pathlib

import pytest

from segjax import experiment as experiments
from segjax.errors import InputError
from segjax.ops.conv_bounds import default_form
from segjax.ops.forms import BY_KERNEL, BY_X, VALUE, Case
from segjax.ops.tap_matmul import TapWindow
from segjax.train import form_times, tune
from segjax.train.form_times import KeptTimes, seconds_of
from segjax.train.plan import Plan, make_plan
from segjax.train.tune import cases_of, fastest, table_of_run, tuned

SMALL = pathlib.Path(__file__).parents[1] / "planning" / "small.py"
WINDOW = TapWindow((1, 1), ((1, 1), (1, 1)), (1, 1))
CASE = Case(BY_KERNEL, (2, 9, 8, 5), (3, 3, 5, 4), WINDOW)


@pytest.fixture
def clock(monkeypatch):
    """Sets what each form takes, {name: seconds}; the list of calls is what it gets."""

    def start(seconds, load=lambda calls: 1.0):
        calls = []

        def measured(name, call, count=1):
            calls.append(name)
            return seconds[name] * load(len(calls))

        monkeypatch.setattr(form_times, "_seconds", measured)
        return calls

    return start


def test_forms_take_turns_and_those_that_cannot_win_are_given_up(clock):
    assert default_form(CASE) == "taps"
    times = {"taps": 1.0, "plain": 4.1, "rows": 4.2, "blocks": 1.5, "winograd": 0.9}
    calls = clock(times)
    found = seconds_of(CASE)
    assert found == times
    # A first call of each, the default one's first; then turns.
    assert calls[:5] == ["taps", "plain", "rows", "blocks", "winograd"]
    counts = {name: calls[5:].count(name) for name in found}
    assert counts == {"taps": 7, "plain": 0, "rows": 0, "blocks": 2, "winograd": 7}
    assert calls[11:15] == ["taps", "winograd", "taps", "winograd"]


def test_a_machine_that_is_busy_for_a_while_changes_no_choice(clock):
    times = {"taps": 1.0, "plain": 9.0, "rows": 9.0, "blocks": 1.05, "winograd": 1.1}
    clock(times, load=lambda calls: 3.0 if 13 < calls < 19 else 1.0)
    found = seconds_of(CASE)
    assert found == times and fastest(CASE, found) == "taps"


def test_a_form_that_takes_much_more_memory_is_not_run(clock, monkeypatch):
    sizes = iter([10, 10, 10 + form_times.MORE_BYTES, 9, 11 + form_times.MORE_BYTES, 0])
    monkeypatch.setattr(form_times, "_temporary_bytes", lambda program: next(sizes))
    calls = clock(dict.fromkeys(("taps", "plain", "rows", "blocks", "winograd"), 1.0))
    assert [*seconds_of(CASE)] == ["taps", "plain", "rows", "winograd"]
    assert "blocks" not in calls


def test_the_forms_themselves_are_timed():
    found = seconds_of(CASE)
    assert found.keys() == {"taps", "plain", "rows", "blocks", "winograd"}
    assert all(0 < value < 60 for value in found.values())


def test_a_form_replaces_the_default_one_only_if_it_clearly_wins():
    assert fastest(CASE, {"taps": 1.0, "plain": 0.91, "winograd": 0.95}) == "taps"
    assert fastest(CASE, {"taps": 1.0, "plain": 0.89, "winograd": 0.85}) == "winograd"


def test_times_are_kept_by_machine_and_version_and_added_to_those_of_other_runs(monkeypatch):
    one, other = KeptTimes(), KeptTimes()
    value = CASE._replace(question=VALUE)
    one.add(CASE, {"taps": 1.0, "plain": 2.0})
    other.add(value, {"plain": 1.0})
    again = KeptTimes()
    assert again.get(CASE) == {"plain": 2.0, "taps": 1.0} and again.get(value) == {"plain": 1}
    assert again.get(CASE._replace(question=BY_X)) is None
    for name, changed in (("machine_digest", lambda **_: "x"), ("forms.VERSION", 9)):
        with monkeypatch.context() as patch:
            patch.setattr(f"segjax.train.form_times.{name}", changed)
            assert KeptTimes().get(CASE) is None
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--other")
        assert KeptTimes().get(CASE) is None


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"%s": 3}', '{"%s": {"taps": "x"}}', '{"%s": {"taps": -1}}']
)
def test_times_that_cannot_be_read_are_measured_again(text):
    kept = KeptTimes()
    kept.path.parent.mkdir(parents=True)
    kept.path.write_text(text.replace("%s", str(CASE)))
    assert KeptTimes().get(CASE) is None
    KeptTimes().add(CASE, {"taps": 1.0})
    assert json.loads(kept.path.read_text()) == {str(CASE): {"taps": 1.0}}


def plan_of(**changes):
    experiment = experiments.load(SMALL)
    return make_plan(dataclasses.replace(experiment, **changes), note=lambda _: None)


def counted(cases):
    return {(case.question, case.shape, case.kernel_shape[:2]): n for case, n in cases.items()}


def test_the_cases_are_those_of_a_step_on_each_device_and_of_an_evaluation():
    # Eight images on four devices; the first layer's input needs no gradient.
    found = cases_of(plan_of())
    hidden, scores = ((2, 32, 32, 3), (3, 3)), ((2, 32, 32, 8), (1, 1))
    assert counted(found.training) == {
        (VALUE, *hidden): 1,
        (BY_KERNEL, *hidden): 1,
        (VALUE, *scores): 1,
        (BY_X, *scores): 1,
        (BY_KERNEL, *scores): 1,
    }
    # Four images of an evaluation on four devices.
    assert {case.shape[0] for case in found.evaluation} == {1}
    assert {case.question for case in found.evaluation} == {VALUE}


def test_micro_batches_count_as_often_as_a_step_takes_them():
    found = cases_of(plan_of(accumulate=2))
    assert {case.shape[0] for case in found.training} == {1}
    gradients = [n for case, n in found.training.items() if case.question != VALUE]
    assert gradients == [2, 2, 2]


def test_batches_of_several_sizes_count_in_the_mean(monkeypatch):
    def batches(plan, start):
        for batch in of_one_size(plan, start):
            yield batch
            yield batch | {name: batch[name][:, :24] for name in ("image", "label")}

    of_one_size = Plan.batches
    one = counted(cases_of(plan_of()).training)
    monkeypatch.setattr(Plan, "batches", batches)
    monkeypatch.setattr(tune, "declares", lambda *_: True)
    cut = {(question, (2, 24, 32, shape[3]), kernel) for question, shape, kernel in one}
    assert set(one.values()) == {1}
    assert counted(cases_of(plan_of()).training) == dict.fromkeys(one.keys() | cut, 0.5)


def test_images_that_devices_share_have_no_choice_of_forms():
    found = cases_of(plan_of(split=(2, 1)))
    assert not found.training and not found.evaluation


def test_tuning_sums_up_what_it_changes(monkeypatch):
    win = lambda case: {"plain": 3.0, "taps": 3.0} | {default_form(case): 4.0}
    monkeypatch.setattr(form_times, "seconds_of", win)
    said = []
    table = tuned(plan_of(), note=said.append)
    assert len(table.names) == 7
    assert said[0].startswith("tune: 7 shapes of convolutions and of their gradients; 7 timed")
    assert (
        "7 of them are computed in another form than by default (value 4, gradient by x 1, "
        in said[0]
    )
    # One second for each of the five of a step.
    assert said[0].endswith("should save about 5 s of each training step")
    tuned(plan_of(), note=said.append)
    assert "0 timed now, 7 known from earlier runs" in said[1]


def test_on_other_devices_there_is_nothing_to_choose(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "on_cpu", lambda: False)
    monkeypatch.setattr(tune.jax, "default_backend", lambda: "gpu")
    said = []
    assert table_of_run(plan_of(), tmp_path, tune=True, note=said.append) is None
    assert said == [
        "--tune: there is nothing to choose on a GPU, where all convolutions are XLA's own."
    ]


def test_several_processes_are_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "is_alone", lambda: False)
    with pytest.raises(InputError, match="several processes train this run.*leave --tune out"):
        table_of_run(plan_of(), tmp_path, tune=True, note=print)
    assert table_of_run(plan_of(), tmp_path, tune=False, note=print) is None
