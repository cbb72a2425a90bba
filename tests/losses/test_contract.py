"""What holds for every loss: what is masked, wrong, empty, split over devices, described."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import segjax.losses
from segjax import losses
from segjax.class_weights import MedianFrequency, NegativesPerPositive
from segjax.contracts import Loss, LossOfSums
from segjax.description import describe_lines, replace_at, wrong_types
from segjax.errors import InputError

RNG = np.random.default_rng(0)
CE, BCE = losses.softmax_cross_entropy, losses.sigmoid_cross_entropy
WEIGHTS = (1.0, 0.5, 2.0, 1.5)
SOFTMAX = {
    "cross_entropy": CE,
    "class_weights": losses.ClassWeightedCrossEntropy(WEIGHTS),
    "smoothed": losses.SmoothedCrossEntropy(0.2, WEIGHTS),
    "focal": losses.SoftmaxFocal(2.0, WEIGHTS),
    "focal below 1": losses.SoftmaxFocal(0.5),
    "top_k": losses.TopKCrossEntropy(0.3, WEIGHTS),
    "ohem": losses.OHEMCrossEntropy(0.5, min_kept=0.2),
    "dice": losses.Dice(),
    "dice of images": losses.Dice("image"),
    "dice of all": losses.Dice(classes="all", squared=True),
    "generalized": losses.GeneralizedDice(),
    "generalized of all images": losses.GeneralizedDice("image", classes="all"),
    "tversky": losses.Tversky(gamma=4 / 3),
    "jaccard": losses.Jaccard("image"),
    "lovasz": losses.LovaszSoftmax(),
    "lovasz of all": losses.LovaszSoftmax(classes="all"),
    "boundary": losses.Boundary(),
    "sum": losses.Sum(((CE, 1.0), (losses.Dice(), 0.5), (losses.Dice("image"), 2.0))),
}
SIGMOID = {
    "cross_entropy": BCE,
    "positive_weights": losses.PositiveWeightedCrossEntropy(WEIGHTS),
    "focal": losses.SigmoidFocal(),
    "dice": losses.Dice(activation="sigmoid"),
    "dice of images": losses.Dice("image", "sigmoid"),
    "generalized": losses.GeneralizedDice(activation="sigmoid"),
    "tversky": losses.Tversky(activation="sigmoid"),
    "jaccard": losses.Jaccard(activation="sigmoid", classes="present"),
    "lovasz": losses.LovaszHinge(),
    "boundary": losses.Boundary("sigmoid"),
    "sum": losses.Sum(((BCE, 1.0), (losses.Dice(activation="sigmoid"), 1.0))),
}
ALL = {
    **{f"softmax {n}": (loss, "softmax") for n, loss in SOFTMAX.items()},
    **{f"sigmoid {n}": (loss, "sigmoid") for n, loss in SIGMOID.items()},
}
each = pytest.mark.parametrize(("loss", "kind"), ALL.values(), ids=ALL)
FAST = ("softmax ohem", "softmax lovasz", "softmax sum", "sigmoid dice of images")
few = lambda test: each(pytest.mark.slow_but(*FAST)(test))
"""Tests that compile: of the other losses they are slow."""

LOGITS = jnp.asarray(RNG.normal(size=(4, 4, 5, 4)), jnp.float32)
# The first image is ignored, the last two lack classes, and nothing is of class 3.
LABEL = RNG.choice([0, 1, 2, 255], size=LOGITS.shape[:-1]).astype(np.uint8)
LABEL[0] = 255
LABEL[2][LABEL[2] != 255] = 0
LABEL[3] = np.where(LABEL[3] == 2, 1, LABEL[3])
PLANES = RNG.choice([0, 1, 255], size=LOGITS.shape).astype(np.uint8)
PLANES[0] = 255
PLANES[2] = np.where(PLANES[2] == 1, 0, PLANES[2])
PLANES[..., 3] = np.where(PLANES[..., 3] == 1, 0, PLANES[..., 3])


def label_of(kind: str) -> jnp.ndarray:
    return jnp.asarray(LABEL if kind == "softmax" else PLANES, jnp.int32)


def value_of(terms: Any) -> Any:
    """The loss, as the train step takes it of sums over all devices."""
    total = jnp.zeros(())
    for term in terms.values():
        if isinstance(term, LossOfSums):
            total += term.value()
        else:
            whole, weight = term
            total += jnp.where(weight == 0, 0, whole / jnp.where(weight == 0, 1, weight))
    return total


@functools.cache
def compiled(loss: Loss) -> Any:
    """(logits, label, weight) -> (terms, value, gradient): one program for several tests."""

    def run(logits, label, weight):
        """Returns the loss's sums and, as the step takes them, value and gradient."""
        of = lambda z: (t := loss(z, {"label": label, "weight": weight}), value_of(t))[::-1]
        (value, terms), gradient = jax.value_and_grad(of, has_aux=True)(logits)
        return terms, value, gradient

    program = jax.jit(run)
    ones = jnp.ones(LABEL.shape)
    return lambda logits, label, weight=ones: jax.device_get(program(logits, label, weight))


@few
def test_what_an_ignored_pixel_holds_changes_neither_value_nor_gradient(loss, kind):
    label, run = label_of(kind), compiled(loss)
    hidden = label == 255 if kind == "sigmoid" else (label == 255)[..., None]
    _, value, gradient = run(LOGITS, label)
    assert np.isfinite(value) and np.isfinite(gradient).all() and np.any(gradient)
    assert not np.any(np.where(hidden, gradient, 0))
    for spoilt in (-np.inf, np.nan):
        found = run(jnp.where(hidden, spoilt, LOGITS), label)
        np.testing.assert_array_equal(found[1], value)
        np.testing.assert_array_equal(found[2], gradient)


@few
def test_pixels_of_weight_0_are_ignored_pixels(loss, kind):
    label, run = label_of(kind), compiled(loss)
    weight = jnp.asarray(RNG.choice([0.0, 1.0], LABEL.shape), jnp.float32)
    hidden = (weight == 0)[..., None]
    ignored = jnp.where(hidden if kind == "sigmoid" else hidden[..., 0], 255, label)
    _, value, gradient = run(LOGITS, ignored)
    found = run(jnp.where(hidden, np.nan, LOGITS), label, weight)
    np.testing.assert_allclose(found[1], value, rtol=1e-6)
    np.testing.assert_allclose(found[2], gradient, rtol=1e-5, atol=1e-8)


@few
def test_the_sums_of_a_batch_are_those_of_its_images(loss, kind):
    label, run = label_of(kind), compiled(loss)
    whole, *_ = run(LOGITS, label)
    at = jnp.arange(4).reshape(4, *[1] * (label.ndim - 1))
    images = [run(LOGITS, jnp.where(at == i, label, 255))[0] for i in range(4)]
    added = jax.tree.map(lambda *sums: np.sum(sums, axis=0), *images)
    near = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    jax.tree.map(near, added, whole)


@few
def test_a_batch_of_ignored_pixels_has_loss_0_and_gradient_0(loss, kind):
    _, value, gradient = compiled(loss)(LOGITS, jnp.full_like(label_of(kind), 255))
    assert value == 0 and not np.any(gradient)


@few
def test_a_wrong_label_or_weight_is_an_error_outside_of_jit_and_nan_inside(loss, kind):
    at = (1, 2, 3) if kind == "softmax" else (1, 2, 3, 0)
    label, weight = label_of(kind).at[at].set(0), jnp.ones(LABEL.shape)
    for wrong, by, message in (
        (label.at[at].set(77), weight, "77"),
        (label, weight.at[1, 2, 3].set(-1.0), "at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(LOGITS, {"label": wrong, "weight": by})
        _, value, gradient = compiled(loss)(LOGITS, wrong, by)
        assert np.isnan(value) and np.isnan(gradient).any(), message


@few
def test_bfloat16_logits_give_sums_in_float32_near_those_of_float32(loss, kind):
    batch = {"label": label_of(kind)}
    terms = loss(LOGITS.astype(jnp.bfloat16), batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(terms)} == {jnp.dtype(jnp.float32)}
    rounded = value_of(loss(LOGITS.astype(jnp.bfloat16).astype(jnp.float32), batch))
    np.testing.assert_allclose(value_of(terms), rounded, rtol=1e-6)


@each
def test_labels_of_the_other_kind_are_refused(loss, kind):
    other = label_of("sigmoid" if kind == "softmax" else "softmax")
    message = "not for planes" if kind == "softmax" else "one plane of 0, 1 or 255 a class"
    with pytest.raises(ValueError, match=message):
        loss(LOGITS, {"label": other})


@each
@pytest.mark.slow_but("softmax sum", "sigmoid dice of images")
def test_the_gradient_is_that_of_the_value_and_weights_have_none(loss, kind):
    with jax.enable_x64(True):
        logits, batch = jnp.asarray(LOGITS, jnp.float64), {"label": label_of(kind)}
        value = jax.jit(lambda z, batch: value_of(loss(z, batch)))
        check_grads(lambda z: value(z, batch), (logits,), order=1, modes=["rev"])

        def weight(z, batch):
            """Returns the sum of the weights of terms (total, weight)."""
            pairs = [t for t in loss(z, batch).values() if not isinstance(t, LossOfSums)]
            return sum((t[1] for t in pairs), jnp.zeros(()))

        assert not np.any(jax.jit(jax.grad(weight))(logits, batch))


@dataclasses.dataclass(frozen=True)
class Holder:
    loss: Loss


def text_of(loss: Any) -> str:
    """The expression of `--set` that stands for a loss."""
    if isinstance(loss, tuple):
        return f"({', '.join(map(text_of, loss))},)"
    if isinstance(loss, (int, float, str, type(None))):
        return repr(loss)
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    if not dataclasses.is_dataclass(loss):
        return f"segjax.losses.{name}"
    fields = {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}
    return f"segjax.losses.{name}({', '.join(f'{k}={text_of(v)}' for k, v in fields.items())})"


@each
def test_a_loss_is_set_by_its_public_name_and_described_by_it(loss, kind):
    built = replace_at(Holder(losses.softmax_cross_entropy), "loss", text_of(loss)).loss
    assert built == loss
    lines = list(describe_lines(loss, path="loss"))
    name = getattr(loss, "__name__", type(loss).__name__)
    assert lines[0].removesuffix("()") == f"loss = segjax.losses.{name}"
    assert not list(wrong_types(Holder(loss)))
    assert set(dict(losses.activations(loss)).values()) == {kind}


def test_every_public_name_of_the_room_is_its_own():
    for name in segjax.losses.__all__:
        member = getattr(segjax.losses, name)
        assert (member.__module__, member.__qualname__) == ("segjax.losses", name)


WEIGHTED = [
    getattr(losses, name)
    for name in losses.__all__
    if "weights" in getattr(getattr(losses, name), "__dataclass_fields__", {})
]


@pytest.mark.parametrize("loss", WEIGHTED)
def test_a_loss_with_class_weights_takes_a_rule_for_its_own_labels_alone(loss):
    rules = (MedianFrequency(), NegativesPerPositive())
    right, wrong = rules if loss.activation == "softmax" else rules[::-1]
    assert not list(wrong_types(loss(weights=right)))
    with pytest.raises(InputError, match="but this loss is for .*: use "):
        loss(weights=wrong)


def test_all_losses_with_class_weights_are_tried():
    assert len(WEIGHTED) == 6
