"""Convolution and its transpose against the explicit matrix, and against each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops.conv import conv2d, conv_output_size
from segjax.ops.matrix import conv_matrix
from segjax.ops.transposed import bilinear_kernel, conv_transpose2d

AXES = ("size", "kernel", "stride", "padding", "dilation")
PLAIN = dict(size=(7, 6), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
NAMED = [
    dict(kernel=(3, 3)),
    dict(kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
    dict(kernel=(2, 3), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
    dict(kernel=(3, 2), stride=(1, 3), padding=(2, 1), dilation=(2, 1), groups=2),
    dict(kernel=(1, 1), stride=(3, 2), groups=4),
    dict(kernel=(7, 3), stride=(7, 3)),
    dict(kernel=(4, 4), stride=(2, 2), padding=(1, 1)),
    dict(kernel=(2, 2), padding=(3, 2)),
    dict(kernel=(3, 3), padding=(12, 12), dilation=(12, 12)),
    dict(kernel=(3, 3), padding=(2, 2), dilation=(2, 2), groups=4),
]


def _drawn(seed):
    """Returns a point of the grid of all numbers, or None where the kernel is too large."""
    rng = np.random.default_rng(seed)
    draw = lambda *choices: tuple(int(n) for n in rng.choice(choices, 2))
    geometry = dict(
        size=draw(5, 6, 8, 9),
        kernel=draw(1, 2, 3, 4),
        stride=draw(1, 2, 3),
        padding=draw(0, 1, 2, 6),
        dilation=draw(1, 2, 3, 6),
        groups=int(rng.choice([1, 2, 4])),
    )
    return geometry if min(_output_size(geometry)) > 0 else None


def _output_size(geometry):
    """Returns the kernel's positions, counted."""
    numbers = zip(*(geometry[axis] for axis in AXES), strict=True)
    return tuple(len(range(0, n + 2 * p - d * (k - 1), s)) for n, k, s, p, d in numbers)


def _output_padding(geometry):
    """Returns what leads back to the size: what the stride dropped."""
    numbers = zip(_output_size(geometry), *(geometry[axis] for axis in AXES), strict=True)
    return tuple(n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for m, n, k, s, p, d in numbers)


GEOMETRIES = [PLAIN | geometry for geometry in NAMED]
GEOMETRIES += [geometry for geometry in map(_drawn, range(24)) if geometry]


def _case(geometry, channels=4, outputs=8):
    """Returns a generator, a kernel, and the options of `conv2d`."""
    options = {name: geometry[name] for name in ("stride", "padding", "dilation", "groups")}
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(*geometry["kernel"], channels // geometry["groups"], outputs))
    return rng, kernel, options


def _compiled(operation, **options):
    """Returns the operation as one program: step by step, each of its parts is compiled."""
    return jax.jit(functools.partial(operation, **options))


def test_the_geometries_hold_every_number_and_every_output_padding_of_the_grid():
    seen = {name: {v for g in GEOMETRIES for v in np.ravel(g[name])} for name in PLAIN}
    assert seen["size"] >= {5, 6, 7, 8, 9} and seen["padding"] >= {0, 1, 2, 6}
    assert seen["stride"] >= {1, 2, 3} and seen["dilation"] >= {1, 2, 3, 6}
    assert seen["groups"] == {1, 2, 4}
    assert {v for g in GEOMETRIES for v in _output_padding(g)} >= {0, 1, 2}


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolution_is_multiplication_by_its_matrix(geometry):
    rng, kernel, options = _case(geometry)
    x = rng.normal(size=(2, *geometry["size"], 4))
    matrix = conv_matrix(kernel, geometry["size"], **options)
    with jax.enable_x64(True):
        y = _compiled(conv2d, **options)(x, kernel)
    assert y.shape == (2, *_output_size(geometry), 8)
    np.testing.assert_allclose(y.reshape(2, -1), x.reshape(2, -1) @ matrix.T, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_transposed_convolution_is_multiplication_by_the_transposed_matrix(geometry):
    rng, kernel, options = _case(geometry)
    y = rng.normal(size=(2, *_output_size(geometry), 8))
    matrix = conv_matrix(kernel, geometry["size"], **options)
    options["output_padding"] = _output_padding(geometry)
    with jax.enable_x64(True):
        x = _compiled(conv_transpose2d, **options)(y, kernel)
    assert x.shape == (2, *geometry["size"], 4)
    np.testing.assert_allclose(x.reshape(2, -1), y.reshape(2, -1) @ matrix, atol=1e-12)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_inner_products_agree_through_a_convolution_and_its_transpose(geometry):
    rng, kernel, options = _case(geometry)
    sizes = ((geometry["size"], 4), (_output_size(geometry), 8))
    with jax.enable_x64(True):
        x, y = (rng.normal(size=(2, *size, k)) for size, k in sizes)
        kx = _compiled(conv2d, **options)(x, kernel)
        options["output_padding"] = _output_padding(geometry)
        kty = _compiled(conv_transpose2d, **options)(y, kernel)
        np.testing.assert_allclose((kx * y).sum(), (x * kty).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "geometry",
    [pytest.param(NAMED[3], marks=pytest.mark.slow), dict(kernel=(2, 2), stride=(2, 2))],
    ids=str,
)
@pytest.mark.parametrize("operation", [conv2d, conv_transpose2d])
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(
    geometry, operation
):
    rng, kernel, options = _case(PLAIN | geometry)
    channels = 4 if operation is conv2d else 8
    with jax.enable_x64(True):
        x = rng.normal(size=(1, 4, 4, channels))
        squared = jax.jit(lambda x, k: operation(x, k, **options) ** 2)
        check_grads(squared, (x, kernel), order=2)


def test_same_padding_keeps_the_size_at_any_dilation_and_divides_it_by_the_stride():
    x, kernel = jnp.ones((1, 9, 8, 1)), jnp.ones((3, 5, 1, 1))
    shape = lambda **options: jax.eval_shape(_compiled(conv2d, **options), x, kernel).shape
    assert shape(padding="same", dilation=(3, 1)) == (1, 9, 8, 1)
    assert shape(padding="same", stride=2) == (1, 5, 4, 1)


def test_a_stride_of_two_samples_the_even_pixels():
    x = jnp.arange(36.0).reshape(1, 6, 6, 1)
    centre = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    y = _compiled(conv2d, stride=2, padding=1)(x, centre)
    np.testing.assert_array_equal(y, np.asarray(x)[:, ::2, ::2])


def test_the_course_notes_transposed_example_comes_out():
    x = jnp.array([[2.0, 3.0], [1.0, 3.0]])[None, :, :, None]
    kernel = jnp.array([[0.0, 1, 1], [0, 1, 0], [1, 0, 1]])[:, :, None, None]
    expected = [[0, 2, 5, 3], [0, 3, 7, 3], [2, 4, 5, 3], [1, 3, 1, 3]]
    np.testing.assert_array_equal(_compiled(conv_transpose2d)(x, kernel)[0, :, :, 0], expected)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_bilinear_kernel_upsamples_like_bilinear_interpolation_away_from_the_border(factor):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 6, 2)), jnp.float32)
    kernel = bilinear_kernel(2 * factor, 2)
    y = _compiled(conv_transpose2d, stride=factor, padding=factor // 2)(x, kernel)
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
