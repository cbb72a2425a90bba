"""Interpolation against hand-made values, NumPy's `interp` and JAX's own resize."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops.resize import resize_bilinear

SIZES = [((5, 7), (11, 3)), ((9, 4), (4, 9)), ((1, 6), (5, 1)), ((3, 3), (33, 17))]


def _random(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def _interp(x, size, *, align_corners):
    """Returns both axes interpolated by NumPy, one line at a time."""

    def line(values, new):
        old = len(values)
        areas = (np.arange(new) + 0.5) * old / new - 0.5
        source = np.linspace(0, old - 1, new) if align_corners else areas
        return np.interp(source, np.arange(old), values)

    rows = np.apply_along_axis(line, 1, x, size[0])
    return np.apply_along_axis(line, 2, rows, size[1])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("old, new", SIZES)
def test_each_axis_is_interpolated_linearly(old, new, align_corners):
    x = np.random.default_rng(0).normal(size=(2, *old, 3))
    expected = _interp(x, new, align_corners=align_corners)
    with jax.enable_x64(True):
        y = resize_bilinear(jnp.asarray(x), new, align_corners=align_corners)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("old, new", SIZES)
def test_half_pixel_centres_are_those_of_jax_without_antialiasing(old, new):
    x = _random(1, *old, 2)
    expected = jax.image.resize(x, (1, *new, 2), "bilinear", antialias=False)
    np.testing.assert_allclose(resize_bilinear(x, new), expected, atol=1e-5)


def test_two_pixels_become_four_by_hand():
    x = jnp.array([0.0, 12.0]).reshape(1, 1, 2, 1)
    areas = resize_bilinear(x, (1, 4))[0, 0, :, 0]
    points = resize_bilinear(x, (1, 4), align_corners=True)[0, 0, :, 0]
    np.testing.assert_allclose(areas, [0, 3, 9, 12], atol=1e-6)
    np.testing.assert_allclose(points, [0, 4, 8, 12], atol=1e-5)


def test_the_same_size_returns_the_same_array():
    x = _random(1, 4, 5, 2)
    assert resize_bilinear(x, (4, 5)) is x


def test_half_precision_is_rounded_only_once():
    x = _random(1, 5, 5, 2).astype(jnp.bfloat16)
    y = resize_bilinear(x, (9, 13))
    expected = resize_bilinear(x.astype(jnp.float32), (9, 13)).astype(jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("align_corners", [False, True])
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(align_corners):
    x = np.random.default_rng(0).normal(size=(1, 4, 3, 2))
    with jax.enable_x64(True):
        resize = lambda x: resize_bilinear(jnp.asarray(x), (6, 2), align_corners=align_corners)
        check_grads(lambda x: resize(x) ** 2, (x,), order=2)


def test_an_empty_size_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"got \(2, 2\) to \(0, 3\)"):
        resize_bilinear(jnp.ones((1, 2, 2, 1)), (0, 3))
