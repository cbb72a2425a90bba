"""Convolution and its transpose against the explicit matrix, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops.conv import conv2d, conv_output_size
from segjax.ops.transposed import bilinear_kernel, conv_transpose2d

SIZE = (7, 6)
GEOMETRIES = [
    dict(kernel=(3, 3)),
    dict(kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
    dict(kernel=(2, 3), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
    dict(kernel=(3, 2), stride=(1, 3), padding=(2, 1), dilation=(2, 1), groups=2),
    dict(kernel=(1, 1), stride=(3, 2), groups=4),
    dict(kernel=(7, 3), stride=(7, 3)),
    dict(kernel=(4, 4), stride=(2, 2), padding=(1, 1)),
    dict(kernel=(2, 2), padding=(3, 2)),
]


def _case(geometry, channels=4, outputs=8):
    options = dict(geometry)
    kernel_size = options.pop("kernel")
    rng = np.random.default_rng(0)
    inner = channels // options.get("groups", 1)
    kernel = rng.normal(size=(*kernel_size, inner, outputs))
    return rng, kernel, options


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolution_is_multiplication_by_its_matrix(geometry, conv_matrix):
    rng, kernel, options = _case(geometry)
    x = rng.normal(size=(2, *SIZE, 4))
    matrix, size = conv_matrix(kernel, SIZE, **options)
    with jax.enable_x64(True):
        y = conv2d(jnp.asarray(x), jnp.asarray(kernel), **options)
    assert y.shape == (2, *size, 8)
    np.testing.assert_allclose(y.reshape(2, -1), x.reshape(2, -1) @ matrix.T, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_transposed_convolution_is_multiplication_by_the_transposed_matrix(
    geometry, conv_matrix
):
    rng, kernel, options = _case(geometry)
    matrix, size = conv_matrix(kernel, SIZE, **options)
    y = rng.normal(size=(2, *size, 8))
    output_padding = _missing(geometry, size)
    with jax.enable_x64(True):
        x = conv_transpose2d(
            jnp.asarray(y), jnp.asarray(kernel), output_padding=output_padding, **options
        )
    assert x.shape == (2, *SIZE, 4)
    np.testing.assert_allclose(x.reshape(2, -1), y.reshape(2, -1) @ matrix, atol=1e-12)


def _missing(geometry, size):
    """Returns the output padding that leads back to SIZE: what the stride dropped."""
    numbers = zip(
        SIZE,
        size,
        geometry["kernel"],
        geometry.get("stride", (1, 1)),
        geometry.get("padding", (0, 0)),
        geometry.get("dilation", (1, 1)),
        strict=True,
    )
    return tuple(n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, k, s, p, d in numbers)


@pytest.mark.parametrize("geometry", GEOMETRIES[2:5], ids=str)
def test_inner_products_agree_through_a_convolution_and_its_transpose(geometry):
    rng, kernel, options = _case(geometry)
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(rng.normal(size=(1, *SIZE, 4))), jnp.asarray(kernel)
        kx = conv2d(x, kernel, **options)
        y = jnp.asarray(rng.normal(size=kx.shape))
        output_padding = _missing(geometry, kx.shape[1:3])
        kty = conv_transpose2d(y, kernel, output_padding=output_padding, **options)
        np.testing.assert_allclose((kx * y).sum(), (x * kty).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    "geometry", [GEOMETRIES[3], dict(kernel=(2, 2), stride=(2, 2))], ids=str
)
@pytest.mark.parametrize("operation", [conv2d, conv_transpose2d])
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(
    geometry, operation
):
    rng, kernel, options = _case(geometry)
    channels = 4 if operation is conv2d else 8
    with jax.enable_x64(True):
        x = rng.normal(size=(1, 4, 4, channels))
        squared = lambda x, k: operation(jnp.asarray(x), jnp.asarray(k), **options) ** 2
        check_grads(squared, (x, kernel), order=2)


def test_same_padding_keeps_the_size_at_any_dilation_and_divides_it_by_the_stride():
    x, kernel = jnp.ones((1, 9, 8, 1)), jnp.ones((3, 5, 1, 1))
    assert conv2d(x, kernel, padding="same", dilation=(3, 1)).shape == (1, 9, 8, 1)
    assert conv2d(x, kernel, padding="same", stride=2).shape == (1, 5, 4, 1)


def test_a_stride_of_two_samples_the_even_pixels():
    x = jnp.arange(36.0).reshape(1, 6, 6, 1)
    centre = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    np.testing.assert_array_equal(conv2d(x, centre, stride=2, padding=1), x[:, ::2, ::2])


def test_the_course_notes_transposed_example_comes_out():
    x = jnp.array([[2.0, 3.0], [1.0, 3.0]])[None, :, :, None]
    kernel = jnp.array([[0.0, 1, 1], [0, 1, 0], [1, 0, 1]])[:, :, None, None]
    expected = [[0, 2, 5, 3], [0, 3, 7, 3], [2, 4, 5, 3], [1, 3, 1, 3]]
    np.testing.assert_array_equal(conv_transpose2d(x, kernel)[0, :, :, 0], expected)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_bilinear_kernel_upsamples_like_bilinear_interpolation_away_from_the_border(factor):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 6, 2)), jnp.float32)
    kernel = bilinear_kernel(2 * factor, 2)
    y = conv_transpose2d(x, kernel, stride=factor, padding=factor // 2)
    expected = jax.image.resize(x, y.shape, "bilinear")
    inner = slice(factor // 2, -(factor // 2))
    np.testing.assert_allclose(y[:, inner, inner], expected[:, inner, inner], atol=1e-5)


def test_an_odd_bilinear_kernel_is_caffes():
    line = bilinear_kernel(3, 1)[1, :, 0, 0]
    np.testing.assert_allclose(line, [0.5, 1.0, 0.5])


X, K = jnp.ones((1, 5, 5, 4)), jnp.ones((3, 3, 4, 8))
BAD = {
    "5 input channels": lambda: conv2d(X, jnp.ones((3, 3, 5, 8))),
    "divisible by groups, got 4, 8 and groups=3": lambda: conv2d(X, K, groups=3),
    "spans 9 pixels, more than the padded input's 7": lambda: conv2d(
        X, K, padding=1, dilation=4
    ),
    "got kernel 2 at dilation 1": lambda: conv2d(X, jnp.ones((2, 3, 4, 1)), padding="same"),
    "at least 0, got -1": lambda: conv2d(X, K, padding=-1),
    "at least 0, got 'valid'": lambda: conv2d(X, K, padding="valid"),
    "at least 1, got 5, 3, 0 and 1": lambda: conv2d(X, K, stride=0),
    "at least 1, got -3, 3, 1 and 1": lambda: conv_output_size(-3, 3),
    "expects 8 input channels": lambda: conv_transpose2d(X, K),
    "got 7, 8 and groups=2": lambda: conv_transpose2d(
        jnp.ones((1, 5, 5, 7)), jnp.ones((3, 3, 4, 7)), groups=2
    ),
    "smaller than the stride 2": lambda: conv_transpose2d(
        X, jnp.ones((3, 3, 8, 4)), stride=2, output_padding=2
    ),
    "cuts away the whole result": lambda: conv_transpose2d(
        X, jnp.ones((3, 3, 8, 4)), padding=4
    ),
    "dilation 0 must be": lambda: conv_transpose2d(X, jnp.ones((3, 3, 8, 4)), dilation=0),
    "got 0 and 1": lambda: bilinear_kernel(0, 1),
}


@pytest.mark.parametrize("message", BAD)
def test_an_impossible_geometry_is_an_error_that_names_the_values(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
