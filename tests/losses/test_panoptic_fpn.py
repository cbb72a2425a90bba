"""Panoptic FPN's loss: the detector's terms, and the branch's mean over valid pixels."""

import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.losses import PanopticFPN, TwoStage, softmax_cross_entropy

RNG = np.random.default_rng(0)


def _array(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def _case():
    """Returns outputs and targets with an image that has no object."""
    outputs = {
        "objectness": _array(2, 3),
        "anchor_deltas": _array(2, 3, 4),
        "logits": _array(2, 2, 3),
        "deltas": _array(2, 2, 3, 4),
        "semantic": 3 * _array(2, 5, 6, 4),
    }
    targets = {
        "anchor_drawn": jnp.asarray([[True] * 3] * 2),
        "anchor_is_object": jnp.asarray([[True, False, False], [False] * 3]),
        "anchor_deltas": _array(2, 3, 4),
        "drawn": jnp.asarray([[True] * 2] * 2),
        "classes": jnp.asarray([[2, 0], [0, 0]]),
        "deltas": _array(2, 2, 4),
        "semantic": jnp.asarray(RNG.choice([0, 1, 2, 3, 255], (2, 5, 6))),
    }
    return outputs, targets


def test_the_semantic_term_is_the_mean_over_valid_pixels_times_its_weight():
    outputs, targets = _case()
    logits, label = np.asarray(outputs["semantic"], float), np.asarray(targets["semantic"])
    losses = []
    for image, row, column in np.argwhere(label != 255):
        scores = logits[image, row, column]
        true = scores[label[image, row, column]]
        losses.append(np.log(np.exp(scores).sum()) - true)
    total, weight = PanopticFPN(weight=0.25)(outputs, targets)["semantic"]
    assert weight == len(losses) < label.size
    np.testing.assert_allclose(total / weight, 0.25 * np.mean(losses), rtol=1e-5)


def test_the_detectors_terms_are_those_of_its_own_loss():
    outputs, targets = _case()
    found = PanopticFPN(two_stage=TwoStage(beta=0.5))(outputs, targets)
    expected = TwoStage(beta=0.5)(outputs, targets)
    assert set(found) == {*expected, "semantic"}
    assert all(found[name] == expected[name] for name in expected)


def test_a_label_that_is_no_class_is_an_error():
    outputs, targets = _case()
    targets["semantic"] = targets["semantic"].at[0, 0, 0].set(4)
    with pytest.raises(ValueError, match="4"):
        PanopticFPN()(outputs, targets)
    with pytest.raises(ValueError, match="4"):
        softmax_cross_entropy(outputs["semantic"], {"label": targets["semantic"]})


def test_a_network_without_the_branch_and_a_weight_of_zero_are_refused():
    outputs, targets = _case()
    del outputs["semantic"]
    with pytest.raises(ValueError, match=r"use model=PanopticFPN\(...\)"):
        PanopticFPN()(outputs, targets)
    with pytest.raises(InputError, match="weight"):
        PanopticFPN(weight=0.0)
