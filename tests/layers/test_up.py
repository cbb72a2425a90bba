"""Three ways to twice the size: what each computes from its parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.layers.up import Up, bilinear, subpixel, transposed
from segjax.ops.shuffle import upsample_nearest


class Alone(nn.Module):
    """One way up as a network."""

    up: Up

    @nn.compact
    def __call__(self, x):
        return self.up(x, 3, dtype=jnp.float32, name="upconv")


def _made(up):
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    y, variables = jax.jit(Alone(up).init_with_output)(jax.random.key(1), x)
    return x, y, variables["params"]["upconv"]


@pytest.mark.parametrize("up", [transposed, bilinear, subpixel])
def test_a_way_up_doubles_the_size_under_the_name_it_is_given(up):
    _, y, params = _made(up)
    assert y.shape == (2, 6, 10, 3) and set(params) == {"kernel", "bias"}


def test_subpixel_and_transposed_are_one_function_with_the_kernel_laid_out_anew():
    x, y, params = _made(transposed)
    # Kernel h w o i; output channel o of tap (h, w) is channel 4o + 2h + w before the shuffle.
    kernel = params["kernel"].transpose(3, 2, 0, 1).reshape(1, 1, 4, 12)
    same = {"kernel": kernel, "bias": jnp.repeat(params["bias"], 4)}
    found = Alone(subpixel).apply({"params": {"upconv": same}}, x)
    np.testing.assert_allclose(found, y, atol=1e-6)


def test_bilinear_keeps_a_constant_and_has_a_quarter_of_the_weights():
    _, _, params = _made(bilinear)
    assert 4 * params["kernel"].size == _made(transposed)[2]["kernel"].size
    ones = jnp.ones((1, 2, 2, 4))
    y = Alone(bilinear).apply({"params": {"upconv": params}}, ones)
    np.testing.assert_allclose(y, jnp.broadcast_to(y[:, :1, :1], y.shape), atol=1e-6)


@pytest.mark.parametrize("up", [transposed, subpixel])
def test_at_the_start_a_way_up_keeps_the_variance_that_he_et_al_ask_for(up):
    x = jax.random.normal(jax.random.key(2), (1, 16, 16, 512))
    y, _ = jax.jit(Alone(up).init_with_output)(jax.random.key(3), x)
    # Per output: 512 inputs of variance 1, weights of 2/512.
    assert np.var(y) == pytest.approx(2.0, rel=0.15)
    assert y.shape == upsample_nearest(x, 2).shape[:3] + (3,)
