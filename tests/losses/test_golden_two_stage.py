"""One training step of a two-stage detector against torchvision's, with the samples it drew."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.detection.sampling import Sample
from segjax.detection.targets import (
    Truth,
    anchor_targets,
    match_anchors,
    match_rois,
    roi_targets,
    with_truth,
)
from segjax.ops.anchors import anchors
from segjax.ops.crop_masks import crop_masks

FOLDER = pathlib.Path(__file__).parent
MADE = runpy.run_path(str(FOLDER / "make_golden_two_stage.py"))
COUNT, MASKS = len(MADE["OBJECTS"]), MADE["ROIS_POSITIVE"]


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(FOLDER / "golden_two_stage.npz"))


@pytest.fixture(scope="module")
def step():
    made = MADE["step"]()
    made["packed"] = np.packbits(made.pop("masks"), axis=-1)
    return {key: jnp.asarray(value) for key, value in made.items()}


def all_anchors():
    levels = zip(MADE["GRIDS"], MADE["STRIDES"], MADE["SIZES"], strict=True)
    ratios = (0.5, 1.0, 2.0)
    return jnp.concatenate(
        [anchors(g, stride=(s, s), sizes=(size,), ratios=ratios) for g, s, size in levels]
    )


def truth_of(step, b):
    valid = jnp.arange(MADE["MOST"]) < MADE["OBJECTS"][b]
    return Truth(step["truth"][b], step["classes"][b], valid)


def sample_of(drawn, b, count):
    """Returns torchvision's draw of an image in `count` slots, those of objects first."""
    index = np.concatenate([np.flatnonzero(kind[b]) for kind in drawn])
    left_over = np.zeros(count - len(index), int)
    index = jnp.asarray(np.concatenate([index, left_over]), jnp.int32)
    return Sample(index, jnp.arange(count) < count - len(left_over))


def matches_of_anchors(step, b):
    return match_anchors(all_anchors(), truth_of(step, b), positive=0.7, negative=0.3)


def test_every_anchor_has_torchvisions_label(step, golden):
    for b in range(COUNT):
        found = matches_of_anchors(step, b)
        np.testing.assert_array_equal(found.label, golden["anchor_labels"][b])
    assert set(golden["anchor_labels"].ravel().tolist()) == {-1, 0, 1}


def first_stage(step, sample, b):
    """Returns outputs and targets of an image's anchors."""
    matches = matches_of_anchors(step, b)
    found = anchor_targets(all_anchors(), matches, sample, truth_of(step, b))
    outputs = {key: step[key][b][found.index] for key in ("objectness", "anchor_deltas")}
    return outputs, {
        "anchor_drawn": found.drawn,
        "anchor_is_object": found.is_object,
        "anchor_deltas": found.deltas,
    }


def second_stage(step, sample, b):
    """Returns outputs and targets of an image's proposals."""
    truth, every = truth_of(step, b), jnp.ones(MADE["PROPOSALS"], bool)
    boxes, valid = with_truth(step["proposals"][b], every, truth)
    matches = match_rois(boxes, valid, truth, positive=0.5)
    found = roi_targets(boxes, matches, sample, truth, weights=(10.0, 10.0, 5.0, 5.0))
    masks = crop_masks(
        step["packed"][b],
        found.boxes[:MASKS],
        found.truth[:MASKS],
        size=MADE["MASK"],
        width=MADE["IMAGE"][1],
    )
    outputs = {key: step[key][b][sample.index] for key in ("logits", "deltas")}
    outputs["masks"] = step["mask_logits"][b][sample.index[:MASKS]]
    targets = {key: getattr(found, key) for key in ("drawn", "classes", "deltas")}
    return outputs, {**targets, "masks": masks}


@jax.jit
def terms_of(step, samples):
    """Returns the terms of all images; `samples` has (of anchors, of proposals) of each."""
    images = []
    for b, (of_anchors, of_rois) in enumerate(samples):
        pairs = first_stage(step, of_anchors, b), second_stage(step, of_rois, b)
        images.append([{**one, **other} for one, other in zip(*pairs, strict=True)])
    outputs, targets = jax.tree.map(lambda *each: jnp.stack(each), *images)
    return losses.TwoStage()(outputs, targets)


def test_the_five_losses_are_torchvisions(step, golden):
    kinds = ("anchors_drawn", "ANCHORS_SAMPLED"), ("rois_drawn", "ROIS_SAMPLED")
    samples = [
        [sample_of(golden[drawn], b, MADE[count]) for drawn, count in kinds]
        for b in range(COUNT)
    ]
    terms = terms_of(step, samples)
    names = "rpn_objectness", "rpn_boxes", "classes", "boxes", "masks"
    for name, wanted in zip(names, golden["losses"], strict=True):
        total, weight = terms[name]
        np.testing.assert_allclose(total / weight, wanted, rtol=1e-5, err_msg=name)
