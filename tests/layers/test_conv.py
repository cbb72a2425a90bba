"""Convolutions with parameters: defaults, initialisation, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.layers.conv import Conv, ConvNorm, ConvNormReLU, ConvTranspose, SeparableConv
from segjax.ops.conv import conv2d
from segjax.ops.transposed import conv_transpose2d

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 8, 4)), jnp.float32)


def test_a_convolution_is_the_operation_plus_its_bias():
    layer = Conv(6, (3, 1), stride=2, dilation=(2, 1), groups=2)
    kernel, bias = jnp.ones((3, 1, 2, 6)), jnp.arange(6.0)
    variables = {"params": {"kernel": kernel, "bias": bias}}
    expected = conv2d(X, kernel, stride=2, padding="same", dilation=(2, 1), groups=2)
    np.testing.assert_allclose(layer.apply(variables, X), expected + bias[None, None, None])


def test_a_transposed_convolution_is_the_operation_plus_its_bias():
    layer = ConvTranspose(6, 3, stride=2, padding=1, output_padding=1)
    kernel, bias = jnp.ones((3, 3, 6, 4)), jnp.arange(6.0)
    y = layer.apply({"params": {"kernel": kernel, "bias": bias}}, X)
    expected = conv_transpose2d(X, kernel, stride=2, padding=1, output_padding=1)
    assert y.shape == (2, 14, 16, 6)
    np.testing.assert_allclose(y, expected + bias[None, None, None])


@pytest.mark.parametrize(
    "layer, fan_out", [(Conv(64, 3), 9 * 64), (ConvTranspose(64, 2), 4 * 64)]
)
def test_kernels_start_with_he_variance_of_the_outputs_and_biases_at_zero(layer, fan_out):
    params = layer.init(jax.random.key(0), jnp.ones((1, 9, 9, 16)))["params"]
    np.testing.assert_allclose(params["kernel"].std(), np.sqrt(2 / fan_out), rtol=0.03)
    np.testing.assert_array_equal(params["bias"], 0)


def test_a_bfloat16_layer_keeps_float32_parameters_and_statistics():
    layer = ConvNormReLU(4, 3, dtype=jnp.bfloat16)
    y, variables = layer.init_with_output(jax.random.key(0), X, train=True)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert "bias" not in variables["params"]["conv"]


def _norm(x, epsilon):
    return x / np.sqrt(1 + epsilon)


def test_a_normalised_convolution_has_its_own_epsilon_and_no_activation():
    layer = ConvNorm(6, 3, stride=2, dilation=2, groups=2, epsilon=0.5)
    variables = layer.init(jax.random.key(0), X, train=False)
    kernel = variables["params"]["conv"]["kernel"]
    expected = conv2d(X, kernel, stride=2, padding="same", dilation=2, groups=2)
    y = layer.apply(variables, X, train=False)
    assert (y < 0).any()
    np.testing.assert_allclose(y, _norm(expected, 0.5), atol=1e-6)


@pytest.mark.parametrize("relu", [True, False])
def test_a_separable_convolution_is_a_depthwise_and_a_pointwise_one(relu):
    layer = SeparableConv(6, stride=2, dilation=2, relu=relu, epsilon=0.5)
    variables = layer.init(jax.random.key(0), X, train=False)
    kernel = {k: v["conv"]["kernel"] for k, v in variables["params"].items()}
    assert kernel["depthwise"].shape == (3, 3, 1, 4) and kernel["pointwise"].shape[2:] == (4, 6)
    activation = jax.nn.relu if relu else lambda x: x
    y = conv2d(X, kernel["depthwise"], stride=2, padding=2, dilation=2, groups=4)
    y = conv2d(activation(_norm(y, 0.5)), kernel["pointwise"])
    expected = activation(_norm(y, 0.5))
    np.testing.assert_allclose(layer.apply(variables, X, train=False), expected, atol=1e-6)


def test_statistics_move_by_the_layers_own_momentum():
    layer = SeparableConv(6, momentum=0.75)
    variables = layer.init(jax.random.key(0), X, train=False)
    apply = lambda x: layer.apply(variables, x, train=True, mutable=["batch_stats"])[1]
    moved = jax.pmap(apply, axis_name=AXIS)(X[None])["batch_stats"]["depthwise"]["norm"]
    kernel = variables["params"]["depthwise"]["conv"]["kernel"]
    mean = conv2d(X, kernel, padding=1, groups=4).mean((0, 1, 2))
    np.testing.assert_allclose(moved["mean"][0], 0.25 * mean, atol=1e-6)
