"""Counts of extra metrics are the same for any batches, processes and order of images."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.parallel import sums
from segjax.report.score import Score
from segjax.scores import counting
from segjax.scores.bootstrap import BootstrapIntervals, resampled
from segjax.scores.boundary import BoundaryF1, BoundaryIoU, TrimapIoU
from segjax.scores.calibration import CalibrationError
from segjax.scores.counting import ExtraCounts
from segjax.scores.extra_metric import ExtraMetric
from segjax.scores.overlap import Dice, MeanIoUOverImages
from segjax.scores.rand import RandError
from segjax.scores.warping import WarpingError

MADE = runpy.run_path(str(Path(__file__).parent / "images.py"))
SOFT = [MADE["probabilities"](seed) for seed in range(5)]
NAMES = SOFT[0].class_names
ALL = (
    *(Dice(), MeanIoUOverImages(), BoundaryIoU(), TrimapIoU((1, 3)), BoundaryF1()),
    *(CalibrationError(), BootstrapIntervals(resamples=100)),
    *(RandError("road", (0.3, 0.6)), WarpingError("road")),
)


def counted(indices) -> ExtraCounts:
    counts = ExtraCounts(ALL)
    for index in indices:
        counts.add(index, SOFT[index])
    return counts


def test_scores_do_not_depend_on_the_order_of_the_images():
    forward, backward = counted(range(5)), counted(reversed(range(5)))
    for counts in (forward, backward):
        counts.merge(5)
    assert repr(forward.scores(NAMES)) == repr(backward.scores(NAMES))


def test_scores_of_four_processes_are_bit_for_bit_those_of_one(monkeypatch):
    alone = counted(range(5))
    alone.merge(5)
    parts = [counted(range(i, 5, 4)) for i in range(4)]
    # The sum over processes of this step's arrays, as `sum_where_there_are` computes it.
    monkeypatch.setattr(counting, "sum_where_there_are", lambda values: values)
    for part in parts:
        part.merge(5)
    merged = parts[0]
    for i in range(len(ALL)):
        arrays = [part._sums[i] for part in parts]
        merged._sums[i] = np.stack([a for a in arrays if a is not None]).sum(0)
    assert repr(merged.scores(NAMES)) == repr(alone.scores(NAMES))
    assert sums.sum_where_there_are is not counting.sum_where_there_are


def test_a_process_without_images_has_nothing_to_add():
    nothing = counted([])
    nothing.merge(5)
    assert all(each is None for each in nothing._sums)


@dataclasses.dataclass(frozen=True)
class Own(ExtraMetric):
    """A metric as a user writes it."""

    gives: tuple = ("own",)
    kind: str = "integers"
    shown = {"own": Score("My own")}

    def count(self, image):
        if self.kind == "shapes":
            return np.zeros(image.label.sum() % 7, int)
        return np.array([0.5 if self.kind == "floats" else 2])

    def scores(self, counts, class_names):
        return dict.fromkeys(self.gives, counts.sum())


def test_every_entry_is_declared_so_that_two_of_one_name_are_found_before_training():
    for metric in ALL:
        counts = ExtraCounts((metric,))
        counts.add(0, SOFT[0])
        counts.merge(1)
        assert set(counts.scores(NAMES)) == set(metric.entries)


def test_a_metric_of_ones_own_is_summed():
    counts = ExtraCounts((Own(),))
    for index, image in enumerate(SOFT):
        counts.add(index, image)
    counts.merge(5)
    assert counts.scores(NAMES) == {"own": 10} and counts.columns["own"].title == "My own"


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ((Own(kind="floats"),), "Own.count returned float64.*set per_image = True"),
        ((Own(kind="shapes"),), "one shape for all images"),
        ((Own(gives=("other",)),), "Own shows 'own', which its scores.. lack; they have other"),
        ((Own(), Own()), "Own and Own both give 'own'"),
    ],
)
def test_a_faulty_metric_is_refused_in_one_line(metrics, said):
    with pytest.raises(InputError, match=said) as error:
        counts = ExtraCounts(metrics)
        for index, image in enumerate(SOFT):
            counts.add(index, image)
        counts.merge(5)
        counts.scores(NAMES)
    assert "\n" not in str(error.value)


def test_bootstrap_intervals_equal_a_plain_loop_over_resamples():
    metric = BootstrapIntervals(resamples=200, confidence=0.9, seed=3)
    counts = np.stack([metric.count(image) for image in SOFT])
    rng, values = np.random.default_rng(3), []
    for _ in range(200):
        chosen = counts[rng.integers(0, 5, 5)].sum(0)
        tp, union = chosen[:, 1, 1], chosen.sum((1, 2)) - chosen[:, 0, 0]
        values.append(np.mean(tp / union))
    found = metric.scores(counts, NAMES)["bootstrap_intervals"]
    assert found["mean_iou"] == pytest.approx(np.percentile(values, [5, 95]), abs=1e-12)
    assert found["confidence"] == 0.9 and found["resamples"] == 200


def test_the_interval_of_images_that_are_alike_is_one_point():
    metric = BootstrapIntervals(resamples=100)
    counts = np.stack([metric.count(SOFT[0])] * 4)
    low, high = metric.scores(counts, NAMES)["bootstrap_intervals"]["mean_dice"]
    assert low == high


def test_resampled_sums_are_exact_whole_numbers():
    counts = np.array([[2**50 + 1], [3]])
    possible = {2 * counts[0, 0], counts[0, 0] + 3, 6}
    assert {*resampled(counts, 50, seed=0).ravel().tolist()} == possible


@pytest.mark.parametrize("fields", [{"resamples": 99}, {"confidence": 1.0}])
def test_intervals_of_too_few_resamples_or_all_of_them_are_refused(fields):
    with pytest.raises(InputError, match="BootstrapIntervals"):
        BootstrapIntervals(**fields)


@dataclasses.dataclass(frozen=True)
class Order(ExtraMetric):
    """The summed labels of each image, as they come."""

    per_image = True

    def count(self, image):
        return np.array(image.label.sum())

    def scores(self, counts, class_names):
        return {"order": counts.tolist()}


def test_counts_of_each_image_come_in_the_order_of_the_dataset():
    counts = ExtraCounts((Order(),))
    for index in (3, 0, 4, 1, 2):
        counts.add(index, SOFT[index])
    counts.merge(5)
    assert counts.scores(NAMES) == {"order": [int(image.label.sum()) for image in SOFT]}
