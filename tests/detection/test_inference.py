"""Found objects against loops over proposals and classes."""

import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from segjax.detection.inference import find

BOXES = runpy.run_path(str(pathlib.Path(__file__).with_name("boxes.py")))
clipped, decoded, greedy, random_boxes = (
    BOXES[n] for n in ("clipped", "decoded", "greedy", "random_boxes")
)

BOXES = runpy.run_path(str(pathlib.Path(__file__).with_name("boxes.py")))
clipped = BOXES["clipped"]
decoded = BOXES["decoded"]
greedy = BOXES["greedy"]
random_boxes = BOXES["random_boxes"]

SIZE, CLASSES = (40, 50), 4
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
OPTIONS = {"weights": WEIGHTS, "score": 0.2, "iou": 0.3, "least_side": 1e-2}


def made(seed, count=40):
    """Returns logits, deltas, proposals, and which of them are valid."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, CLASSES)).astype(np.float32)
    deltas = rng.normal(0, 3, (count, CLASSES, 4)).astype(np.float32)
    return logits, deltas, random_boxes(rng, count), rng.random(count) < 0.9


def by_loops(logits, deltas, rois, valid, *, most):
    """torchvision's order: scores, clipping, tiny boxes, suppression by class, the best."""
    boxes, scores, classes = [], [], []
    for r in np.flatnonzero(valid):
        shares = np.exp(logits[r]) / np.exp(logits[r]).sum()
        for k in range(1, CLASSES):
            box = clipped(decoded(deltas[r, k], rois[r], WEIGHTS), SIZE)
            if shares[k] > 0.2 and (box[2:] - box[:2] >= 1e-2).all():
                boxes.append(box)
                scores.append(shares[k])
                classes.append(k)
    kept = greedy(np.array(boxes), np.array(scores), 0.3, classes)[:most]
    return np.array(boxes)[kept], np.array(classes)[kept], np.array(scores)[kept]


def test_objects_are_those_of_loops():
    run = jax.jit(partial(find, **OPTIONS, candidates=120, most=100))
    for seed in range(6):
        boxes, classes, scores = by_loops(*made(seed), most=100)
        found = run(*made(seed), jnp.array(SIZE))
        count = len(boxes)
        assert np.asarray(found.valid).sum() == count > 5
        np.testing.assert_allclose(found.boxes[:count], boxes, atol=1e-4)
        np.testing.assert_array_equal(found.classes[:count], classes)
        np.testing.assert_allclose(found.scores[:count], scores, rtol=1e-5)
        assert not np.asarray(found.scores[count:]).any()


def test_few_candidates_give_the_same_objects_if_enough_of_them_are_kept():
    everything = find(
        *map(jnp.asarray, made(0)), jnp.array(SIZE), **OPTIONS, candidates=120, most=5
    )
    few = find(*map(jnp.asarray, made(0)), jnp.array(SIZE), **OPTIONS, candidates=25, most=5)
    assert np.asarray(few.valid).all()
    for one, other in zip(everything, few, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_found_without_valid_proposals():
    logits, deltas, rois, valid = map(jnp.asarray, made(1))
    found = find(
        logits, deltas, rois, jnp.zeros_like(valid), jnp.array(SIZE), **OPTIONS,
        candidates=30, most=7,
    )  # fmt: skip
    assert not np.asarray(found.valid).any()
    assert found.boxes.tolist() == [[0, 0, 1, 1]] * 7
