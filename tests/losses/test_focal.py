"""Focal losses and label smoothing against their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.losses import (
    ClassWeightedCrossEntropy,
    SigmoidFocal,
    SmoothedCrossEntropy,
    SoftmaxFocal,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)

RNG = np.random.default_rng(0)
LOGITS = (2 * RNG.normal(size=(2, 4, 5, 3))).astype(np.float32)
LABEL = RNG.choice([0, 1, 2, 255], size=LOGITS.shape[:-1]).astype(np.uint8)
PLANES = RNG.choice([0, 1, 255], size=LOGITS.shape).astype(np.uint8)
WEIGHT = RNG.uniform(0, 3, LABEL.shape).astype(np.float32)
CLASSES = (0.5, 0.0, 2.0)
BATCH = {"label": jnp.asarray(LABEL), "weight": jnp.asarray(WEIGHT)}


def log_softmax() -> np.ndarray:
    scores = LOGITS.astype(np.float64)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def true(values: np.ndarray) -> np.ndarray:
    """The value at each pixel's true class; of ignored pixels that of class 0."""
    index = np.where(LABEL == 255, 0, LABEL).astype(int)
    return np.take_along_axis(values, index[..., None], -1)[..., 0]


def pixel_weight(classes) -> np.ndarray:
    return WEIGHT * (LABEL != 255) * true(np.broadcast_to(classes, LOGITS.shape))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("classes", [None, CLASSES])
def test_the_focal_loss_of_the_softmax_is_its_formula(gamma, classes):
    p, w = np.exp(true(log_softmax())), pixel_weight(classes or (1.0, 1.0, 1.0))
    total = (w * (1 - p) ** gamma * -np.log(p)).sum()
    found = SoftmaxFocal(gamma, classes)(jnp.asarray(LOGITS), BATCH)["focal"]
    np.testing.assert_allclose(found, (total, w.sum()), rtol=1e-5)


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_of_the_sigmoid_is_its_formula(gamma, alpha):
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    p, w = np.where(PLANES == 1, p, 1 - p), WEIGHT[..., None] * (PLANES != 255)
    by = 1.0 if alpha is None else np.where(PLANES == 1, alpha, 1 - alpha)
    total = (w * by * (1 - p) ** gamma * -np.log(p)).sum()
    batch = {**BATCH, "label": jnp.asarray(PLANES)}
    found = SigmoidFocal(gamma, alpha)(jnp.asarray(LOGITS), batch)["focal"]
    np.testing.assert_allclose(found, (total, w.sum()), rtol=1e-5)


def test_at_gamma_0_focal_losses_are_cross_entropies():
    for focal, entropy, label in (
        (SoftmaxFocal(0.0), softmax_cross_entropy, LABEL),
        (SigmoidFocal(0.0, None), sigmoid_cross_entropy, PLANES),
    ):
        batch = {**BATCH, "label": jnp.asarray(label)}
        (found,), (expected,) = (
            loss(jnp.asarray(LOGITS), batch).values() for loss in (focal, entropy)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_pixel_that_is_surely_right_has_a_finite_gradient(gamma):
    scores = jnp.asarray([[[[200.0, 0.0, -200.0]]]])
    of_softmax = lambda z: SoftmaxFocal(gamma)(z, {"label": jnp.zeros((1, 1, 1), int)})
    of_planes = lambda z: SigmoidFocal(gamma)(z, {"label": jnp.asarray([[[[1, 0, 0]]]])})
    for loss in (of_softmax, of_planes):
        value, gradient = jax.value_and_grad(lambda z, f=loss: f(z)["focal"][0])(scores)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("classes", [None, CLASSES])
def test_smoothing_is_the_cross_entropy_with_a_share_of_every_class(smoothing, classes):
    truth = (1 - smoothing) * (LABEL[..., None] == np.arange(3)) + smoothing / 3
    w = pixel_weight(classes or (1.0, 1.0, 1.0))
    total = (w * -(truth * log_softmax()).sum(-1)).sum()
    found = SmoothedCrossEntropy(smoothing, classes)(jnp.asarray(LOGITS), BATCH)
    np.testing.assert_allclose(found["cross_entropy"], (total, w.sum()), rtol=1e-5)
    if classes and not smoothing:
        plain = ClassWeightedCrossEntropy(classes)(jnp.asarray(LOGITS), BATCH)
        np.testing.assert_allclose(found["cross_entropy"], plain["cross_entropy"], rtol=1e-6)


def test_without_a_factor_infinite_scores_of_the_other_classes_are_no_trouble():
    logits = jnp.asarray([[[[2.0, -jnp.inf, -jnp.inf]]]])
    total, _ = SoftmaxFocal(gamma=0.0)(logits, {"label": jnp.zeros((1, 1, 1), jnp.uint8)})[
        "focal"
    ]
    assert float(total) == 0
