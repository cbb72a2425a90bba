"""Scores against the worked example of the course notes and independent computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import metrics


def rows(*texts: str) -> np.ndarray:
    return np.array([[int(c) for c in text] for text in texts])


# The 8×8 example of WZMIAOMIAO's slides on segmentation metrics.
TRUTH = rows(*["00011000"] * 2, *["22222222"] * 2, *["33333333"] * 2, *["00444400"] * 2)
PREDICTION = rows(
    *("00111000", "00221000", "22222222", "22222222"),
    *("03333333", "04333334", "00444440", "00444440"),
)


def test_the_worked_8x8_example_gives_its_published_scores():
    confusion = metrics.confusion_matrix(TRUTH, PREDICTION, 5)
    assert metrics.pixel_accuracy(confusion) == 55 / 64
    assert metrics.mean_accuracy(confusion) == pytest.approx(0.86, abs=1e-12)
    assert metrics.mean_iou(confusion) == pytest.approx(0.72657, abs=5e-6)
    assert metrics.frequency_weighted_iou(confusion) == pytest.approx(0.7578, abs=5e-5)


def test_rows_are_the_truth_and_columns_the_prediction():
    confusion = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 1]), 3)
    np.testing.assert_array_equal(confusion, [[0, 2, 0], [0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("xp", [np, jnp])
def test_scores_equal_loops_over_pixels(xp):
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 3, 255], size=(2, 9, 7)).astype(np.uint8)
    prediction = rng.integers(0, 4, truth.shape).astype(np.uint8)
    expected = np.zeros((4, 4), int)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        if t != 255:
            expected[t, p] += 1
    confusion = metrics.confusion_matrix(xp.asarray(truth), xp.asarray(prediction), 4)
    np.testing.assert_array_equal(confusion, expected)
    by_class = [
        np.sum((truth == k) & (prediction == k))
        / np.sum(((truth == k) | (prediction == k)) & (truth != 255))
        for k in range(4)
    ]
    np.testing.assert_allclose(metrics.iou(confusion), by_class)
    assert metrics.mean_iou(confusion) == pytest.approx(np.mean(by_class))


def test_ignored_pixels_change_no_score():
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 3, (2, 50))
    more = (
        np.concatenate([truth, np.full(20, 255)]),
        np.concatenate([prediction, rng.integers(0, 3, 20)]),
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(truth, prediction, 3), metrics.confusion_matrix(*more, 3)
    )


def test_the_matrix_of_a_set_is_the_sum_over_any_batching():
    rng = np.random.default_rng(2)
    truth, prediction = rng.integers(0, 3, (2, 12, 5))
    whole = metrics.confusion_matrix(truth, prediction, 3)
    for size in (1, 5, 12):
        parts = range(0, 12, size)
        summed = sum(
            metrics.confusion_matrix(truth[i : i + size], prediction[i : i + size], 3)
            for i in parts
        )
        np.testing.assert_array_equal(whole, summed)


def test_classes_that_nowhere_occur_are_left_out_of_the_means():
    confusion = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert np.isnan(metrics.iou(confusion)[2])
    assert metrics.mean_iou(confusion) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert metrics.mean_accuracy(confusion) == pytest.approx((3 / 4 + 1) / 2)


def test_a_class_that_is_only_predicted_counts_as_zero_iou():
    confusion = np.array([[2, 2], [0, 0]])
    assert metrics.mean_iou(confusion) == pytest.approx((0.5 + 0) / 2)
    assert metrics.mean_accuracy(confusion) == pytest.approx(0.5)


def test_a_set_without_counted_pixels_has_no_score():
    empty = np.zeros((2, 2), int)
    scores = (
        metrics.mean_iou,
        metrics.pixel_accuracy,
        metrics.mean_accuracy,
        metrics.frequency_weighted_iou,
    )
    assert all(np.isnan(score(empty)) for score in scores)


def test_ids_outside_the_classes_are_named():
    with pytest.raises(ValueError, match=r"label ids \[7\] are outside the 3 classes"):
        metrics.confusion_matrix(np.array([0, 7]), np.array([0, 1]), 3)
    with pytest.raises(ValueError, match=r"prediction ids \[255\]"):
        metrics.confusion_matrix(np.array([0, 1]), np.array([0, 255]), 3)


def test_under_jit_ids_outside_the_classes_are_left_out():
    count = jax.jit(lambda t, p: metrics.confusion_matrix(t, p, 2))
    np.testing.assert_array_equal(
        count(jnp.array([0, 7, 1]), jnp.array([0, 1, 5])), [[1, 0], [0, 0]]
    )
