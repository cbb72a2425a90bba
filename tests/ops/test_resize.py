"""Interpolation against hand-made values, NumPy's `interp` and JAX's own resize."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops import resize
from segjax.ops.resize import is_long, resize_bilinear

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


@pytest.fixture
def tapped(monkeypatch):
    """Makes every resize use two taps."""
    monkeypatch.setattr(resize, "MOST_WEIGHTS", 0)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("old, new", SIZES)
def test_two_taps_and_matrices_agree_in_value_and_gradient(
    old, new, align_corners, monkeypatch
):
    x, g = _random(2, *old, 3), _random(2, *new, 3)
    run = lambda x: jax.vjp(lambda x: resize_bilinear(x, new, align_corners=align_corners), x)
    dense, pull = run(x)
    monkeypatch.setattr(resize, "MOST_WEIGHTS", 0)
    tapped, tapped_pull = run(x)
    np.testing.assert_allclose(tapped, dense, atol=1e-6)
    np.testing.assert_allclose(tapped_pull(g)[0], pull(g)[0], atol=1e-5)


def test_gradients_of_two_taps_are_those_of_finite_differences(tapped):
    x = np.random.default_rng(0).normal(size=(1, 4, 3, 2))
    with jax.enable_x64(True):
        check_grads(lambda x: resize_bilinear(jnp.asarray(x), (6, 2)) ** 2, (x,), order=2)


def test_two_taps_round_half_precision_once(tapped):
    x = _random(1, 5, 5, 2).astype(jnp.bfloat16)
    expected = resize_bilinear(x.astype(jnp.float32), (9, 13)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(resize_bilinear(x, (9, 13)), expected)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    "old, new", [((125_000, 1), (1_000_000, 1)), ((1, 12_500), (1, 100_000))]
)
def test_memory_of_a_long_image_grows_with_its_side_alone(old, new, align_corners):
    run = jax.jit(lambda x: resize_bilinear(x, new, align_corners=align_corners))
    x = np.linspace(0, 1, max(old), dtype=np.float32).reshape(1, *old, 1)
    program = run.lower(x).compile()
    assert program.memory_analysis().temp_size_in_bytes <= 40 * max(new)
    n, m = max(old), max(new)
    areas = (np.arange(m) + 0.5) * n / m - 0.5
    source = np.linspace(0, n - 1, m) if align_corners else areas
    expected = np.interp(source, np.arange(n), x.ravel())
    np.testing.assert_allclose(program(x).ravel(), expected, atol=1e-5)


def test_only_long_axes_that_change_are_long():
    assert not is_long((512, 10**6), (2048, 10**6))
    assert is_long((512, 10**6), (2049, 10**6))
