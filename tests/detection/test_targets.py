"""Targets of both stages for given samples."""

import pathlib
import runpy

import jax.numpy as jnp
import numpy as np

from segjax.detection.matching import IGNORED, NEGATIVE, POSITIVE, Matches
from segjax.detection.sampling import Sample
from segjax.detection.targets import (
    Truth,
    anchor_targets,
    match_rois,
    roi_targets,
    with_truth,
)

BOXES = runpy.run_path(str(pathlib.Path(__file__).with_name("boxes.py")))
decoded = BOXES["decoded"]
random_boxes = BOXES["random_boxes"]

RNG = np.random.default_rng(0)
TRUTH = Truth(
    jnp.asarray(np.concatenate([random_boxes(RNG, 3), np.zeros((2, 4), np.float32)])),
    jnp.array([4, 7, 2, 0, 0]),
    jnp.array([True, True, True, False, False]),
)
ANCHORS = jnp.asarray(random_boxes(RNG, 6))
MATCHES = Matches(
    jnp.array([0, 2, 1, 0, 4, 1]),
    jnp.array([POSITIVE, NEGATIVE, POSITIVE, IGNORED, NEGATIVE, POSITIVE]),
)
SAMPLE = Sample(jnp.array([5, 0, 4, 1, 3]), jnp.array([True, True, True, True, False]))


def test_deltas_of_sampled_anchors_decode_to_their_true_boxes():
    found = anchor_targets(ANCHORS, MATCHES, SAMPLE, TRUTH)
    assert found.is_object.tolist() == [True, True, False, False, False]
    assert found.index.tolist() == SAMPLE.index.tolist()
    for slot, anchor, truth in (0, 5, 1), (1, 0, 0):
        box = decoded(np.asarray(found.deltas[slot]), np.asarray(ANCHORS[anchor]))
        np.testing.assert_allclose(box, TRUTH.boxes[truth], rtol=1e-5, atol=1e-4)
    assert not np.asarray(found.deltas[2:]).any()


def test_sampled_proposals_have_the_class_and_the_box_of_their_truth():
    weights = (10.0, 10.0, 5.0, 5.0)
    found = roi_targets(ANCHORS, MATCHES, SAMPLE, TRUTH, weights=weights)
    assert found.classes.tolist() == [7, 4, 0, 0, 0]
    assert found.truth[:2].tolist() == [1, 0]
    np.testing.assert_array_equal(found.boxes[:4], ANCHORS[SAMPLE.index[:4]])
    assert found.boxes[4].tolist() == [0, 0, 1, 1]
    for slot, truth in (0, 1), (1, 0):
        box = decoded(np.asarray(found.deltas[slot]), np.asarray(found.boxes[slot]), weights)
        np.testing.assert_allclose(box, TRUTH.boxes[truth], rtol=1e-5, atol=1e-4)
    assert not np.asarray(found.deltas[2:]).any()


def test_true_boxes_are_proposals_and_empty_slots_are_not():
    boxes, valid = with_truth(ANCHORS, jnp.ones(6, bool).at[2].set(False), TRUTH)
    matches = match_rois(boxes, valid, TRUTH, positive=0.5)
    assert matches.label[6:].tolist() == [POSITIVE] * 3 + [IGNORED] * 2
    assert matches.truth[6:9].tolist() == [0, 1, 2]
    assert matches.label[2] == IGNORED
