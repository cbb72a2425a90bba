"""Sums of losses: terms, their weights and names; which labels a loss is for."""

import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.contracts import LossOfSums
from segjax.errors import InputError
from segjax.experiment import load, override
from segjax.losses import Dice, LovaszSoftmax, Sum, softmax_cross_entropy

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(2, 4, 5, 3)), jnp.float32)
BATCH = {"label": jnp.asarray(RNG.choice([0, 1, 2, 255], size=(2, 4, 5)), jnp.uint8)}


def value(term) -> float:
    return float(term.value() if isinstance(term, LossOfSums) else term[0] / term[1])


def test_each_term_is_that_of_its_loss_times_its_weight():
    parts = ((softmax_cross_entropy, 2.0), (Dice(), 0.5), (LovaszSoftmax(), 3.0))
    terms = Sum(parts)(LOGITS, BATCH)
    assert list(terms) == ["cross_entropy", "dice", "lovasz"]
    for (loss, weight), term in zip(parts, terms.values(), strict=True):
        (alone,) = loss(LOGITS, BATCH).values()
        assert value(term) == pytest.approx(weight * value(alone), rel=1e-6)


def test_terms_of_one_name_are_numbered_and_sums_may_hold_sums():
    twice = Sum(((Dice(), 1.0), (Dice("image"), 1.0)))
    terms = Sum(((twice, 2.0), (Dice(classes="all"), 1.0)))(LOGITS, BATCH)
    assert list(terms) == ["dice", "dice_2", "dice_3"]
    (alone,) = Dice()(LOGITS, BATCH).values()
    assert value(terms["dice"]) == pytest.approx(2 * value(alone), rel=1e-6)


def test_a_loss_of_ones_own_may_say_its_activation_and_need_not():
    def unknown(logits, batch):
        return softmax_cross_entropy(logits, batch)

    loss = Sum(((unknown, 1.0), (Dice(activation="sigmoid"), 1.0)))
    assert list(losses.activations(loss)) == [("unknown", None), ("Dice", "sigmoid")]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "must be a tuple of pairs"),
        ((softmax_cross_entropy, 1.0), r"losses.0=.* must be a pair .*needs a comma"),
        (((softmax_cross_entropy,),), "losses.0=.* must be a pair"),
        (((softmax_cross_entropy, 0.0),), r"losses.0.1=0.0 must be a number above 0"),
        (((softmax_cross_entropy, float("nan")),), r"losses.0.1=nan must be a number"),
        (
            ((softmax_cross_entropy, 1.0), (Dice(activation="sigmoid"), 1.0)),
            r"different kinds of labels: softmax_cross_entropy \(softmax\), Dice \(sigmoid\)",
        ),
    ],
)
def test_a_sum_that_cannot_be_taken_is_refused(parts, message):
    unchecked = object.__new__(Sum)  # Past the type checker that the tests alone have.
    object.__setattr__(unchecked, "losses", parts)
    with pytest.raises(InputError, match=f"^loss.*{message}"):
        unchecked.__post_init__()


def test_a_class_in_place_of_a_loss_is_refused():
    with pytest.raises(InputError, match=r"loss.losses.1.0: Dice is a class; write Dice\(\)."):
        Sum(((softmax_cross_entropy, 1.0), (Dice, 0.5)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"loss: Dice is a class; write Dice\(\)."):
        override(load("experiments/quickstart.py"), "loss=segjax.losses.Dice")
