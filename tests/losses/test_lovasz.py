"""The Lovász losses against their definition, the extension of a set function."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from segjax.losses import LovaszHinge, LovaszSoftmax
from segjax.losses.lovasz import jaccard_slopes

RNG = np.random.default_rng(0)


def jaccard_loss(wrong: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """|M| / |G ∪ M| of the wrong pixels M and the true pixels G, as measured by weights."""
    union = weight[wrong | truth].sum()
    return weight[wrong].sum() / union if union else 0.0


def extension(error: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """The integral over t of the Jaccard loss of the pixels with error ≥ t (Choquet)."""
    levels = np.unique(np.append(error, 0.0))
    heights = np.diff(levels)
    return sum(
        height * jaccard_loss(error >= level, truth, weight)
        for height, level in zip(heights, levels[1:], strict=True)
    )


def of_classes(probability, label, weight) -> float:
    """The mean over the classes present of an image's extensions."""
    counted = (label != 255) & (weight > 0)
    p, g, w = probability[counted], label[counted], weight[counted]
    by_class = [
        extension(np.abs((g == c) - p[:, c]), g == c, w)
        for c in range(p.shape[1])
        if (g == c).any()
    ]
    return float(np.mean(by_class))


def softmax(scores) -> np.ndarray:
    e = np.exp(np.asarray(scores, np.float64))
    return e / e.sum(-1, keepdims=True)


LOGITS = RNG.normal(size=(3, 4, 5, 4)).astype(np.float32)
LABEL = RNG.choice([0, 1, 2, 255], size=LOGITS.shape[:-1]).astype(np.uint8)
WEIGHT = RNG.choice([0.0, 0.5, 1.0, 3.0], size=LABEL.shape).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_softmax_loss_is_the_mean_over_images_of_the_extensions_of_classes(weighted):
    weight = WEIGHT if weighted else np.ones_like(WEIGHT)
    batch = {
        "label": jnp.asarray(LABEL),
        **({"weight": jnp.asarray(weight)} if weighted else {}),
    }
    total, count = LovaszSoftmax()(jnp.asarray(LOGITS), batch)["lovasz"]
    expected = [of_classes(softmax(LOGITS[i]), LABEL[i], weight[i]) for i in range(3)]
    np.testing.assert_allclose(total, sum(expected), rtol=1e-5)
    assert count == 3


def test_an_absent_class_costs_its_largest_probability_if_all_classes_count():
    label = jnp.zeros((1, 2, 3), int)
    scores = jnp.asarray(RNG.normal(size=(1, 2, 3, 2)), jnp.float32)
    total, _ = LovaszSoftmax(classes="all")(scores, {"label": label})["lovasz"]
    p = softmax(scores)[0]
    truth = np.ones(6, bool)
    present = extension(1 - p[..., 0].ravel(), truth, np.ones(6))
    np.testing.assert_allclose(total, (present + p[..., 1].max()) / 2, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_hinge_loss_is_the_mean_over_planes_of_the_extensions_of_hinges(weighted):
    label = RNG.choice([0, 1, 255], size=LOGITS.shape).astype(np.uint8)
    label[1, ..., 2] = 0  # A plane without an object.
    label[2, ..., 3] = 255  # A plane that does not count.
    weight = np.broadcast_to(WEIGHT[..., None], label.shape)
    weight = weight if weighted else np.ones_like(weight)
    expected = []
    for i, c in itertools.product(range(3), range(4)):
        at = (label[i, ..., c] != 255) & (weight[i, ..., c] > 0)
        g, w = label[i, ..., c][at] == 1, weight[i, ..., c][at]
        z = LOGITS[i, ..., c][at].astype(np.float64)
        if at.any():
            expected.append(extension(np.maximum(0, 1 - np.where(g, z, -z)), g, w))
    extra = {"weight": jnp.asarray(WEIGHT)} if weighted else {}
    found = LovaszHinge()(jnp.asarray(LOGITS), {"label": jnp.asarray(label), **extra})
    np.testing.assert_allclose(found["lovasz"][0], sum(expected), rtol=1e-5)
    assert found["lovasz"][1] == len(expected) == 11


def test_at_errors_of_0_and_1_the_extension_is_the_jaccard_loss_of_every_set():
    sets = list(itertools.product([False, True], repeat=4))
    wrong, truth = np.array(list(itertools.product(sets, repeat=2))).transpose(1, 0, 2)
    weight = np.broadcast_to([1.0, 2.0, 0.5, 1.0], wrong.shape)
    rows = lambda x, dtype: jnp.asarray(x, dtype)[None]
    slopes = jaccard_slopes(
        rows(wrong, jnp.float32), rows(truth, bool), rows(weight, jnp.float32)
    )
    found = (np.asarray(slopes)[0] * wrong).sum(-1)
    expected = [jaccard_loss(*row) for row in zip(wrong, truth, weight, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_equal_errors_share_the_loss_whatever_their_order():
    # At the start of training all scores may be equal.
    label = jnp.asarray(RNG.permutation([0] * 30 + [1] * 6).reshape(1, 6, 6))
    found = LovaszSoftmax()(jnp.zeros((1, 6, 6, 2)), {"label": label})["lovasz"][0]
    # Both errors are 1/2 everywhere, and Δ of all pixels is 1.
    np.testing.assert_allclose(found, 0.5, rtol=1e-6)
