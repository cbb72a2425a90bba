"""Scores of planes at a threshold and at all, against direct computations."""

import numpy as np
import pytest

from segjax import metrics
from segjax import threshold_metrics as planes

RNG = np.random.default_rng(0)
SHAPE = (5, 17, 13, 3)
LABEL = RNG.choice([0, 1, 255], SHAPE, p=[0.6, 0.3, 0.1]).astype(np.uint8)
P = np.clip(0.35 * (LABEL == 1) + RNG.uniform(0, 0.8, SHAPE), 0, 1).astype(np.float32)
P[0, 0, :4] = [[0.0], [1.0], [0.5], [127 / 256]]
HISTOGRAM = planes.probability_histogram(LABEL, P)


def direct(score, threshold, k):
    """A score of class k by sets of pixels."""
    counted = LABEL[..., k] != 255
    true, found = LABEL[..., k][counted] == 1, P[..., k][counted] >= threshold
    both = np.sum(true & found)
    return {
        "iou": both / np.sum(true | found),
        "dice": 2 * both / (true.sum() + found.sum()),
        "precision": both / found.sum(),
        "recall": both / true.sum(),
    }[score]


SCORES = ("iou", "dice", "precision", "recall")


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("threshold", [0.5, 0.3, 1 / 256])
def test_scores_at_a_threshold_equal_sets_of_pixels(score, threshold):
    found = getattr(planes, score)(planes.binary_confusion(LABEL, P >= threshold))
    expected = [direct(score, threshold, k) for k in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("score", SCORES)
def test_scores_at_all_thresholds_equal_those_at_each(score):
    curve = getattr(planes, score)(planes.confusion_by_threshold(HISTOGRAM))
    assert curve.shape == (3, 256)
    for i, threshold in enumerate(planes.thresholds(HISTOGRAM)):
        at_this = planes.binary_confusion(LABEL, P >= np.float32(threshold))
        np.testing.assert_array_equal(curve[:, i], getattr(planes, score)(at_this))


def test_one_plane_scores_like_the_object_of_two_classes():
    truth, found = LABEL[..., 0], (P[..., 0] >= 0.5).astype(np.uint8)
    two = metrics.confusion_matrix(truth, found, 2)
    one = planes.binary_confusion(truth[..., None], found[..., None])[0]
    np.testing.assert_array_equal(one, two)
    assert planes.iou(one) == metrics.iou(two)[1]
    iou = planes.iou(one)
    assert planes.dice(one) == pytest.approx(2 * iou / (1 + iou), rel=1e-15)


def test_counts_of_a_set_are_sums_over_any_batching_in_64_bits():
    by_image = [planes.probability_histogram(y, p) for y, p in zip(LABEL, P, strict=True)]
    np.testing.assert_array_equal(sum(by_image), HISTOGRAM)
    confusion = [planes.binary_confusion(y, p >= 0.5) for y, p in zip(LABEL, P, strict=True)]
    np.testing.assert_array_equal(sum(confusion), planes.binary_confusion(LABEL, P >= 0.5))
    assert HISTOGRAM.dtype == confusion[0].dtype == np.int64
    many = HISTOGRAM * 2**31
    assert planes.confusion_by_threshold(many).sum() == 256 * many.sum() > 2**40


def test_ignored_pixels_change_no_score():
    other = np.where(LABEL == 255, np.float32(1) - P, P)
    np.testing.assert_array_equal(planes.probability_histogram(LABEL, other), HISTOGRAM)
    np.testing.assert_array_equal(
        planes.absolute_error(LABEL, other), planes.absolute_error(LABEL, P)
    )
    assert HISTOGRAM.sum() == np.sum(LABEL != 255)


def test_a_class_that_is_nowhere_has_no_score_and_is_left_out_of_means():
    confusion = np.array(
        [[[5, 0], [0, 0]], [[5, 2], [0, 0]], [[0, 0], [3, 0]], [[1, 1], [1, 3]]]
    )
    nan = np.nan
    np.testing.assert_array_equal(planes.iou(confusion), [nan, 0, 0, 3 / 5])
    np.testing.assert_array_equal(planes.dice(confusion), [nan, 0, 0, 6 / 8])
    np.testing.assert_array_equal(planes.precision(confusion), [nan, 0, nan, 3 / 4])
    np.testing.assert_array_equal(planes.recall(confusion), [nan, nan, 0, 3 / 4])
    assert planes.mean_over_classes(planes.iou(confusion)) == pytest.approx(0.2)
    assert np.isnan(planes.mean_over_classes(planes.iou(confusion[:1])))


def test_the_best_threshold_is_the_one_of_the_largest_mean_dice():
    by_loop = [
        np.mean([direct("dice", threshold, k) for k in range(3)])
        for threshold in planes.thresholds(HISTOGRAM)
    ]
    best = planes.best_threshold(HISTOGRAM)
    assert by_loop[int(best * 256)] == max(by_loop) and 0.2 < best < 0.6
    # Of many equal ones, that far from both sides.
    apart = planes.probability_histogram([[0], [1]], np.array([[0.25], [0.75]]))
    assert planes.best_threshold(apart) == pytest.approx(0.5, abs=1 / 256)
    assert np.isnan(planes.best_threshold(np.zeros((2, 2, 256), int)))


def test_absolute_errors_are_sums_with_their_pixels():
    for k, (total, pixels) in enumerate(planes.absolute_error(LABEL, P)):
        counted = LABEL[..., k] != 255
        error = np.abs(np.float64(P[..., k]) - LABEL[..., k])[counted]
        assert total == pytest.approx(error.sum(), rel=1e-12) and pixels == counted.sum()


def test_the_maximal_f_measure_is_that_of_means_over_images():
    """As the authors' tool computes it: pixel by pixel, no histogram."""
    images = [(y[..., :1], p[..., :1]) for y, p in zip(LABEL, P, strict=True)]
    pre, rec = np.zeros(256), np.zeros(256)
    for y, p in images:
        y, p = y[y != 255], p[y != 255]
        for i in range(256):
            found = p >= i / 256
            pre[i] += np.sum(y[found] == 1) / max(found.sum(), 1) / len(images)
            rec[i] += np.sum(y[found] == 1) / np.sum(y == 1) / len(images)
    expected = np.max(1.3 * pre * rec / (0.3 * pre + rec + 1e-300))
    curves = [planes.image_curves(planes.probability_histogram(*image)) for image in images]
    means = np.mean(curves, axis=0)[:, 0]
    assert planes.f_measure(*means).max() == pytest.approx(expected, rel=1e-12)
    of_the_set = planes.confusion_by_threshold(HISTOGRAM[:1])
    other = planes.f_measure(planes.precision(of_the_set), planes.recall(of_the_set)).max()
    assert other != pytest.approx(expected, rel=1e-4)


def test_f_measure_of_beta_1_is_dice():
    confusion = planes.confusion_by_threshold(HISTOGRAM)
    found = planes.f_measure(
        planes.precision(confusion), planes.recall(confusion), beta_squared=1.0
    )
    np.testing.assert_allclose(found, planes.dice(confusion), rtol=1e-12)


def test_an_image_without_the_class_has_no_curve_and_one_without_prediction_precision_0():
    none = planes.probability_histogram(np.zeros((4, 1), int), np.full((4, 1), 0.5))
    assert np.isnan(planes.image_curves(none)).all()
    unseen = planes.probability_histogram(np.ones((4, 1), int), np.full((4, 1), 0.5))
    precision, recall = planes.image_curves(unseen)
    assert precision[0, 128] == recall[0, 128] == 1 and precision[0, 129] == recall[0, 129] == 0


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: planes.binary_confusion([[2]], [[0]]), r"labels of planes .* got \[2\]"),
        (lambda: planes.binary_confusion([[0]], [[255]]), r"hold 0 and 1, got \[255\]"),
        (lambda: planes.binary_confusion([[0]], [[0.5]]), "predictions must be class ids"),
        (lambda: planes.binary_confusion(0, 0), "must have a last axis"),
        (lambda: planes.binary_confusion([[0, 1]], [[0]]), r"\(1, 2\) .* \(1, 1\)"),
        (lambda: planes.probability_histogram([[0]], [[1.5]]), "0 to 1, got 1.5"),
        (lambda: planes.probability_histogram([[0]], [[np.nan]]), "0 to 1, got nan"),
        (lambda: planes.probability_histogram([[0]], [[1]]), "must be floats"),
        (lambda: planes.probability_histogram([[0]], [0.5]), r"\(1, 1\) .* \(1,\)"),
        (lambda: planes.absolute_error([[0, 0]], [[0.5]]), r"\(1, 2\) .* \(1, 1\)"),
        (lambda: planes.iou(np.eye(2)), "holds counts, … 2 2, got float64"),
        (lambda: planes.dice(np.ones((3, 3), int)), r"of shape \(3, 3\)"),
    ],
)
def test_what_cannot_be_counted_is_an_error_that_names_it(run, message):
    with pytest.raises(ValueError, match=message):
        run()
