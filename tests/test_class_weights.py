"""Class weights: against their formulas, written out; and where they come from in a run."""

import dataclasses
import math
import statistics

import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.class_weights import (
    EXCLUSIVE,
    ClassCounts,
    EffectiveNumber,
    InverseRoot,
    Logarithmic,
    MedianFrequency,
    NegativesPerPositive,
)
from segjax.data.class_counts import label_counts, sum_counts
from segjax.errors import InputError
from segjax.experiment import describe, load
from segjax.train.computed_weights import (
    weight_rules,
    with_computed_weights,
    with_recorded_weights,
    with_stand_in_weights,
)
from segjax.train.workdir import DESCRIPTION, EVALUATION, check_owner, claim, recorded

RNG = np.random.default_rng(0)
LABELS = [
    RNG.choice([0, 0, 0, 0, 1, 1, 3, 255], (20 + i, 30)).astype(np.uint8) for i in range(4)
]
LABELS[1][LABELS[1] == 3] = 0
COUNTS = sum_counts(
    [label_counts(label, classes=4, planes=False) for label in LABELS], classes=4, planes=False
)
PIXELS = [sum(int((label == k).sum()) for label in LABELS) for k in range(4)]
PRESENT = (0, 1, 3)


def test_counts_are_those_of_a_loop_over_pixels():
    assert COUNTS.pixels == tuple(PIXELS) and COUNTS.absent == [2]
    assert COUNTS.images == (4, 4, 0, 3)
    area = [label.size for label in LABELS]
    assert COUNTS.pixels_of_images[3] == sum(area) - area[1]
    assert set(COUNTS.counted) == {sum(PIXELS)}


def median_frequency():
    frequency = {
        k: PIXELS[k] / sum(label.size for label in LABELS if (label == k).any())
        for k in PRESENT
    }
    return {k: statistics.median(frequency.values()) / f for k, f in frequency.items()}


def inverse_root():
    weights = {k: math.sqrt(sum(PIXELS) / PIXELS[k]) for k in PRESENT}
    return {k: w * len(weights) / sum(weights.values()) for k, w in weights.items()}


def effective_number():
    weights = {k: (1 - 0.99) / (1 - 0.99 ** PIXELS[k]) for k in PRESENT}
    return {k: w * len(weights) / sum(weights.values()) for k, w in weights.items()}


def logarithmic():
    return {k: 1 / math.log(1.02 + PIXELS[k] / sum(PIXELS)) for k in PRESENT}


@pytest.mark.parametrize(
    ("rule", "formula"),
    [
        (MedianFrequency(), median_frequency),
        (InverseRoot(), inverse_root),
        (EffectiveNumber(0.99), effective_number),
        (Logarithmic(), logarithmic),
    ],
)
def test_a_rule_is_its_formula_and_an_absent_class_weighs_nothing(rule, formula):
    weights = rule.computed(COUNTS)
    assert weights[2] == 0
    for k, weight in formula().items():
        assert weights[k] == pytest.approx(weight, rel=1e-5)


def test_of_many_pixels_the_effective_number_keeps_its_digits():
    counts = ClassCounts((10**9, 10**3), (1, 1), (10**9, 10**9), (10**9, 10**9))
    rare, common = (EffectiveNumber().computed(counts)[k] for k in (1, 0))
    assert rare / common == pytest.approx(10**7 / 10**3, rel=1e-3)


def test_planes_are_weighed_by_pixels_outside_per_pixel_inside():
    plane = np.zeros((10, 10, 3), np.uint8)
    plane[:2, :, 0] = 1
    plane[9, :, 0] = 255
    plane[..., 2] = 1
    counts = sum_counts([label_counts(plane, classes=3, planes=True)], classes=3, planes=True)
    assert NegativesPerPositive().computed(counts) == (70 / 20, 1.0, 0.01)
    assert NegativesPerPositive(most=2).computed(counts) == (2.0, 1.0, 0.01)
    with pytest.raises(InputError, match="use NegativesPerPositive"):
        MedianFrequency().computed(counts)


def test_of_two_class_ids_the_plane_is_class_1():
    counts = ClassCounts((90, 10), (1, 1), (100, 100), (100, 100))
    assert NegativesPerPositive().computed(counts) == (9.0,)
    with pytest.raises(InputError, match="4 classes"):
        NegativesPerPositive().computed(COUNTS)


def test_labels_without_a_class_give_no_weights():
    with pytest.raises(InputError, match="no pixel of the training labels has a class"):
        MedianFrequency().computed(ClassCounts((0, 0), (0, 0), (0, 0), (0, 0)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EffectiveNumber(1.0),
        lambda: Logarithmic(1.0),
        lambda: NegativesPerPositive(0),
        lambda: EffectiveNumber("much"),
    ],
)
def test_a_wrong_constant_is_refused_with_a_better_one(make):
    with pytest.raises(InputError, match="such as"):
        make()


@pytest.fixture(scope="module")
def experiment():
    loss = losses.ClassWeightedCrossEntropy(weights=MedianFrequency())
    return dataclasses.replace(load("experiments/quickstart.py"), loss=loss)


@pytest.fixture(scope="module")
def computed(experiment):
    lines = []
    return with_computed_weights(experiment, note=lines.append), lines


def test_without_data_the_description_shows_the_rule(experiment):
    assert "loss.weights = segjax.class_weights.MedianFrequency()" in describe(experiment)
    assert weight_rules(experiment) == {"loss.weights": MedianFrequency()}


def test_with_data_the_description_shows_numbers_of_six_digits(computed):
    resolved, (line,) = computed
    weights = resolved.loss.weights
    assert f"loss.weights = {weights}" in describe(resolved)
    assert line.startswith(f"loss.weights = {weights}, by MedianFrequency() from train_data")
    assert all(weight == float(f"{weight:.6g}") > 0 for weight in weights)
    assert not weight_rules(resolved)
    assert with_computed_weights(resolved, note=print) is resolved


def test_rules_are_found_inside_a_sum_of_losses(experiment):
    loss = losses.Sum(((experiment.loss, 1.0), (losses.Dice(), 0.5)))
    several = dataclasses.replace(experiment, loss=loss)
    assert list(weight_rules(several)) == ["loss.losses.0.0.weights"]
    assert with_stand_in_weights(several).loss.losses[0][0].weights == (1.0,) * 6


@pytest.mark.parametrize("rule", EXCLUSIVE)
def test_a_loss_by_itself_says_that_a_rule_is_no_number(rule):
    logits = jnp.zeros((1, 2, 2, 3))
    batch = {"label": jnp.zeros((1, 2, 2), jnp.uint8)}
    with pytest.raises(InputError, match="becomes numbers when a run starts"):
        losses.ClassWeightedCrossEntropy(rule)(logits, batch)


def test_other_data_in_the_same_workdir_are_refused_by_their_weights(
    experiment, computed, tmp_path
):
    resolved, _ = computed
    (tmp_path / DESCRIPTION).write_text(describe(resolved), encoding="utf-8")
    (tmp_path / EVALUATION).write_text("{}", encoding="utf-8")
    check_owner(tmp_path, experiment)  # The rule itself is compared once it is numbers.
    check_owner(tmp_path, resolved)
    other = dataclasses.replace(resolved.loss, weights=(*resolved.loss.weights[:-1], 7.5))
    with pytest.raises(InputError, match=r"loss\.weights was .* and is now .*7\.5"):
        check_owner(tmp_path, dataclasses.replace(resolved, loss=other))


def test_a_finished_run_gives_its_weights_back_without_data(experiment, computed):
    resolved, _ = computed
    assert with_recorded_weights(experiment, describe(resolved)) == resolved
    assert with_recorded_weights(experiment, "") is not resolved
    assert weight_rules(with_recorded_weights(experiment, "loss.weights = None"))


def test_numbers_of_another_rule_are_not_taken_for_those_of_this_one(
    experiment, computed, tmp_path
):
    resolved, _ = computed
    source = tmp_path / "experiment_file.py"
    claim(tmp_path, resolved, source, b"", rules=weight_rules(experiment))
    (tmp_path / EVALUATION).write_text("{}", encoding="utf-8")
    assert recorded(experiment, tmp_path) == resolved
    check_owner(tmp_path, experiment)
    check_owner(tmp_path, resolved)
    edited = dataclasses.replace(
        experiment, loss=losses.ClassWeightedCrossEntropy(InverseRoot())
    )
    assert recorded(edited, tmp_path) == edited
    with pytest.raises(InputError, match=r"loss\.weights was \(.* and is now .*InverseRoot"):
        check_owner(tmp_path, edited)
    # A run from before rules were noted.
    claim(tmp_path, resolved, source, b"")
    assert recorded(edited, tmp_path) == resolved
