"""Counted FLOPs against XLA's own count, and against networks that compute things twice."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from segjax.contracts import AXIS
from segjax.layers.remat import maybe_remat
from segjax.train.flops import flops_of

DENSE = {"window_strides": (1, 1)}


def xla(function, *arguments) -> float:
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


@pytest.mark.parametrize(
    "options",
    [
        DENSE,
        {"window_strides": (2, 1)},
        {**DENSE, "rhs_dilation": (1, 3)},
        {**DENSE, "lhs_dilation": (2, 2)},
        {**DENSE, "feature_group_count": 4},
    ],
)
def test_a_convolution_and_its_gradients_have_as_many_flops_as_xla_counts(options):
    groups = options.get("feature_group_count", 1)
    image, kernel = jnp.zeros((2, 9, 8, 8)), jnp.zeros((3, 3, 8 // groups, 12))

    def convolve(image, kernel):
        return lax.conv_general_dilated(
            *(image, kernel),
            padding=[(1, 1), (1, 0)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            **options,
        )

    assert flops_of(convolve, image, kernel).total() == xla(convolve, image, kernel)
    cotangent = jnp.zeros(convolve(image, kernel).shape)
    both = lambda i, k, c: jax.vjp(convolve, i, k)[1](c)
    # XLA counts the convolutions of the gradients alone, since the result itself is not used.
    forward = flops_of(convolve, image, kernel).total()
    assert flops_of(both, image, kernel, cotangent).total() - forward == xla(
        both, image, kernel, cotangent
    )


def test_matrix_products_count_by_the_dtype_of_their_operands():
    a, b = jnp.zeros((5, 2, 3), jnp.bfloat16), jnp.zeros((5, 3, 7), jnp.bfloat16)
    c = jnp.zeros((7, 11))
    counted = flops_of(lambda: jnp.einsum("bij,bjk->bik", a, b).astype(jnp.float32) @ c)
    assert counted == {"bfloat16": 2 * 5 * 2 * 3 * 7, "float32": 2 * 5 * 2 * 7 * 11}


class Twice(nn.Module):
    """Two products, of which `remat` computes the first one again for the gradient."""

    remat: bool

    @nn.compact
    def __call__(self, x):
        return maybe_remat(self.block, x, remat=self.remat) @ jnp.ones((4, 2))

    @nn.compact
    def block(self, x):
        return jnp.sin(nn.Dense(4, name="a")(jnp.sin(nn.Dense(4, name="b")(x))))


def test_what_remat_computes_again_does_not_count():
    x = jnp.ones((3, 4))
    counts = []
    for remat in (False, True):
        network = Twice(remat)
        variables = jax.eval_shape(network.init, jax.random.key(0), x)
        loss = lambda v, network=network: network.apply(v, x).sum()
        counts.append(flops_of(jax.grad(loss), variables))
    assert counts[0] == counts[1]
    # Two layers 4 → 4: values, gradients of the weights, and that of what b gave to a; 4 → 2.
    assert counts[0].total() == 2 * 3 * (5 * 4 * 4 + 2 * 4 * 2)


def test_a_product_on_other_operands_counts_again():
    a = jnp.ones((4, 4))
    assert flops_of(lambda x: (x @ x, x @ x), a).total() == 2 * 4**3
    assert flops_of(lambda x: x @ x @ x, a).total() == 2 * 2 * 4**3


def test_a_scan_counts_as_often_as_it_runs_and_a_condition_by_its_dearest_branch():
    a = jnp.ones((4, 4))
    scanned = lambda x: lax.scan(lambda c, _: (c @ x, None), x, None, length=6)[0]
    assert flops_of(scanned, a).total() == 6 * 2 * 4**3
    branches = lambda x: lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x)
    assert flops_of(branches, a).total() == 2 * 4**3


def test_collectives_run_over_an_axis_of_one():
    counted = flops_of(lambda x: lax.psum(x @ x, AXIS), jnp.ones((4, 4)), axis=AXIS)
    assert counted == {"float32": 2 * 4**3}
