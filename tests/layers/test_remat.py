"""Stages computed anew have the same names and numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.layers.conv import Conv
from segjax.layers.remat import maybe_remat
from segjax.ops.dispatch import plain


class _Net(nn.Module):
    remat: bool

    @nn.compact
    def __call__(self, x):
        conv = Conv(3, 3, name="first")
        x = maybe_remat(conv.__call__, x, remat=self.remat)
        return maybe_remat(self._second, x, None, remat=self.remat, power=2)

    def _second(self, x, other, *, power):
        assert other is None
        return jnp.sin(Conv(2, 1, name="second")(x)) ** power


X = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 4, 3)), jnp.float32)


def test_blocks_and_methods_have_the_same_parameters_and_results_either_way():
    init = lambda net: jax.jit(lambda: net.init_with_output(jax.random.key(0), X))()
    (y, kept), (z, anew) = init(_Net(False)), init(_Net(True))
    assert set(kept["params"]) == {"first", "second"}
    jax.tree.map(np.testing.assert_array_equal, (y, kept), (z, anew))


@pytest.mark.parametrize("remat, stages", [(False, 0), (True, 2)])
def test_the_gradient_computes_a_stage_anew_where_it_is_told_to(remat, stages):
    net = _Net(remat)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), X))
    gradient = jax.grad(lambda v: net.apply(v, X).sum())
    with plain():  # Fast forms compute parts of their own gradients anew.
        traced = str(jax.make_jaxpr(gradient)(shapes))
    assert traced.count("differentiated=True") == stages
