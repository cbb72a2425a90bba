"""The expected calibration error equals torchmetrics', and its sums depend on no order."""

import json
import pathlib
import runpy

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.scores.calibration import STEPS, CalibrationError, confidence_bins

HERE = pathlib.Path(__file__).parent
MADE = runpy.run_path(str(HERE / "images.py"))
ORACLE = json.loads((HERE / "oracles.json").read_text("utf-8"))["calibration"]
SOFT = [MADE["probabilities"](seed) for seed in range(3)]
PLANES = [MADE["planes"](seed) for seed in range(3)]
NAME = "expected_calibration_error"
total = MADE["total"]


def test_the_error_of_classes_equals_torchmetrics():
    assert total(CalibrationError(), SOFT)[NAME] == pytest.approx(ORACLE["classes"], abs=1e-6)


def test_the_error_of_planes_is_the_mean_of_the_binary_errors_of_torchmetrics():
    wanted = np.mean(ORACLE["planes"])
    assert total(CalibrationError(), PLANES)[NAME] == pytest.approx(wanted, abs=1e-6)


def test_the_error_equals_its_formula_bin_by_bin():
    p = np.concatenate([i.probabilities[i.counted].max(-1) for i in SOFT]).astype(np.float64)
    right = np.concatenate([(i.prediction == i.label)[i.counted] for i in SOFT])
    error = 0.0
    for low in np.arange(10) / 10:
        here = (p >= low) & ((p < low + 0.1) | (low == 0.9))
        if here.any():
            error += here.mean() * abs(right[here].mean() - p[here].mean())
    assert total(CalibrationError(bins=10), SOFT)[NAME] == pytest.approx(error, abs=1e-8)


def test_confidence_1_is_in_the_last_bin_and_0_in_the_first():
    counts = confidence_bins(np.float32([0, 1, 1]), np.array([True, True, False]), bins=4)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [2, 1, 2 * STEPS]]


def test_the_reliability_of_an_empty_bin_is_not_a_number():
    found = total(CalibrationError(), SOFT)["calibration"]
    empty = np.array(found["pixels"]) == 0
    assert empty.any() and sum(found["pixels"]) == sum(i.counted.sum() for i in SOFT)
    assert np.array_equal(np.isnan(found["accuracy"]), empty)


def test_without_a_bin_there_is_no_error():
    with pytest.raises(InputError, match=r"bins=0\) must be at least 1"):
        CalibrationError(bins=0)


def test_a_confidence_that_is_not_finite_counts_as_wrong_with_confidence_0():
    confidence = np.array([np.nan, np.inf, 0.75], np.float32)
    counts = confidence_bins(confidence, np.array([True, True, True]), bins=2)
    assert counts.tolist() == [[2, 0, 0], [1, 1, 0.75 * STEPS]]
