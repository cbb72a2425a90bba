"""Batch normalisation on two devices against NumPy on the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.layers.norm import BatchNorm

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
