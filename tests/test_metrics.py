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


def test_under_jit_an_id_of_any_dtype_is_counted_as_itself_or_left_out():
    count = jax.jit(lambda t, p: metrics.confusion_matrix(t, p, 3))
    for dtype in (jnp.int8, jnp.int16, jnp.uint16, jnp.uint32):
        values = [0, 1, 2, 100, *([-1] if jnp.issubdtype(dtype, jnp.signedinteger) else [])]
        label = jnp.array(values, dtype)
        np.testing.assert_array_equal(count(label, jnp.zeros_like(label)), [[1, 0, 0]] * 3)
    with jax.enable_x64(True):
        wide = jnp.array([2**32, 2**32 + 1, 1], jnp.int64)
        np.testing.assert_array_equal(
            count(wide, jnp.zeros_like(wide)), [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [((2, 3, 3), (3, 3)), ((4, 1), (4,)), ((4,), (4, 1)), ((2, 3), (3, 2)), ((1,), ())],
)
@pytest.mark.parametrize("make", [np.zeros, jnp.zeros, lambda *a: np.zeros(*a).tolist()])
def test_labels_and_predictions_of_two_shapes_are_refused_with_both(one, other, make):
    with pytest.raises(ValueError) as raised:
        metrics.confusion_matrix(make(one, np.int32), np.zeros(other, np.int32), 2)
    assert str(one) in str(raised.value) and str(other) in str(raised.value)


def test_probabilities_are_not_predictions():
    probabilities = np.full((2, 2), 0.9)
    for run in (metrics.confusion_matrix, jax.jit(metrics.confusion_matrix, static_argnums=2)):
        with pytest.raises(ValueError, match="predictions must be class ids .*take argmax"):
            run(np.zeros((2, 2), int), probabilities, 2)
    with pytest.raises(ValueError, match="labels must be class ids"):
        metrics.confusion_matrix(probabilities, np.zeros((2, 2), int), 2)


def test_lists_and_booleans_are_counted():
    expected = [[1, 1], [0, 2]]
    for label, prediction in (
        ([[0, 0], [1, 1]], [[0, 1], [1, 1]]),
        (np.array([False, False, True, True]), np.array([False, True, True, True])),
    ):
        np.testing.assert_array_equal(
            metrics.confusion_matrix(label, prediction, 2), expected, strict=False
        )
    assert metrics.mean_iou(expected) == metrics.mean_iou(np.array(expected))


def test_one_class_cannot_be_scored():
    with pytest.raises(ValueError, match="num_classes=1: .*count background as a class too"):
        metrics.confusion_matrix(np.zeros(3, int), np.zeros(3, int), 1)


@pytest.mark.parametrize(
    "score",
    [
        metrics.iou,
        metrics.mean_iou,
        metrics.mean_iou_over_true_classes,
        metrics.pixel_accuracy,
        metrics.mean_accuracy,
        metrics.frequency_weighted_iou,
        metrics.occurring,
        metrics.with_truth,
    ],
)
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.array([[0.5, 0.5], [0.2, 0.8]]), "float64 from 0.2 to 0.8: .*before it is normal"),
        ([[1, -1], [0, 1]], "from -1 to 1"),
        (np.eye(2, dtype=bool), "bool"),
        (np.ones((2, 3), int), r"shape k k, got \(2, 3\)"),
        ([1, 2], r"shape k k, got \(2,\)"),
        (np.ones((2, 2, 2), int), r"shape k k, got \(2, 2, 2\)"),
    ],
)
def test_what_is_no_matrix_of_counts_has_no_score(score, matrix, message):
    with pytest.raises(ValueError, match=message):
        score(matrix)


def test_both_conventions_of_mean_iou_stand_beside_each_other():
    # Class 1 has one wrong pixel and no truth, class 3 occurs nowhere.
    confusion = np.array([[90, 1, 9, 0], [0, 0, 0, 0], [10, 0, 90, 0], [0, 0, 0, 0]])
    by_class = (90 / 110, 90 / 109)
    assert metrics.mean_iou(confusion) == pytest.approx(sum(by_class) / 3)
    assert metrics.mean_iou_over_true_classes(confusion) == pytest.approx(sum(by_class) / 2)
    assert metrics.occurring(confusion).tolist() == [True, True, True, False]
    assert metrics.with_truth(confusion).tolist() == [True, False, True, False]
    everywhere = np.array([[3, 1], [0, 4]])
    assert metrics.mean_iou_over_true_classes(everywhere) == metrics.mean_iou(everywhere)


def test_without_an_ignored_label_all_pixels_count_and_nothing_at_all_counts_nothing():
    labels = np.array([0, 1, 1])
    assert metrics.confusion_matrix(labels, labels, 2, ignore=None).tolist() == [[1, 0], [0, 2]]
    with pytest.raises(ValueError, match=r"label ids \[255\] are outside"):
        metrics.confusion_matrix(np.array([255]), np.array([0]), 2, ignore=None)
    assert metrics.confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]
