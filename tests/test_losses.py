"""Cross-entropy as sums, against its formula; labels on a network's own grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.losses import (
    ClassWeightedCrossEntropy,
    on_logits_grid,
    softmax_cross_entropy,
)

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(2, 4, 3, 5)), jnp.float32)
LABEL = RNG.choice([0, 1, 2, 3, 4, 255], size=(2, 4, 3)).astype(np.uint8)


def test_total_and_weight_equal_a_loop_over_pixels():
    total = weight = 0.0
    for index in np.ndindex(LABEL.shape):
        if LABEL[index] != 255:
            scores = np.asarray(LOGITS[index], np.float64)
            total += np.log(np.exp(scores).sum()) - scores[LABEL[index]]
            weight += 1
    got = softmax_cross_entropy(LOGITS, {"label": jnp.asarray(LABEL)})["cross_entropy"]
    np.testing.assert_allclose(got, (total, weight), rtol=1e-6)


def test_weights_scale_pixels_and_never_revive_ignored_ones():
    weight = jnp.asarray(RNG.uniform(0, 3, LABEL.shape), jnp.float32)
    batch = {"label": jnp.asarray(LABEL), "weight": weight}
    got = softmax_cross_entropy(LOGITS, batch)["cross_entropy"]
    at = lambda b, y, x: (slice(b, b + 1), slice(y, y + 1), slice(x, x + 1))
    by_pixel = [
        softmax_cross_entropy(LOGITS[at(*i)], {"label": jnp.asarray(LABEL[at(*i)])})
        for i in np.ndindex(LABEL.shape)
    ]
    expected = sum(
        w * term["cross_entropy"][0] for w, term in zip(weight.ravel(), by_pixel, strict=True)
    )
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)
    np.testing.assert_allclose(got[1], weight[LABEL != 255].sum(), rtol=1e-6)


def test_ignored_pixels_have_no_gradient():
    batch = {"label": jnp.asarray(LABEL)}
    total = lambda x: softmax_cross_entropy(jnp.asarray(x), batch)["cross_entropy"][0]
    gradient = jax.grad(total)(LOGITS)
    assert not np.any(gradient[LABEL == 255])
    assert np.all(np.abs(gradient[LABEL != 255]).sum(-1) > 0)
    check_grads(total, (LOGITS,), order=2, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_a_batch_of_ignored_pixels_has_no_total_and_no_weight():
    batch = {"label": jnp.full(LABEL.shape, 255, jnp.uint8)}
    assert softmax_cross_entropy(LOGITS, batch)["cross_entropy"] == (0.0, 0.0)


def test_bfloat16_logits_are_summed_in_float32():
    total, weight = softmax_cross_entropy(
        LOGITS.astype(jnp.bfloat16), {"label": jnp.asarray(LABEL)}
    )["cross_entropy"]
    assert total.dtype == weight.dtype == jnp.float32


def test_labels_and_weights_come_to_the_grid_together_and_images_stay():
    label = jnp.arange(2 * 9 * 11).reshape(2, 9, 11)
    batch = {"label": label, "weight": label * 2.0, "image": jnp.zeros((2, 9, 11, 3))}
    moved = on_logits_grid(batch, (3, 4), stride=2)
    np.testing.assert_array_equal(moved["weight"], moved["label"] * 2.0)
    np.testing.assert_array_equal(moved["label"][0], label[0, 2:8:2, 2:10:2])
    assert moved["image"].shape == (2, 9, 11, 3)


def test_logits_larger_than_their_labels_are_refused():
    with pytest.raises(ValueError, match="Logits of 5x5 are larger than their labels of 4x4"):
        on_logits_grid({"label": jnp.zeros((1, 4, 4))}, (5, 5))


def test_class_weights_are_pixel_weights_by_true_class():
    weights = (0.5, 1.0, 2.0, 0.0, 3.0)
    by_pixel = np.array([*weights, *[9.0] * 251], np.float32)[LABEL]
    own = jnp.asarray(RNG.uniform(0, 3, LABEL.shape), jnp.float32)
    for extra in ({}, {"weight": own}):
        got = ClassWeightedCrossEntropy(weights)(LOGITS, {"label": jnp.asarray(LABEL), **extra})
        weight = jnp.asarray(by_pixel) * extra.get("weight", 1.0)
        expected = softmax_cross_entropy(
            LOGITS, {"label": jnp.asarray(LABEL), "weight": weight}
        )
        np.testing.assert_allclose(got["cross_entropy"], expected["cross_entropy"], rtol=1e-6)
    with pytest.raises(ValueError, match="loss.weights has 2 numbers for 5 classes"):
        ClassWeightedCrossEntropy((1.0, 1.0))(LOGITS, {"label": jnp.asarray(LABEL)})
