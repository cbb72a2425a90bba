"""Non-maximum suppression against the greedy loop in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops import nms as module
from segjax.ops.nms import nms

COUNT = 16


def _overlaps(boxes):
    """Returns the overlap of each pair in float64: cases n 4 -> cases n n."""
    boxes = boxes.astype(np.float64)
    a, b = boxes[:, :, None], boxes[:, None]
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    both = sides.prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    union = area[:, :, None] + area[:, None] - both
    return both / np.where(union > 0, union, 1)


def _greedy(overlaps, scores, *, iou, classes, valid):
    """Returns what the greedy loop keeps of one case."""
    kept = []
    for i in sorted(np.flatnonzero(valid), key=lambda i: -scores[i]):  # sorted() is stable.
        if all(classes[i] != classes[j] or overlaps[i, j] <= iou for j in kept):
            kept.append(i)
    return np.isin(np.arange(len(scores)), kept)


def _cases(count, *, whole, seed):
    """Returns cases with equal scores, equal boxes, classes and invalid boxes."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 30, (count, COUNT, 2))
    boxes = np.concatenate([first, first + rng.uniform(0, 40, (count, COUNT, 2))], -1)
    boxes = boxes.round() if whole else boxes
    boxes[:, 3] = boxes[:, 7]
    scores = rng.integers(0, 12, (count, COUNT)) / 8 if whole else rng.random((count, COUNT))
    classes = rng.integers(0, 3, (count, COUNT)).astype(np.int32)
    valid = rng.random((count, COUNT)) < 0.9
    return boxes.astype(np.float32), scores.astype(np.float32), classes, valid


@functools.cache
def _run(iou):
    one = lambda b, s, c, v: nms(b, s, iou=iou, classes=c, valid=v)
    return jax.jit(jax.vmap(one))


@pytest.mark.parametrize("iou, whole", [(0.5, True), (0.3, True), (0.7, False), (0.5, False)])
def test_ten_thousand_random_cases_are_those_of_the_greedy_loop_in_float64(iou, whole):
    # A quarter of them here. Whole pixels make overlaps that equal the bound: no rounding.
    boxes, scores, classes, valid = _cases(2500, whole=whole, seed=round(iou * 10))
    overlaps = _overlaps(boxes)
    if not whole:  # Where float32 cannot tell an overlap from the bound, no answer is exact.
        assert np.abs(overlaps - iou).min() > 1e-7
    found = np.asarray(_run(iou)(boxes, scores, classes, valid))
    for i, each in enumerate(overlaps):
        case = dict(classes=classes[i], valid=valid[i])
        expected = _greedy(each, scores[i], iou=iou, **case)
        np.testing.assert_array_equal(found[i], expected, err_msg=f"case {i}")


def test_a_box_that_is_suppressed_does_not_suppress():
    chain = jnp.asarray([[x, 0.0, x + 10, 10] for x in (0, 4, 8, 12, 16)])
    scores = jnp.asarray([0.9, 0.8, 0.7, 0.6, 0.5])
    kept = nms(chain, scores, iou=0.4)
    assert kept.tolist() == [True, False, True, False, True]


def test_an_overlap_equal_to_the_bound_is_kept():
    boxes = jnp.asarray([[0.0, 0, 10, 10], [0.0, 0, 10, 5], [0, 0, 10, 5.001]])
    assert nms(boxes, jnp.asarray([3.0, 2, 1]), iou=0.5).tolist() == [True, True, False]


def test_of_equal_scores_the_earlier_box_stays():
    boxes = jnp.asarray([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [0, 1, 10, 11]])
    assert nms(boxes, jnp.ones(3), iou=0.5).tolist() == [True, False, False]


def test_invalid_boxes_neither_stay_nor_suppress():
    boxes = jnp.asarray([[0.0, 0, 10, 10], [1.0, 0, 11, 10]])
    valid = jnp.asarray([False, True])
    assert nms(boxes, jnp.asarray([2.0, 1]), iou=0.5, valid=valid).tolist() == [False, True]


def test_the_answer_does_not_depend_on_the_size_of_tiles(monkeypatch):
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 60, (90, 2))
    boxes = jnp.asarray(np.concatenate([first, first + rng.uniform(1, 40, (90, 2))], 1), "f")
    scores = jnp.asarray(rng.random(90), "f")
    whole = nms(boxes, scores, iou=0.3)
    monkeypatch.setattr(module, "_TILE", 16)  # 90 boxes are 5 tiles and a rest.
    np.testing.assert_array_equal(nms(boxes, scores, iou=0.3), whole)
    assert 5 < whole.sum() < 80


def test_no_boxes_are_no_error():
    assert nms(jnp.zeros((0, 4)), jnp.zeros(0), iou=0.5).shape == (0,)
