"""Cross-entropy of the hardest pixels, against a choice by sorting in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.losses import OHEMCrossEntropy, TopKCrossEntropy, softmax_cross_entropy

RNG = np.random.default_rng(0)
LOGITS = (2 * RNG.normal(size=(3, 5, 6, 4))).astype(np.float32)
LABEL = RNG.choice([0, 1, 2, 3, 255], size=LOGITS.shape[:-1]).astype(np.uint8)
WEIGHT = RNG.choice([0.0, 0.5, 3.0], size=LABEL.shape).astype(np.float32)
CLASSES = (0.5, 1.0, 0.0, 2.0)


def entropy_and_weight(i: int, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """−log p and weight of the pixels of an image that count, hardest first."""
    scores = LOGITS[i].astype(np.float64)
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    index = np.where(LABEL[i] == 255, 0, LABEL[i]).astype(int)
    entropy = -np.take_along_axis(log_p, index[..., None], -1)[..., 0]
    at = (LABEL[i] != 255) & (weight[i] > 0)
    order = np.argsort(-entropy[at])
    return entropy[at][order], weight[i][at][order]


def batch_and_weight(kind: str) -> tuple[dict, np.ndarray, dict]:
    by_class = np.array([*CLASSES, *[0.0] * 252])[LABEL]
    batch = {"label": jnp.asarray(LABEL)}
    if kind == "map":
        return {**batch, "weight": jnp.asarray(WEIGHT)}, WEIGHT, {}
    if kind == "classes":
        return batch, by_class, {"weights": CLASSES}
    return batch, np.ones(LABEL.shape), {}


@pytest.mark.parametrize("kind", ["1", "map", "classes"])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_share_of_each_images_hardest_pixels_is_kept(kind, share):
    batch, weight, fields = batch_and_weight(kind)
    total = count = 0.0
    for i in range(3):
        entropy, w = entropy_and_weight(i, weight)
        kept = math.ceil(share * len(w) - 1e-9)
        total, count = total + (entropy * w)[:kept].sum(), count + w[:kept].sum()
    found = TopKCrossEntropy(share, **fields)(jnp.asarray(LOGITS), batch)["cross_entropy"]
    np.testing.assert_allclose(found, (total, count), rtol=1e-5)


@pytest.mark.parametrize("kind", ["1", "map", "classes"])
@pytest.mark.parametrize(("threshold", "least"), [(0.7, 0.05), (0.01, 0.3), (0.3, 0.5)])
def test_pixels_below_the_threshold_are_kept_and_at_least_a_share(kind, threshold, least):
    batch, weight, fields = batch_and_weight(kind)
    total = count = 0.0
    for i in range(3):
        entropy, w = entropy_and_weight(i, weight)
        kept = max(math.ceil(least * len(w) - 1e-9), int((np.exp(-entropy) < threshold).sum()))
        total, count = total + (entropy * w)[:kept].sum(), count + w[:kept].sum()
    loss = OHEMCrossEntropy(threshold, min_kept=least, **fields)
    found = loss(jnp.asarray(LOGITS), batch)["cross_entropy"]
    np.testing.assert_allclose(found, (total, count), rtol=1e-5)


def test_of_equally_hard_pixels_as_many_are_kept_as_of_others():
    batch = {"label": jnp.zeros((2, 5, 6), int)}
    for loss in (TopKCrossEntropy(0.2), OHEMCrossEntropy(0.1, min_kept=0.2)):
        total, weight = loss(jnp.zeros((2, 5, 6, 4)), batch)["cross_entropy"]
        assert weight == 2 * 6
        np.testing.assert_allclose(total, 12 * np.log(4), rtol=1e-6)


def test_all_pixels_kept_are_the_cross_entropy():
    batch, *_ = batch_and_weight("map")
    expected = softmax_cross_entropy(jnp.asarray(LOGITS), batch)["cross_entropy"]
    for loss in (TopKCrossEntropy(1.0), OHEMCrossEntropy(1.0, min_kept=1.0)):
        found = loss(jnp.asarray(LOGITS), batch)["cross_entropy"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_pixels_that_are_not_kept_have_no_gradient():
    batch = {"label": jnp.asarray(np.where(LABEL == 255, 0, LABEL))}
    total = lambda z: TopKCrossEntropy(0.1)(z, batch)["cross_entropy"][0]
    moved = np.abs(jax.grad(total)(jnp.asarray(LOGITS))).sum(-1) > 0
    np.testing.assert_array_equal(moved.sum((1, 2)), 3)


@pytest.mark.parametrize(
    ("loss", "field", "value", "message"),
    [
        (TopKCrossEntropy, "share", 0.0, "above 0 and at most 1"),
        (TopKCrossEntropy, "share", 1.5, "above 0 and at most 1"),
        (OHEMCrossEntropy, "threshold", 0.0, "above 0 and at most 1"),
        (OHEMCrossEntropy, "min_kept", float("nan"), "above 0 and at most 1"),
        (OHEMCrossEntropy, "weights", (0.0, 0.0), "no weight above 0"),
    ],
)
def test_fields_that_choose_nothing_are_refused(loss, field, value, message):
    with pytest.raises(InputError, match=f"^loss.{field}=.*{message}"):
        loss(**{field: value})
