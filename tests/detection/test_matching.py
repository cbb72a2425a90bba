"""Matching against loops, on boxes where ties are common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.detection.matching import IGNORED, NEGATIVE, POSITIVE, Matches, match, taken
from segjax.ops.boxes import box_iou


def by_loops(iou, valid, positive, negative, low_quality):
    """The paper's three rules, one box at a time."""
    n, m = iou.shape
    truth, label = np.zeros(n, int), np.full(n, NEGATIVE)
    for i in range(n):
        overlaps = [(iou[i, j], -j) for j in range(m) if valid[j]]
        best, j = max(overlaps, default=(-1.0, 0))
        truth[i] = -j
        if best >= np.float32(positive):
            label[i] = POSITIVE
        elif best >= np.float32(negative):
            label[i] = IGNORED
        for j in range(m) if low_quality else ():
            if valid[j] and iou[i, j] == iou[:, j].max() > 0:
                label[i] = POSITIVE
    return truth, label


@pytest.mark.parametrize("low_quality", [True, False])
def test_matches_are_those_of_loops_over_boxes_and_truth(low_quality):
    rng = np.random.default_rng(0)
    matched = jax.jit(
        lambda a, b, valid: match(
            box_iou(a, b), valid, positive=0.7, negative=0.3, low_quality=low_quality
        )
    )
    seen = set()
    for _ in range(50):
        # Whole numbers up to 6, so that many overlaps are equal.
        corner = rng.integers(0, 4, (2, 40, 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 4, (2, 40, 2))], -1)
        a, b = boxes[0].astype(np.float32), boxes[1, :6].astype(np.float32)
        valid = rng.random(6) < 0.6
        iou = np.asarray(jax.jit(box_iou)(a, b))
        truth, label = by_loops(iou, valid, 0.7, 0.3, low_quality)
        found = matched(a, b, valid)
        np.testing.assert_array_equal(found.label, label)
        if valid.any():
            np.testing.assert_array_equal(found.truth, truth)
        seen |= set(label.tolist())
    assert seen == {POSITIVE, NEGATIVE, IGNORED}


def test_a_low_quality_match_keeps_its_own_best_truth():
    iou = jnp.array([[0.4, 0.5], [0.2, 0.9]])
    found = match(iou, jnp.array([True, True]), positive=0.7, negative=0.3, low_quality=True)
    # The first box overlaps truth 0 the most of all boxes, and itself overlaps truth 1 more.
    assert found.label.tolist() == [POSITIVE, POSITIVE]
    assert found.truth.tolist() == [1, 1]


def test_a_truth_that_overlaps_no_box_matches_none():
    iou = jnp.array([[0.0, 0.8], [0.0, 0.0]])
    found = match(iou, jnp.array([True, True]), positive=0.7, negative=0.3, low_quality=True)
    assert found.label.tolist() == [POSITIVE, NEGATIVE]


def test_without_any_truth_every_box_is_negative():
    found = match(
        jnp.ones((3, 2)), jnp.zeros(2, bool), positive=0.5, negative=0.5, low_quality=True
    )
    assert found.label.tolist() == [NEGATIVE] * 3


def test_only_positive_boxes_take_the_value_of_their_truth():
    matches = Matches(jnp.array([1, 1, 0]), jnp.array([POSITIVE, NEGATIVE, IGNORED]))
    assert taken(jnp.array([7, 9]), matches).tolist() == [9, 0, 0]
