"""Boxes against loops in plain Python, and their coding against its own inverse."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from segjax.ops.boxes import (
    LARGEST_LOG_RATIO,
    box_area,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    sides_at_least,
)


def _boxes(count, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.uniform(-10, 50, (count, 2))
    return np.concatenate([first, first + rng.uniform(0, 40, (count, 2))], 1).astype("f")


def _iou(a, b):
    """Returns the overlap of two boxes in float64, by the definition."""
    a, b = (np.asarray(box, np.float64) for box in (a, b))
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    union = area(a) + area(b) - width * height
    return width * height / union if union else 0.0


def test_the_overlap_is_the_intersection_over_the_union():
    a, b = _boxes(17), _boxes(9, seed=1)
    expected = [[_iou(x, y) for y in b] for x in a]
    np.testing.assert_allclose(box_iou(jnp.asarray(a), jnp.asarray(b)), expected, atol=1e-6)


def test_boxes_without_area_overlap_nothing():
    points = jnp.asarray([[3.0, 3, 3, 3], [0, 0, 9, 9]])
    np.testing.assert_array_equal(box_iou(points, points), [[0, 0], [0, 1]])


def test_decoding_returns_the_encoded_boxes():
    truth, reference = jnp.asarray(_boxes(30) + 0.5), jnp.asarray(_boxes(30, seed=1))
    reference = reference.at[:, 2:].add(8)  # So that no side grows more than is decoded.
    truth = truth.at[:, 2:].add(1)
    for weights in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)):
        codes = encode_boxes(truth, reference, weights=weights)
        found = decode_boxes(codes, reference, weights=weights)
        np.testing.assert_allclose(found, truth, atol=1e-4)


def test_codes_by_hand():
    truth, reference = jnp.asarray([[10.0, 0, 30, 10]]), jnp.asarray([[0.0, 0, 10, 20]])
    codes = encode_boxes(truth, reference, weights=(1, 2, 1, 1))
    np.testing.assert_allclose(codes, [[1.5, -0.5, np.log(2), -np.log(2)]], rtol=1e-6)


def test_unused_slots_are_encoded_as_finite_numbers():
    zeros = jnp.zeros((2, 4))
    boxes = jnp.asarray([[0.0, 0, 8, 8], [0, 0, 0, 0]])
    assert jnp.isfinite(encode_boxes(zeros, boxes)).all()
    assert jnp.isfinite(encode_boxes(boxes, zeros)).all()


def test_sides_grow_at_most_by_the_bound():
    far = jnp.asarray([[0.0, 0, 50, 50]])
    found = decode_boxes(far, jnp.asarray([[0.0, 0, 16, 16]]))
    np.testing.assert_allclose(found, [[-492, -492, 508, 508]], rtol=1e-5)
    np.testing.assert_allclose(np.exp(LARGEST_LOG_RATIO), 62.5)


def test_deltas_of_many_classes_share_a_reference():
    deltas = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3, 4)), jnp.float32)
    reference = jnp.asarray(_boxes(5))
    found = decode_boxes(deltas, reference[:, None])
    for k in range(3):
        np.testing.assert_allclose(found[:, k], decode_boxes(deltas[:, k], reference))


def test_boxes_are_clipped_to_a_size_that_may_be_traced():
    boxes = _boxes(20)
    expected = np.stack(
        [boxes[:, i].clip(0, (33, 21)[i % 2]) for i in range(4)], -1
    )  # x by the width, y by the height
    np.testing.assert_array_equal(clip_boxes(jnp.asarray(boxes), (21, 33)), expected)
    run = jax.vmap(clip_boxes)
    sizes = jnp.asarray([[21, 33], [5, 6]])
    found = run(jnp.stack([jnp.asarray(boxes)] * 2), sizes)
    np.testing.assert_array_equal(found[0], expected)
    assert found[1].max() == 6


def test_areas_and_least_sides():
    boxes = jnp.asarray([[1.0, 2, 4, 4], [0, 0, 5, 0.5]])
    np.testing.assert_array_equal(box_area(boxes), [6, 2.5])
    np.testing.assert_array_equal(sides_at_least(boxes, 2), [True, False])
    np.testing.assert_array_equal(sides_at_least(boxes, 0.5), [True, True])


def test_gradients_of_decoding_are_those_of_finite_differences():
    with jax.enable_x64(True):
        deltas = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)))
        reference = jnp.asarray(_boxes(4), jnp.float64)
        check_grads(jax.jit(lambda d: decode_boxes(d, reference)), (deltas,), order=2)
