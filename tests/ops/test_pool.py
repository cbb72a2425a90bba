"""Pooling against XLA's own windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from segjax.ops.pool import max_pool

WINDOWS = [
    dict(window=3, stride=2, padding=1),
    dict(window=2, stride=2),
    dict(window=(3, 2), stride=(1, 3), padding=(1, 0)),
]


def _reduce_window(x, *, window, stride, padding=0):
    (kh, kw), (sh, sw), (ph, pw) = (
        np.broadcast_to(v, 2).tolist() for v in (window, stride, padding)
    )
    pads = [(0, 0), (ph, ph), (pw, pw), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, kh, kw, 1), (1, sh, sw, 1), pads)


@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_each_window_gives_its_largest_value_and_sends_the_gradient_there(options):
    x = jnp.asarray(np.random.default_rng(0).normal(-10, 1, (2, 7, 8, 3)), jnp.float32)
    weighted = lambda pool: lambda x: (pool(x, **options) * jnp.cos(pool(x, **options))).sum()
    np.testing.assert_array_equal(max_pool(x, **options), _reduce_window(x, **options))
    gradients = [jax.jit(jax.grad(weighted(pool)))(x) for pool in (max_pool, _reduce_window)]
    np.testing.assert_allclose(*gradients, atol=1e-6)


def test_gradients_of_first_and_second_order_are_those_of_finite_differences():
    x = np.random.default_rng(0).permutation(50).reshape(1, 5, 5, 2) / 10
    with jax.enable_x64(True):
        pool = lambda x: max_pool(jnp.asarray(x), window=3, stride=2, padding=1) ** 3
        check_grads(pool, (x,), order=2)


def test_equal_values_share_one_gradient():
    x = jnp.ones((1, 2, 2, 1))
    gradient = jax.grad(lambda x: max_pool(x, window=2, stride=2).sum())(x)
    np.testing.assert_allclose(gradient.sum(), 1.0)


def test_padding_beyond_half_the_window_is_an_error():
    with pytest.raises(ValueError, match="Padding 2 is more than half the window 3"):
        max_pool(jnp.ones((1, 5, 5, 1)), window=3, stride=1, padding=2)
