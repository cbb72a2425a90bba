"""Optimizers against their formulas written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax.errors import InputError
from segjax.train.optimizer import (
    SGD,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    Poly,
    RMSProp,
    Staircase,
)

PARAMS = {
    "backbone": {
        "conv": {"kernel": jnp.asarray([1.0, -2.0])},
        "bn": {"scale": jnp.asarray([3.0])},
    },
    "head": {"kernel": jnp.asarray([0.5]), "bias": jnp.asarray([0.25])},
}
GRADIENTS = jax.tree.map(lambda p: 0.1 * p + 1.0, PARAMS)


def after(optimizer, steps: int):
    transform = optimizer.build(10, PARAMS)
    params, state = PARAMS, transform.init(PARAMS)
    for _ in range(steps):
        updates, state = transform.update(GRADIENTS, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_sgd_is_torchs_momentum_with_decay_in_the_gradient():
    params = after(SGD(Constant(0.1), momentum=0.9, weight_decay=0.01), 2)
    p, v = np.array([1.0, -2.0]), np.zeros(2)
    g = 0.1 * p + 1.0
    for _ in range(2):
        v = 0.9 * v + g + 0.01 * p
        p = p - 0.1 * v
    np.testing.assert_allclose(params["backbone"]["conv"]["kernel"], p, rtol=1e-6)


def test_rmsprop_divides_by_the_root_of_the_running_mean_square_with_decay_in_the_gradient():
    params = after(RMSProp(Constant(0.1), decay=0.9, eps=0.01, weight_decay=0.5), 3)
    p, square = np.array([1.0, -2.0]), np.zeros(2)
    gradient = 0.1 * p + 1.0
    for _ in range(3):
        g = gradient + 0.5 * p
        square = 0.9 * square + 0.1 * g**2
        p = p - 0.1 * g / np.sqrt(square + 0.01)
    np.testing.assert_allclose(params["backbone"]["conv"]["kernel"], p, rtol=1e-5)


def test_multipliers_scale_the_rate_of_the_paths_that_fit():
    plain = after(SGD(Constant(0.1), momentum=0.0), 1)
    scaled = after(
        SGD(Constant(0.1), momentum=0.0, multipliers=(("^backbone/", 0.1), ("bias$", 2.0))), 1
    )
    moved = lambda tree: jax.tree.map(lambda a, b: np.asarray(a - b), tree, PARAMS)
    factors = jax.tree.map(lambda a, b: a / b, moved(scaled), moved(plain))
    np.testing.assert_allclose(factors["backbone"]["conv"]["kernel"], 0.1, rtol=1e-4)
    np.testing.assert_allclose(factors["backbone"]["bn"]["scale"], 0.1, rtol=1e-5)
    np.testing.assert_allclose(factors["head"]["kernel"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(factors["head"]["bias"], 2.0, rtol=1e-5)


def test_excluded_paths_are_not_decayed():
    for optimizer in (SGD, RMSProp, AdamW):
        decayed = after(optimizer(Constant(0.1), weight_decay=0.5, decay_exclude=("bn/",)), 1)
        plain = after(optimizer(Constant(0.1), weight_decay=0.0), 1)
        assert decayed["backbone"]["bn"]["scale"] == plain["backbone"]["bn"]["scale"]
        assert decayed["head"]["kernel"] != plain["head"]["kernel"]


def test_adamw_decays_apart_from_the_gradient():
    params = after(AdamW(Constant(0.1), weight_decay=0.5, decay_exclude=()), 1)
    # Adam's first step is the sign of the gradient, whatever its size.
    np.testing.assert_allclose(params["head"]["kernel"], 0.5 - 0.1 * (1 + 0.5 * 0.5), rtol=1e-4)


def test_the_gradient_is_clipped_to_the_norm():
    norm = float(optax.tree.norm(GRADIENTS))
    clipped = after(SGD(Constant(1.0), momentum=0.0, clip_norm=0.5), 1)
    expected = jax.tree.map(lambda p, g: p - g * 0.5 / norm, PARAMS, GRADIENTS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), clipped, expected)


def test_patterns_that_fit_nothing_are_refused():
    with pytest.raises(InputError, match="optimizer.multipliers: 'encoder' fits no parameter"):
        SGD(Constant(0.1), multipliers=(("encoder", 0.1),)).build(10, PARAMS)
    with pytest.raises(InputError, match="paths begin with backbone, head"):
        SGD(Constant(0.1), weight_decay=1.0, decay_exclude=("x9",)).build(10, PARAMS)


def test_schedules_follow_their_formulas():
    poly = Poly(0.007, power=0.9).build(30)
    np.testing.assert_allclose(
        [poly(t) for t in (0, 10, 29)],
        [0.007 * (1 - t / 30) ** 0.9 for t in (0, 10, 29)],
        rtol=1e-5,
    )
    cosine = Cosine(1.0).build(10)
    np.testing.assert_allclose(cosine(5), 0.5, rtol=1e-6)
    stairs = Staircase(1.0, boundaries=(3, 6), factor=0.1).build(10)
    np.testing.assert_allclose([stairs(t) for t in (2, 3, 7)], [1.0, 0.1, 0.01], rtol=1e-5)
    falling = Exponential(2.0, factor=0.25, every=10).build(100)
    np.testing.assert_allclose([falling(t) for t in (0, 5, 20)], [2.0, 1.0, 0.125], rtol=1e-5)


def test_warm_up_rises_to_the_rate_and_the_rest_has_the_steps_that_are_left():
    warmed = Poly(0.1, warmup_steps=5, warmup_factor=0.0).build(15)
    np.testing.assert_allclose([warmed(t) for t in (0, 4, 5)], [0.0, 0.08, 0.1], rtol=1e-5)
    np.testing.assert_allclose(warmed(10), 0.1 * 0.5**0.9, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Poly(-1.0), r"rate=-1.0 must be positive"),
        (lambda: Exponential(-1.0), r"rate=-1.0 must be positive"),
        (lambda: Exponential(1.0, factor=0.0), r"factor=0.0 must be positive"),
        (lambda: Exponential(1.0, every=0), r"every=0 must be at least 1 step"),
        (lambda: Poly(float("nan")), r"rate=nan must be positive"),
        (lambda: Constant(float("inf")), r"rate=inf must be positive"),
        (lambda: Poly(0.1, power=-1.0), r"power=-1.0 must be at least 0"),
        (lambda: Poly(0.1, warmup_factor=-1.0), r"warmup_factor=-1.0 must be at least 0"),
        (lambda: Cosine(0.1, end_fraction=2.0), r"end_fraction=2.0 must be 0 to 1"),
        (lambda: Staircase(0.1, boundaries=(20, 10)), r"\(20, 10\) must be .* ascending"),
        (lambda: Staircase(0.1, boundaries=(5, 5)), r"given once"),
        (lambda: Staircase(0.1, boundaries=(-5,)), r"steps of at least 0"),
        (
            lambda: Poly(0.1, warmup_steps=10).build(10),
            r"optimizer\.schedule\.warmup_steps=10 .* below steps=10",
        ),
        (lambda: SGD(Poly(0.1), momentum=1.5), r"SGD: momentum=1.5 must be .* below 1"),
        (lambda: SGD(Poly(0.1), weight_decay=-1.0), r"weight_decay=-1.0 must be at least 0"),
        (lambda: SGD(Poly(0.1), clip_norm=0), r"clip_norm=0 must be positive, or None"),
        (lambda: AdamW(Poly(0.1), b2=1.0), r"AdamW: b2=1.0 must be"),
        (lambda: RMSProp(Poly(0.1), eps=0.0), r"RMSProp: eps=0.0 must be positive"),
        (
            lambda: SGD(Poly(0.1), multipliers=(("(", 0.1),)),
            r"'\(' is not a regular expression",
        ),
        (lambda: SGD(Poly(0.1), multipliers=(("a", -1.0),)), r"has -1.0 for 'a'"),
    ],
)
def test_wrong_schedules_and_optimizers_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
