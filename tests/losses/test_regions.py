"""Losses of regions against their formulas, in float64 and loop by loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import LossOfSums
from segjax.errors import InputError
from segjax.losses import Dice, GeneralizedDice, Jaccard, Tversky

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 4, 5, 4)).astype(np.float32)
# Class 3 has no pixel; the last image has class 0 alone.
LABEL = RNG.choice([0, 1, 2, 255], size=LOGITS.shape[:-1]).astype(np.uint8)
LABEL[2][LABEL[2] != 255] = 0
PLANES = RNG.choice([0, 1, 255], size=LOGITS.shape).astype(np.uint8)
PLANES[..., 3] = 0  # A plane without an object,
PLANES[..., 2] = 255  # and one that does not count.
WEIGHT = RNG.choice([0.0, 0.5, 3.0], size=LABEL.shape).astype(np.float32)


def probability_truth_weight(activation: str, weight: np.ndarray):
    """p, g and w b h w k, with w = 0 where a pixel does not count."""
    scores = LOGITS.astype(np.float64)
    weight = np.broadcast_to(weight[..., None], LOGITS.shape)
    if activation == "softmax":
        p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        return p, LABEL[..., None] == np.arange(4), weight * (LABEL != 255)[..., None]
    return 1 / (1 + np.exp(-scores)), PLANES == 1, weight * (PLANES != 255)


def dice(p, g, w, s=1.0, squared=False):
    return 1 - (2 * (w * p * g).sum() + s) / (
        (w * (p**2 if squared else p)).sum() + (w * g).sum() + s
    )


def jaccard(p, g, w, s=1.0):
    both = (w * p * g).sum()
    return 1 - (both + s) / ((w * p).sum() + (w * g).sum() - both + s)


def tversky(p, g, w, alpha=0.3, beta=0.7, gamma=1.0, s=1.0):
    both, wrong, missed = (w * p * g).sum(), (w * p * ~g).sum(), (w * (1 - p) * g).sum()
    index = (both + s) / (both + alpha * wrong + beta * missed + s)
    return (1 - index) ** (1 / gamma)


def mean_of(formula, classes: str):
    """The mean over the classes that count; None if none does."""

    def loss(p, g, w):
        counts = [(w * (g if classes == "present" else 1))[..., c].sum() > 0 for c in range(4)]
        found = [formula(p[..., c], g[..., c], w[..., c]) for c in range(4) if counts[c]]
        return np.mean(found) if found else None

    return loss


def generalized(p, g, w, classes: str):
    """The score of Sudre et al., with the largest weight for absent classes of "all"."""
    true, counts = (w * g).sum((0, 1)), w.sum((0, 1)) > 0
    largest = max([1 / t**2 for t in true if t] or [1.0])
    v = np.array([1 / t**2 if t else largest * (classes == "all") for t in true]) * counts
    both = (w * p * g).sum((0, 1))
    whole = (v * ((w * p).sum((0, 1)) + true)).sum()
    return 1 - 2 * (v * both).sum() / whole if whole else None


CASES = {
    "dice": (Dice, {}, dice),
    "squared": (
        Dice,
        {"squared": True, "smooth": 0.0},
        lambda p, g, w: dice(p, g, w, 0.0, True),
    ),
    "jaccard": (Jaccard, {"smooth": 0.5}, lambda p, g, w: jaccard(p, g, w, 0.5)),
    "tversky": (Tversky, {}, tversky),
    "focal tversky": (
        Tversky,
        {"alpha": 0.2, "beta": 0.9, "gamma": 4 / 3},
        lambda p, g, w: tversky(p, g, w, 0.2, 0.9, 4 / 3),
    ),
    "generalized": (GeneralizedDice, {}, None),
}


def found(loss, weighted: bool) -> float:
    label = jnp.asarray(LABEL if loss.activation == "softmax" else PLANES)
    batch = {"label": label, **({"weight": jnp.asarray(WEIGHT)} if weighted else {})}
    (term,) = loss(jnp.asarray(LOGITS), batch).values()
    return float(term.value() if isinstance(term, LossOfSums) else term[0] / term[1])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("case", CASES)
def test_a_loss_is_its_formula_over_the_batch_and_over_images(case, activation, weighted):
    loss, fields, formula = CASES[case]
    p, g, w = probability_truth_weight(activation, WEIGHT if weighted else np.ones_like(WEIGHT))
    for classes in ("present", "all"):
        if formula is None:
            of = lambda p, g, w, classes=classes: generalized(p, g, w, classes)
        else:
            of = mean_of(formula, classes)
        flat = lambda x: x.reshape(1, -1, 4)
        whole = of(flat(p), flat(g), flat(w))
        images = [of(*image) for image in zip(p, g, w, strict=True)]
        for over, expected in (
            ("batch", whole),
            ("image", np.mean([x for x in images if x is not None])),
        ):
            built = loss(over=over, activation=activation, classes=classes, **fields)
            np.testing.assert_allclose(
                found(built, weighted), expected, rtol=2e-5, err_msg=str(built)
            )


@pytest.mark.parametrize("loss", [Dice, GeneralizedDice, Jaccard, Tversky])
def test_without_classes_a_softmax_counts_those_present_and_planes_count_all(loss):
    for activation, classes in (("softmax", "present"), ("sigmoid", "all")):
        assert found(loss(activation=activation), False) == found(
            loss(activation=activation, classes=classes), False
        )


def test_tversky_is_dice_at_a_half_and_jaccard_at_one():
    assert found(Tversky(0.5, 0.5, smooth=0.5), True) == pytest.approx(found(Dice(), True))
    assert found(Tversky(1.0, 1.0), True) == pytest.approx(found(Jaccard(), True))


@pytest.mark.parametrize("over", ["batch", "image"])
@pytest.mark.parametrize("loss", [Dice, GeneralizedDice, Jaccard, Tversky])
def test_a_perfect_prediction_costs_nothing_and_has_a_finite_gradient(loss, over):
    label = jnp.asarray(LABEL)
    scores = 200.0 * jax.nn.one_hot(label, 4)

    def value(scores):
        (term,) = built(scores, {"label": label}).values()
        return term.value() if isinstance(term, LossOfSums) else term[0] / term[1]

    fields = {} if loss is GeneralizedDice else {"smooth": 0.0}
    for extra in ({}, {"gamma": 4 / 3}) if loss is Tversky else ({},):
        built = loss(over=over, **fields, **extra)
        loss_value, gradient = jax.value_and_grad(value)(scores)
        assert abs(loss_value) < 1e-6 and np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("loss", "field", "value", "message"),
    [
        (Dice, "over", "images", "one of 'batch', 'image'"),
        (Jaccard, "activation", "relu", "one of 'softmax', 'sigmoid'"),
        (GeneralizedDice, "classes", "some", "one of 'present', 'all', None"),
        (Dice, "smooth", -1.0, "at least 0"),
        (Tversky, "alpha", -0.1, "at least 0"),
        (Tversky, "gamma", 0.5, "at least 1"),
        (Tversky, "beta", float("nan"), "at least 0"),
    ],
)
def test_fields_out_of_range_are_refused(loss, field, value, message):
    unchecked = object.__new__(loss)  # Past the type checker that the tests alone have.
    for name, default in loss.__dataclass_fields__.items():
        object.__setattr__(unchecked, name, default.default)
    object.__setattr__(unchecked, field, value)
    with pytest.raises(InputError, match=f"^loss.{field}=.*{message}"):
        unchecked.__post_init__()


def test_a_tversky_index_that_counts_no_mistake_is_refused():
    with pytest.raises(InputError, match=r"^loss.alpha=0.0 must be a number above 0"):
        Tversky(0.0, 0.0)


@pytest.mark.parametrize(
    "loss", [Dice(classes="all", smooth=0.0), GeneralizedDice(), GeneralizedDice(classes="all")]
)
def test_a_weight_map_of_tiny_numbers_changes_neither_value_nor_gradient(loss):
    def of(logits, weight):
        (term,) = loss(logits, {"label": jnp.asarray(LABEL), "weight": weight}).values()
        return term.value()

    ones = jnp.ones(LABEL.shape)
    value, slope = jax.value_and_grad(of)(LOGITS, ones)
    tiny_value, tiny_slope = jax.value_and_grad(of)(LOGITS, 1e-25 * ones)
    assert float(tiny_value) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(tiny_slope, slope, rtol=1e-4, atol=1e-7)
