"""Binary cross-entropy of planes, as sums, against its formula and optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from segjax.errors import InputError
from segjax.losses import (
    ClassWeightedCrossEntropy,
    PositiveWeightedCrossEntropy,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(3 * RNG.normal(size=(2, 4, 5, 3)), jnp.float32)
LABEL = RNG.choice([0, 1, 255], size=LOGITS.shape).astype(np.uint8)
WEIGHT = RNG.uniform(0, 3, LABEL.shape).astype(np.float32)
COUNTED = LABEL != 255


def terms(logits, loss=sigmoid_cross_entropy, **batch):
    batch = {key: jnp.asarray(value) for key, value in batch.items()}
    return loss(logits, batch)["binary_cross_entropy"]


def in_float64(logits, label, weight):
    """(total, weight) by the textbook's −log p and −log(1 − p)."""
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    entropy = np.where(label == 1, -np.log(p), -np.log1p(-p))
    counted = label != 255
    return (weight * entropy)[counted].sum(), np.broadcast_to(weight, label.shape)[
        counted
    ].sum()


@pytest.mark.parametrize("weight", [None, WEIGHT, WEIGHT[..., 0]], ids=["1", "bhwk", "bhw"])
def test_total_and_weight_equal_the_formula_in_float64(weight):
    extra = {} if weight is None else {"weight": weight}
    own = 1.0 if weight is None else weight if weight.ndim == 4 else weight[..., None]
    got = terms(LOGITS, label=LABEL, **extra)
    np.testing.assert_allclose(got, in_float64(LOGITS, LABEL, own), rtol=2e-6)


def test_it_is_optaxs_loss_over_what_is_not_ignored():
    by_pixel = optax.sigmoid_binary_cross_entropy(LOGITS, jnp.asarray(LABEL == 1, jnp.float32))
    total, weight = terms(LOGITS, label=LABEL)
    np.testing.assert_allclose(total, by_pixel[COUNTED].sum(), rtol=1e-6)
    assert weight == COUNTED.sum()


def test_one_plane_takes_labels_with_and_without_the_axis():
    flat = terms(LOGITS[..., :1], label=LABEL[..., 0], weight=WEIGHT[..., 0])
    assert flat == terms(LOGITS[..., :1], label=LABEL[..., :1], weight=WEIGHT[..., :1])
    np.testing.assert_allclose(
        flat, in_float64(LOGITS[..., 0], LABEL[..., 0], WEIGHT[..., 0]), rtol=2e-6
    )


def test_masks_of_planes_equal_the_subsets_that_they_leave():
    total = weight = 0.0
    for k in range(3):
        kept = np.flatnonzero(COUNTED[..., k])
        part = lambda x, k=k, kept=kept: jnp.asarray(x[..., k].ravel()[kept]).reshape(
            1, 1, -1, 1
        )
        got = terms(part(LOGITS), label=part(LABEL), weight=part(WEIGHT))
        total, weight = total + got[0], weight + got[1]
    got = terms(LOGITS, label=LABEL, weight=WEIGHT)
    np.testing.assert_allclose(got, (total, weight), rtol=2e-6)


def test_large_scores_lose_nothing():
    scores = jnp.asarray([[[[-1e30], [-90.0], [20.0], [90.0], [1e30]]]])
    right = jnp.where(scores > 0, 1, 0)
    assert terms(scores[:, :, 2:3], label=right[:, :, 2:3])[0] == pytest.approx(
        np.log1p(np.exp(-20.0)), rel=1e-5
    )
    total = lambda x, label: terms(x, label=label)[0]
    assert np.isfinite(jax.grad(total)(scores, right)).all()
    assert total(scores[:, :, 1:4], 1 - right[:, :, 1:4]) == pytest.approx(200)
    np.testing.assert_array_equal(jax.grad(total)(scores, 1 - right).ravel(), [-1, -1, 1, 1, 1])


def test_gradient_and_curvature_are_the_functions_own():
    for loss in (sigmoid_cross_entropy, PositiveWeightedCrossEntropy((0.5, 2.0, 4.0))):
        total = lambda x, loss=loss: terms(jnp.asarray(x), loss, label=LABEL, weight=WEIGHT)[0]
        with jax.enable_x64(True):
            check_grads(total, (np.asarray(LOGITS, np.float64),), order=2, modes=["rev"])
        gradient = jax.grad(total)(LOGITS)
        assert not np.any(gradient[~COUNTED]) and np.all(gradient[COUNTED] != 0)


def test_bfloat16_scores_are_summed_in_float32():
    total, weight = terms(LOGITS.astype(jnp.bfloat16), label=LABEL)
    assert total.dtype == weight.dtype == jnp.float32


def test_a_batch_of_ignored_pixels_has_no_total_and_no_weight():
    assert terms(LOGITS, label=np.full(LABEL.shape, 255, np.uint8)) == (0.0, 0.0)


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
@pytest.mark.parametrize("by", ["label 255", "weight 0"])
def test_whatever_a_pixel_holds_that_does_not_count_total_and_gradient_do_not_know(value, by):
    hidden = np.zeros(LABEL.shape, bool)
    hidden[0, 1, 2], hidden[1, :, :, 1] = True, True
    label = np.where(COUNTED, LABEL, 0)
    batch = {"label": np.where(hidden, 255, label)}
    if by == "weight 0":
        batch = {"label": label, "weight": np.where(hidden, 0.0, 1.0).astype(np.float32)}
    spoilt = jnp.where(hidden, value, LOGITS)
    total = lambda x, batch: terms(x, **batch)[0]
    for wrap in (lambda f: f, jax.jit):
        run = wrap(jax.value_and_grad(total))
        expected, found = run(LOGITS, batch), run(spoilt, batch)
        assert np.isfinite(expected[0]) and np.any(expected[1])
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_weights_of_ignored_pixels_may_be_anything():
    spoilt = np.where(COUNTED, WEIGHT, np.nan)
    for run in (terms, jax.jit(terms)):
        assert run(LOGITS, label=LABEL, weight=spoilt) == run(
            LOGITS, label=LABEL, weight=WEIGHT
        )


@pytest.mark.parametrize(
    "loss", [sigmoid_cross_entropy, PositiveWeightedCrossEntropy((1.0,) * 3)]
)
@pytest.mark.parametrize("wrong", [-1, 2, 254, 256, -256])
def test_a_label_that_is_not_0_1_or_255_is_an_error_outside_of_jit_and_nan_inside(loss, wrong):
    batch = {"label": jnp.asarray(LABEL, jnp.int32).at[1, 2, 0, 1].set(wrong)}
    with pytest.raises(
        ValueError, match=rf"hold 0, 1 or 255 \(ignored\), got \[{wrong}\]: map"
    ):
        loss(LOGITS, batch)
    assert np.isnan(jax.jit(loss)(LOGITS, batch)["binary_cross_entropy"]).all()
    total = lambda x: jax.jit(loss)(x, batch)["binary_cross_entropy"][0]
    assert np.isnan(jax.grad(total)(LOGITS)[1, 2, 0, 1])


@pytest.mark.parametrize("weight", [-0.5, np.nan, np.inf])
def test_a_weight_that_is_none_is_an_error_outside_of_jit_and_nan_inside(weight):
    place = tuple(np.argwhere(COUNTED)[0])
    batch = {"label": jnp.asarray(LABEL), "weight": jnp.ones(LABEL.shape).at[place].set(weight)}
    with pytest.raises(ValueError, match=f"finite and at least 0, got {weight}"):
        sigmoid_cross_entropy(LOGITS, batch)
    assert np.isnan(jax.jit(sigmoid_cross_entropy)(LOGITS, batch)["binary_cross_entropy"]).all()


@pytest.mark.parametrize(
    ("key", "shape", "logits"),
    [
        ("label", (2, 4, 5), LOGITS),
        ("label", (2, 4, 5, 1), LOGITS),
        ("label", (1, 4, 5, 3), LOGITS),
        ("label", (2, 4, 5, 2), LOGITS[..., :1]),
        ("weight", (2, 4, 5, 1), LOGITS),
        ("weight", (4, 5), LOGITS),
        ("weight", (2, 1, 5), LOGITS),
    ],
)
def test_maps_that_are_not_the_logits_size_are_refused_with_both_shapes(key, shape, logits):
    batch = {"label": jnp.zeros(logits.shape, int), key: jnp.ones(shape, int)}
    weighted = PositiveWeightedCrossEntropy((1.0,) * logits.shape[-1])
    for loss in (sigmoid_cross_entropy, weighted):
        for run in (loss, jax.jit(loss)):
            with pytest.raises(ValueError) as raised:
                run(logits, batch)
            assert str(logits.shape) in str(raised.value) and str(shape) in str(raised.value)


def test_probabilities_are_not_labels():
    with pytest.raises(ValueError, match="planes of a label must be integers, .*float32"):
        sigmoid_cross_entropy(LOGITS, {"label": jnp.full(LABEL.shape, 0.7)})


def test_positive_weights_are_pixel_weights_where_the_plane_is_1():
    weights = (0.5, 2.0, 4.0)
    by_pixel = np.where(LABEL == 1, np.asarray(weights, np.float32), 1)
    for own, extra in ((1.0, {}), (WEIGHT, {"weight": WEIGHT})):
        got = terms(LOGITS, PositiveWeightedCrossEntropy(weights), label=LABEL, **extra)
        expected = terms(LOGITS, label=LABEL, weight=(by_pixel * own).astype(np.float32))
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    of_one = terms(
        LOGITS[..., :1],
        PositiveWeightedCrossEntropy((3.0,)),
        label=LABEL[..., 0],
        weight=WEIGHT[..., 0],
    )
    own = np.where(LABEL == 1, 3, 1)[..., 0] * WEIGHT[..., 0]
    np.testing.assert_allclose(
        of_one, in_float64(LOGITS[..., 0], LABEL[..., 0], own), rtol=2e-6
    )
    with pytest.raises(ValueError, match="loss.weights has 2 numbers for 3 classes"):
        terms(LOGITS, PositiveWeightedCrossEntropy((1.0, 1.0)), label=LABEL)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0, -1.0), "above 0, one per class, got -1.0"),
        ((1.0, 0.0), "above 0, one per class, got 0.0"),
        ((float("nan"),), "above 0, one per class, got nan"),
        ((float("inf"), 1.0), "above 0, one per class, got inf"),
        ((), r"above 0, one per class\."),
    ],
)
def test_positive_weights_that_cannot_weigh_are_refused_when_they_are_given(weights, message):
    with pytest.raises(InputError, match=f"^loss.weights=.*{message}"):
        PositiveWeightedCrossEntropy(weights)


def test_labels_that_are_not_integers_are_told_what_a_plane_holds():
    batch = {"label": jnp.full((1, 2, 2, 2), 0.7)}
    with pytest.raises(ValueError, match="The planes of a label must be integers.*got float32"):
        sigmoid_cross_entropy(jnp.zeros((1, 2, 2, 2)), batch)


@pytest.mark.parametrize("loss", [PositiveWeightedCrossEntropy, ClassWeightedCrossEntropy])
@pytest.mark.parametrize("weights", [3.0, None, "ab"])
def test_weights_that_are_no_tuple_are_refused(loss, weights):
    # Made past the type checker that the tests alone have.
    unchecked = object.__new__(loss)
    object.__setattr__(unchecked, "weights", weights)
    with pytest.raises(
        InputError, match=r"^loss.weights=.* must be a tuple of one number per cl"
    ):
        unchecked.__post_init__()


def test_the_softmax_over_one_class_names_both_ways_out():
    with pytest.raises(
        ValueError, match=r"num_classes=2\), or one plane, with task=Multilabel"
    ):
        softmax_cross_entropy(jnp.zeros((1, 2, 2, 1)), {"label": jnp.zeros((1, 2, 2), int)})
