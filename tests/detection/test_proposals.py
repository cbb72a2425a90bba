"""Proposals against loops."""

import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.detection.proposals import propose

BOXES = runpy.run_path(str(pathlib.Path(__file__).with_name("boxes.py")))
clipped, decoded, greedy, random_boxes = (
    BOXES[n] for n in ("clipped", "decoded", "greedy", "random_boxes")
)

BOXES = runpy.run_path(str(pathlib.Path(__file__).with_name("boxes.py")))
clipped = BOXES["clipped"]
decoded = BOXES["decoded"]
greedy = BOXES["greedy"]
random_boxes = BOXES["random_boxes"]

SIZE = (40, 50)
COUNTS = (60, 20, 5)


def made(seed):
    """Returns objectness, deltas and anchors of three levels."""
    rng = np.random.default_rng(seed)
    objectness = [rng.normal(size=n).astype(np.float32) for n in COUNTS]
    deltas = [rng.normal(0, 0.5, (n, 4)).astype(np.float32) for n in COUNTS]
    # Anchors reach over the border: what lies outside loses its area there.
    anchors = [random_boxes(rng, n) * 1.6 - np.float32(8) for n in COUNTS]
    return objectness, deltas, anchors


def by_loops(objectness, deltas, anchors, before, after, iou, least):
    boxes, scores, levels = [], [], []
    for level in range(len(objectness)):
        for i in np.argsort(-objectness[level], kind="stable")[:before]:
            box = clipped(decoded(deltas[level][i], anchors[level][i]), SIZE)
            if (box[2:] - box[:2] >= least).all():
                boxes.append(box)
                scores.append(objectness[level][i])
                levels.append(level)
    boxes, scores = np.array(boxes), np.array(scores)
    kept = greedy(boxes, scores, iou, levels)[:after]
    return boxes[kept], scores[kept]


@pytest.mark.parametrize(("before", "after"), [(30, 50), (100, 10)])
def test_proposals_are_those_of_loops(before, after):
    run = jax.jit(partial(propose, before=before, after=after, iou=0.5, least_side=1e-3))
    dropped = 0
    for seed in range(8):
        levels = made(seed)
        boxes, scores = by_loops(*levels, before, after, 0.5, 1e-3)
        found = run(*levels, jnp.array(SIZE))
        valid = np.asarray(found.valid)
        assert valid.sum() == len(boxes)
        # Valid slots come first.
        assert valid[: len(boxes)].all()
        np.testing.assert_allclose(found.boxes[: len(boxes)], boxes, atol=1e-4)
        np.testing.assert_allclose(found.scores[: len(boxes)], scores)
        assert (np.asarray(found.boxes)[~valid] == [0, 0, 1, 1]).all()
        dropped += sum(COUNTS) - len(boxes)
    assert dropped


def test_boxes_are_clipped_to_the_image_and_not_to_its_canvas():
    levels, size = jax.tree.map(jnp.asarray, made(0)), jnp.array([20, 30])
    found = propose(*levels, size, before=50, after=50, iou=0.9, least_side=1.0)
    boxes = np.asarray(found.boxes)
    assert boxes[:, 2].max() == 30 and boxes[:, 3].max() == 20
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_no_gradient_flows_through_proposals():
    objectness, deltas, anchors = jax.tree.map(jnp.asarray, made(0))

    def total(objectness, deltas):
        found = propose(
            objectness,
            deltas,
            anchors,
            jnp.array(SIZE),
            before=9,
            after=9,
            iou=1.0,
            least_side=0.0,
        )
        return found.boxes.sum() + jnp.where(found.valid, found.scores, 0).sum()

    gradients = jax.grad(total, argnums=(0, 1))(objectness, deltas)
    assert not any(np.asarray(each).any() for each in jax.tree.leaves(gradients))
