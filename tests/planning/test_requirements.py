"""What a plan says is what its programs need; the batch that it names is the largest."""

import dataclasses
import math
import pathlib

import jax
import jax.numpy as jnp
import pytest

from segjax.data.folder import Folder
from segjax.errors import InputError, RunError, is_out_of_memory
from segjax.experiment import load, override
from segjax.planning import remedies
from segjax.planning import requirements as module
from segjax.planning.checked import checked
from segjax.planning.evaluating import evaluation_cost
from segjax.planning.limit import GIB, Limit
from segjax.planning.remedies import accumulation, of_network, of_split
from segjax.planning.requirements import Requirements, requirements
from segjax.planning.search import MOST, Largest
from segjax.planning.text import list_text, plan_record, plan_text
from segjax.planning.training import TrainingStep

SMALL = pathlib.Path(__file__).with_name("small.py")
PARAMETERS = 3 * 3 * 3 * 8 + 8 + 8 * 6 + 6
DEVICES = 4


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache that the plans of this module share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def experiment():
    return load(SMALL)


@pytest.fixture(scope="module")
def step(experiment, cache) -> TrainingStep:
    found = checked(experiment)
    return TrainingStep(found.plan, found.batch)


@pytest.fixture(scope="module")
def found(experiment, step) -> Requirements:
    """The plan of the experiment, without the search for the largest batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "find_largest", lambda found, limit: None)
        return requirements(experiment, memory=1.0)


def test_the_bytes_of_the_state_are_exact(found):
    assert found.step.plan.parameters == PARAMETERS
    expected = {"parameters": 1, "norm statistics": 0, "running mean (ema)": 1}
    for name, times in expected.items():
        assert found.step.state[name] == 4 * PARAMETERS * times
    # The momentum, and how often the schedule was asked.
    momentum = found.step.state["optimizer state"] - 4 * PARAMETERS
    assert 0 < momentum <= 8
    held = found.step.held_bytes(found.training)
    assert held == sum(found.step.state.values()) + 4, "and the number of the step"


def test_the_batch_is_a_devices_share_twice(found):
    image, label = 32 * 32 * 3, 32 * 32
    beside = found.step.example_bytes() - image - label
    assert beside in (4, 8), "the numbers of the step and the seed"
    assert found.step.share == 8 // DEVICES
    waiting = found.training_peak - found.training.peak_bytes
    assert waiting == 2 * found.step.example_bytes()


def test_activations_of_every_example_are_counted(step):
    hidden = 32 * 32 * 8 * 4
    peaks = [step.peak(n) for n in (1, 2, 4, 8)]
    for n, peak in zip((1, 2, 4, 8), peaks, strict=True):
        assert peak >= n * hidden
    assert peaks == sorted(peaks)


@pytest.mark.parametrize("more", [0, 2**20])
def test_the_largest_batch_is_the_one_that_trying_all_finds(more, found):
    step = found.step
    limit = (step.peak(5) + step.peak(6)) / 2 + more
    # The measured step took `more` beside XLA's plan, and so will others.
    measured = found.step_time._replace(peak=found.training.peak_bytes + more)
    fresh = dataclasses.replace(found, step_time=measured, limit=Limit(limit, ""))
    module.find_largest(fresh, limit)
    fits = [n for n in range(1, 9) if step.peak(n) + more <= limit]
    assert fits == [1, 2, 3, 4, 5]
    assert fresh.largest.size == 5 and fresh.largest_batch == 5 * DEVICES
    assert fresh.fits and fresh.remedies == []


def test_flops_are_those_of_the_convolutions(found):
    # Taps on padding do not count.
    hidden, scores = (3 * 32 - 2) ** 2 * 3 * 8, 32 * 32 * 8 * 6
    # The gradient by the first layer's input is not needed.
    assert found.flops == 2 * 8 * ((hidden + scores) + (hidden + 2 * scores))


def test_times_add_up_to_the_hours_of_the_run(found):
    assert found.step_time.device > 0 and found.step_time.whole > 0
    assert 2 <= found.step_time.steps <= 10
    assert found.evaluations == 4, "at 30, 60, 90 and 100"
    evaluations = 4 * 5 * found.evaluation_time.image_seconds
    once = found.training.seconds + found.evaluation_time.compile_seconds
    expected = 100 * found.step_time.whole + evaluations + once
    assert found.hours * 3600 == pytest.approx(expected)
    assert found.price_of_run(2.0) == pytest.approx(found.hours * 2.0 * DEVICES)


def test_the_evaluation_needs_room_beside_the_state(found):
    held = found.step.held_bytes(found.training)
    assert found.evaluation_peak == held + found.evaluation.peak_bytes
    image, maps = 32 * 32 * 3, 32 * 32 * 6 * 4
    assert found.evaluation.peak_bytes >= 4 * PARAMETERS + image + maps


@pytest.mark.slow
def test_the_smallest_accumulate_is_named_that_makes_a_batch_fit(experiment, cache):
    large = checked(dataclasses.replace(experiment, batch_size=12 * DEVICES))
    step = TrainingStep(large.plan, large.batch)
    three = override(experiment, "accumulate=3")
    limit = step.peak(12, three)
    assert step.peak(12) > limit
    remedy = accumulation(step, limit, 4)
    assert remedy.fits and remedy.settings == ("accumulate=3",)
    assert step.peak(12, override(experiment, "accumulate=2")) > limit


def test_no_accumulate_is_named_where_none_is_enough(step):
    assert (
        accumulation(step, step.peak(1) / 2, 1) is None
        or not accumulation(step, step.peak(1) / 2, 1).fits
    )


def test_recomputing_and_bfloat16_are_tried_as_settings(step):
    found = {remedy.settings: remedy for remedy in of_network(step, math.inf)}
    remat, half = "model.remat=True", "model.dtype=jax.numpy.bfloat16"
    assert list(found) == [("shard_state=True",), (remat,), (half,), (remat, half)]
    changed = override(step.plan.experiment, half)
    assert changed.model.dtype == jnp.bfloat16
    assert found[(half,)].peak_bytes == step.peak(None, changed)


def test_parts_of_an_image_need_less_than_the_whole(step):
    found = list(of_split(step, math.inf))
    assert [remedy.settings for remedy in found] == [("split=2,1",), ("split=4,1",)]
    two, four = (remedy.peak_bytes for remedy in found)
    assert four < two < step.peak(1)


def test_a_batch_that_does_not_fit_is_said_with_what_would(experiment, step, monkeypatch):
    monkeypatch.setattr(module, "_probe", lambda found: None)
    limit = step.peak(1) * 1.01
    found = requirements(experiment, memory=limit / GIB)
    assert found.fits is False and found.largest.size == 1
    assert all(remedy.fits == (remedy.peak_bytes <= limit) for remedy in found.remedies)
    text = plan_text(found)
    assert "fits           no" in text
    assert (
        f"largest batch  4 images: peak {step.peak(1) / 2**20:.1f} MiB; 8 images need" in text
    )
    assert "--set model.remat=True: peak" in text


def test_data_that_are_not_there_are_made_up(experiment, cache, tmp_path):
    data = Folder(directory=str(tmp_path / "nowhere"), class_names=tuple("abcdef"))
    missing = dataclasses.replace(experiment, train_data=data, eval_data=data)
    found = checked(missing)
    assert "nowhere" in found.without_data and "is assumed" in found.without_data
    assert found.batch["image"].shape[0] == 8
    assert found.plan.parameters == PARAMETERS


def test_what_is_wrong_beside_missing_data_is_an_error(experiment, cache, tmp_path):
    data = Folder(directory=str(tmp_path / "nowhere"), class_names=tuple("abcdef"))
    wrong = dataclasses.replace(experiment, train_data=data, eval_data=data, batch_size=6)
    with pytest.raises(InputError, match="batch_size=6 is not divisible by the 4 devices"):
        checked(wrong)


def test_a_probe_that_runs_out_of_memory_leaves_the_rest_of_the_plan(
    experiment, cache, monkeypatch
):
    def fail(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setattr(module, "step_time", fail)
    found = requirements(experiment, memory=1e6)
    assert found.step_time is None and found.hours is None
    assert found.training_peak > 0 and found.evaluation_peak > 0
    (problem,) = found.problems
    assert "ran out of memory when a step was timed" in problem and "batch_size" in problem


def test_one_of_several_processes_that_runs_out_of_memory_ends(experiment, cache, monkeypatch):
    def fail(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes")

    monkeypatch.setattr(module, "step_time", fail)
    monkeypatch.setattr(module, "is_alone", lambda: False)
    with pytest.raises(RunError, match="ran out of memory when a step was timed"):
        requirements(experiment, memory=1e6)


@pytest.fixture
def too_large(found) -> Requirements:
    """The plan, where the evaluation alone is too large, of 16 and of 8 images; 4 fit."""
    held = found.evaluation_peak - found.evaluation.peak_bytes
    plan = with_batch(found.step.plan, 4 * DEVICES)
    step = TrainingStep(plan, found.step.batch)
    cost = evaluation_cost(plan, found.images)
    assert cost.peak_bytes > 2 * found.evaluation.peak_bytes
    limit = held + found.evaluation.peak_bytes
    whole = {"step": step, "evaluation": cost, "limit": Limit(limit, "")}
    fits = Largest(MOST, {})
    return dataclasses.replace(found, largest=fits, evaluation_time=None, **whole)


def with_batch(plan, size):
    changed = override(plan.experiment, f"evaluation.batch_size={size}")
    return dataclasses.replace(plan, experiment=changed)


def test_an_evaluation_that_does_not_fit_is_said_with_the_batch_that_does(too_large):
    module.find_evaluation(too_large, too_large.limit.bytes)
    (remedy,) = too_large.evaluation_remedies
    assert remedy == ((f"evaluation.batch_size={DEVICES}",), too_large.limit.bytes, True)
    text = plan_text(too_large)
    assert "evaluation     does not fit" in text
    assert f"to fit         --set evaluation.batch_size={DEVICES}: peak" in text
    assert plan_record(too_large)["evaluation_remedies"][0]["settings"] == [*remedy.settings]


def test_where_no_batch_fits_windows_are_tried_or_the_remedies_of_images_named(
    too_large, monkeypatch
):
    monkeypatch.setattr(remedies, "WINDOWS", (32, 16))  # Images have sides of 32.
    limit = too_large.limit.bytes - 1
    less = dataclasses.replace(too_large, limit=Limit(limit, ""))
    module.find_evaluation(less, limit)
    batch, windows = less.evaluation_remedies
    assert batch.settings == ("evaluation.batch_size=1",) and not batch.fits
    assert windows.fits and "SlidingWindow(16, batch_size=1)" in windows.settings[0]
    override(less.experiment, *windows.settings)
    # A shell would take the parentheses for its own.
    assert "--set 'evaluation.predictor=" in plan_text(less)
    nothing = dataclasses.replace(less, evaluation_remedies=[batch])
    assert "to fit         evaluate smaller images" in plan_text(nothing)


def test_an_evaluation_that_does_not_fit_is_not_timed(found, monkeypatch):
    peak = found.evaluation_peak
    fresh = dataclasses.replace(found, evaluation_time=None, problems=[])
    monkeypatch.setattr(module, "step_time", lambda *_, **__: (found.step_time, State()))
    monkeypatch.setattr(module, "evaluation_time", lambda *_: found.evaluation_time)
    room = max(peak, found.training_peak)
    monkeypatch.setattr(module, "memory_limit", lambda: Limit(room, ""))
    module._probe(fresh)
    assert fresh.evaluation_time is not None and not fresh.problems
    more = fresh.evaluation._replace(temporary_bytes=room)
    fresh = dataclasses.replace(fresh, evaluation=more, evaluation_time=None)
    module._probe(fresh)
    assert fresh.evaluation_time is None and "evaluation was not timed" in fresh.problems[0]


class State:
    variables: dict = {}


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 12 bytes"), True),
        (MemoryError(), True),
        (jax.errors.JaxRuntimeError("INTERNAL: a bug"), False),
        (ValueError("Out of memory"), False),
    ],
)
def test_other_errors_are_not_taken_for_a_want_of_memory(error, is_one):
    assert is_out_of_memory(error) is is_one


def test_a_total_without_the_runs_that_were_not_timed_is_said_to_be_the_least(found):
    untimed = dataclasses.replace(found, step_time=None)
    total = lambda plans: list_text(plans, price=2.0).splitlines()[-1]
    hours = f"{3 * found.hours:.3g}"
    assert total([(found, 3)]).split()[-2] == hours and "least" not in total([(found, 3)])
    assert total([(found, 3), (untimed, 1)]).count("at least") == 2
    assert f"at least {hours}" in total([(found, 3), (untimed, 1)])
