"""The Gaussian on the pixel grid against the sum over all pairs of pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.crf import spatial_gaussian
from segjax.crf.exact import gaussian_filter
from segjax.crf.spatial_gaussian import grid_filter, in_taps
from segjax.ops.dispatch import plain


def pixels(h, w, widths):
    y, x = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
    return jnp.stack([x.ravel() / widths[0], y.ravel() / widths[1]], axis=1)


def values_of(h, w, k=2):
    return jnp.asarray(np.random.default_rng(0).uniform(size=(h, w, k)), jnp.float32)


@pytest.mark.parametrize("widths", [(0.7, 0.7), (1.0, 0.5), (9.0, 4.0)])
def test_it_is_the_sum_over_all_pairs_of_pixels(widths):
    values = values_of(24, 30)
    expected = gaussian_filter(pixels(24, 30, widths), values.reshape(-1, 2)).reshape(24, 30, 2)
    np.testing.assert_allclose(grid_filter(values, widths), expected, rtol=2e-5)


def test_taps_are_the_matrices_up_to_what_lies_beyond_five_widths():
    values = values_of(33, 40)
    with plain():
        expected = grid_filter(values, (1.5, 1.2))
    np.testing.assert_allclose(grid_filter(values, (1.5, 1.2)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "size, widths, taps",
    [
        ((500, 375), (3.0, 5.0), True),
        ((500, 375), (3.0, 5.1), False),
        ((1220, 1220), (60, 60), False),
        ((500, 50), (3.0, 0.5), False),
        ((50, 500), (3.0, 0.5), True),
        ((500, 375), (3.0, np.float32(3)), False),
    ],
    ids=str,
)
def test_taps_are_taken_where_they_are_few(size, widths, taps):
    assert in_taps(size, widths) == taps
    with plain():
        assert not in_taps(size, widths)


@pytest.mark.parametrize("widths", [(0.7, 0.9), (9.0, 9.0)])
def test_it_is_its_own_transpose(widths):
    x, y = values_of(24, 26), values_of(24, 26)[::-1]
    result, pull_back = jax.vjp(lambda v: grid_filter(v, widths), x)
    np.testing.assert_allclose(jnp.vdot(result, y), jnp.vdot(x, pull_back(y)[0]), rtol=1e-5)
    np.testing.assert_allclose(pull_back(y)[0], grid_filter(y, widths), rtol=1e-5)


def test_the_gradient_by_the_width_is_that_of_finite_differences():
    values = values_of(9, 8)
    total = lambda width: jnp.sum(grid_filter(values, (width, 2.0)) ** 2)
    step = 1e-2
    slope = (total(jnp.float32(1.5 + step)) - total(jnp.float32(1.5 - step))) / (2 * step)
    np.testing.assert_allclose(jax.grad(total)(jnp.float32(1.5)), slope, rtol=1e-3)


@pytest.mark.parametrize("widths", [(1.5, 1.2), (9.0, 4.0), (1.5, 30.0)], ids=str)
def test_blocks_of_long_axes_are_the_matrices_up_to_what_lies_beyond_five_widths(
    widths, monkeypatch
):
    values = values_of(170, 60)
    run = lambda v: jax.vjp(lambda v: grid_filter(v, widths), v)
    with plain():
        expected, pull_back = run(values)
        monkeypatch.setattr(spatial_gaussian, "_LONGEST", 50)
        found, pull_back_blocks = run(values)
    assert np.abs(found - expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    np.testing.assert_allclose(pull_back_blocks(values)[0], pull_back(values)[0], rtol=2e-5)


@pytest.mark.parametrize("size", [(1_000_000, 1), (1, 100_000), (30_000, 64)], ids=str)
def test_memory_grows_with_a_long_side_not_its_square(size):
    values = jax.ShapeDtypeStruct((*size, 2), np.float32)
    program = jax.jit(lambda v: grid_filter(v, (20.0, 20.0))).lower(values).compile()
    assert program.memory_analysis().temp_size_in_bytes < 30 * 8 * np.prod(size)
