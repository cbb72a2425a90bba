"""The norms against NumPy; batch normalisation on two devices on the whole batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.layers import norm
from segjax.layers.norm import BatchNorm, FrozenBatchNorm, GroupNorm

X = jnp.asarray(np.random.default_rng(0).normal(3, 2, (4, 3, 2, 5)), jnp.float32)


def _train(x):
    """Returns the outputs and the new statistics; x is devices b h w c."""
    layer = BatchNorm()
    variables = layer.init(jax.random.key(0), x[0], train=False)
    apply = lambda v, x: layer.apply(v, x, train=True, mutable=["batch_stats"])
    return jax.pmap(apply, axis_name=AXIS, in_axes=(None, 0))(variables, x)


def test_training_normalises_by_the_statistics_of_all_devices():
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    y, new = _train(X.reshape(2, 2, 3, 2, 5))
    expected = (X - mean[None, None, None]) / np.sqrt(variance + 1e-5)[None, None, None]
    np.testing.assert_allclose(y.reshape(X.shape), expected, atol=1e-5)
    for device in (0, 1):
        np.testing.assert_allclose(new["batch_stats"]["mean"][device], 0.1 * mean, rtol=1e-4)
        np.testing.assert_allclose(
            new["batch_stats"]["var"][device], 0.9 + 0.1 * variance, rtol=1e-4
        )


LINEN = nn.BatchNorm(momentum=0.9, use_fast_variance=False, axis_name=AXIS)
"""What JAX differentiates step by step."""


def _of(layer: nn.Module, **training):
    """Returns `layer` as a function of x, scale and bias, on the devices of a mapped axis."""
    zeros, ones = jnp.zeros(5), jnp.ones(5)

    def normalised(x, scale, bias):
        variables = {
            "params": {"scale": scale, "bias": bias},
            "batch_stats": {"mean": zeros, "var": ones},
        }
        y, new = layer.apply(variables, x, **training, mutable=["batch_stats"])
        return y, new["batch_stats"]["var"]

    mapped = jax.vmap(normalised, in_axes=(0, None, None), axis_name=AXIS)
    return lambda x, *parameters: mapped(x.reshape(2, 2, *x.shape[1:]), *parameters)


def test_derivatives_of_training_are_those_of_the_formula():
    of = _of(BatchNorm(), train=True), _of(LINEN, use_running_average=False)
    generator = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(generator.standard_normal(shape), jnp.float32)
    at, along = ((draw(4, 3, 2, 5), draw(5), draw(5)) for _ in range(2))
    weights = draw(2, 2, 3, 2, 5), draw(2, 5)

    def score(function):
        return lambda *at: sum(
            (w * jnp.sin(v)).sum() for w, v in zip(weights, function(*at), strict=True)
        )

    def second(function):
        gradient = jax.grad(score(function), (0, 1, 2))
        return jax.jvp(gradient, at, along)[1]

    for derivative in (
        lambda function: jax.jvp(function, at, along),
        lambda function: jax.grad(score(function), (0, 1, 2))(*at),
        second,
    ):
        ours, expected = (jax.tree.leaves(derivative(function)) for function in of)
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_half_precision_is_normalised_by_statistics_in_float32():
    x = (X + 100).astype(jnp.bfloat16)
    parameters = jnp.full(5, 2.0), jnp.ones(5)
    ours = _of(BatchNorm(dtype=jnp.bfloat16), train=True)(x, *parameters)
    linen = LINEN.clone(dtype=jnp.bfloat16)
    expected = _of(linen, use_running_average=False)(x, *parameters)
    assert [v.dtype for v in ours] == [jnp.bfloat16, jnp.float32]
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(
            one.astype(jnp.float32), other.astype(jnp.float32), rtol=1e-2, atol=1e-2
        )


def test_fresh_statistics_are_not_those_of_the_first_batch():
    new = BatchNorm().init(jax.random.key(0), X, train=True)["batch_stats"]
    assert not new["mean"].any() and (new["var"] == 1).all()


def test_statistics_stay_float32_where_maps_have_64_bits():
    with jax.enable_x64(True):
        x = np.asarray(X, np.float64)[None]
        y, new = _train(jnp.asarray(x))
        assert y.dtype == jnp.float32
        assert {v.dtype for v in new["batch_stats"].values()} == {np.dtype(np.float32)}


def test_equal_norms_are_traced_once_and_their_gradient_takes_two_sums_over_maps():
    """Those of g and of g · (x − mean)."""
    x, c = jnp.ones((2, 3, 4, 5)), jnp.ones(5)

    def loss(x):
        for _ in range(3):
            x, *_ = norm._traced_once(x, c, c, 1e-5, None)
        return (x * x).sum()

    _, back = jax.vjp(loss, x)
    programs = [
        e.params["jaxpr"] for e in jax.make_jaxpr(back)(1.0).eqns if "jaxpr" in e.params
    ]
    assert len(programs) == 3 and len(set(map(id, programs))) == 1
    sums = [e for e in programs[0].eqns if e.primitive.name == "reduce_sum"]
    assert sum(e.invars[0].aval.size == x.size for e in sums) == 2


def test_the_variance_of_nearly_equal_values_is_not_lost():
    x = 0.01 * X + 30.0
    y, _ = _train(x[None])
    exact = np.asarray(x, np.float64)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y[0], expected, atol=1e-2)


def test_evaluation_normalises_by_the_running_statistics_and_needs_no_axis():
    statistics = {"mean": jnp.arange(5.0), "var": jnp.full(5, 4.0)}
    params = {"scale": jnp.full(5, 3.0), "bias": jnp.ones(5)}
    variables = {"params": params, "batch_stats": statistics}
    y = BatchNorm().apply(variables, X, train=False)
    expected = 3 * (np.asarray(X) - np.arange(5)) / np.sqrt(4 + 1e-5) + 1
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_training_outside_the_device_axis_is_an_error():
    variables = BatchNorm().init(jax.random.key(0), X, train=True)
    with pytest.raises(NameError, match=AXIS):
        BatchNorm().apply(variables, X, train=True, mutable=["batch_stats"])


def test_a_frozen_norm_has_constants_alone_and_is_the_same_in_training():
    numbers = {
        "mean": jnp.arange(5.0),
        "var": jnp.full(5, 4.0),
        "scale": jnp.full(5, 3.0),
        "bias": jnp.ones(5),
    }
    layer = FrozenBatchNorm(epsilon=0.0)
    fresh = layer.init(jax.random.key(0), X, train=True)
    assert jax.tree.map(jnp.shape, fresh) == {"batch_stats": jax.tree.map(jnp.shape, numbers)}
    variables = {"batch_stats": numbers}
    expected = 3 * (np.asarray(X) - np.arange(5)) / 2 + 1
    for train in (False, True):
        y, new = layer.apply(variables, X, train=train, mutable=["batch_stats"])
        np.testing.assert_allclose(y, expected, atol=1e-5)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), new, variables))
    gradient = jax.grad(lambda v: layer.apply(v, X, train=True).sum())(variables)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_groups_are_normalised_within_each_image_in_training_and_evaluation():
    x = jnp.concatenate([X, X[..., :3]], -1)  # 8 channels
    scale, bias = np.arange(1, 9, dtype=np.float32), np.arange(8, dtype=np.float32)
    variables = {"params": {"scale": scale, "bias": bias}}
    groups = np.asarray(x, np.float64).reshape(4, 3, 2, 2, 4)
    mean, var = (f(groups, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    expected = ((groups - mean) / np.sqrt(var + 1e-5)).reshape(x.shape) * scale + bias
    for train in (False, True):
        y = GroupNorm(groups=2).apply(variables, x, train=train)
        np.testing.assert_allclose(y, expected, atol=1e-4)


def test_groups_that_do_not_divide_the_channels_are_an_error():
    with pytest.raises(ValueError, match="5 channels are not a multiple of groups=2"):
        GroupNorm(groups=2).init(jax.random.key(0), X, train=False)
