"""Atrous spatial pyramid pooling, branch by branch."""

import jax
import jax.numpy as jnp
import numpy as np

from segjax.layers.conv import SeparableConv
from segjax.layers.pyramid import ASPP
from segjax.ops.conv import conv2d

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 7, 6)), jnp.float32)


def _norm(x):
    return x / np.sqrt(1 + 1e-5)


def test_the_projection_sees_the_branches_in_torchvisions_order():
    aspp = ASPP((2, 5), features=4)
    variables = aspp.init(jax.random.key(0), X, train=False)
    kernel = {k: v["conv"]["kernel"] for k, v in variables["params"].items()}
    pooled = conv2d(X.mean((1, 2), keepdims=True), kernel["convs_3"])
    branches = [
        conv2d(X, kernel["convs_0"]),
        conv2d(X, kernel["convs_1"], padding=2, dilation=2),
        conv2d(X, kernel["convs_2"], padding=5, dilation=5),
        jnp.broadcast_to(pooled, (2, 9, 7, 4)),
    ]
    pyramid = jax.nn.relu(_norm(jnp.concatenate(branches, -1)))
    expected = jax.nn.relu(_norm(conv2d(pyramid, kernel["project"])))
    np.testing.assert_allclose(aspp.apply(variables, X, train=False), expected, atol=1e-5)


def test_separable_branches_are_separable_convolutions_at_their_rates():
    aspp = ASPP((2, 5), features=4, separable=True)
    variables = aspp.init(jax.random.key(0), X, train=False)
    keep = lambda module, _: module.name in ("convs_1", "convs_2")
    _, captured = aspp.apply(
        variables, X, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    for i, rate in enumerate((2, 5), start=1):
        branch = {k: v[f"convs_{i}"] for k, v in variables.items()}
        expected = SeparableConv(4, dilation=rate).apply(branch, X, train=False)
        (found,) = captured["intermediates"][f"convs_{i}"]["__call__"]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_parameters_do_not_depend_on_the_rates():
    trees = [
        jax.eval_shape(lambda r=rates: ASPP(r).init(jax.random.key(0), X, train=False))
        for rates in ((1, 2, 3), (12, 24, 36))
    ]
    assert trees[0] == trees[1]
