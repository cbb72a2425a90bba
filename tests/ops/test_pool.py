"""Pooling against XLA's own windows, ties, NaN and padding included; its undoing; bins."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops import dispatch
from segjax.ops.conv import pair
from segjax.ops.pool import (
    _largest,
    adaptive_avg_pool,
    max_pool,
    max_pool_with_indices,
    max_unpool,
)

WINDOWS = [
    dict(window=3, stride=2, padding=1),
    dict(window=2, stride=2),
    dict(window=(3, 2), stride=(1, 3), padding=(1, 0)),
    dict(window=1, stride=2),
    dict(window=5, stride=2, padding=2),
    dict(window=3, stride=1, padding=1),
    dict(window=(4, 1), stride=(3, 2), padding=(2, 0)),
]


def _plain(x, **options):
    with dispatch.plain():
        return max_pool(x, **options)


def _ties(dtype=jnp.float32, shape=(2, 7, 8, 3)):
    """Values of which every window holds several equal ones."""
    return jnp.asarray(np.random.default_rng(0).integers(-3, 0, shape), dtype)


def _numpy_pool(x, *, window, stride, padding=0):
    """Returns values and positions, one window at a time."""
    (kh, kw), (sh, sw), (ph, pw) = (np.broadcast_to(v, 2) for v in (window, stride, padding))
    _, h, w, _ = x.shape
    tops = range(-ph, h + ph - kh + 1, sh)
    lefts = range(-pw, w + pw - kw + 1, sw)
    places = np.arange(h * w).reshape(h, w)
    values, positions = [], []
    for top in tops:
        for left in lefts:
            inside = np.s_[max(top, 0) : top + kh, max(left, 0) : left + kw]
            pixels = x[:, *inside].reshape(len(x), -1, x.shape[-1])
            values.append(pixels.max(1))
            positions.append(places[inside].ravel()[pixels.argmax(1)])
    shape = (len(tops), len(lefts), len(x), x.shape[-1])
    return (np.reshape(a, shape).transpose(2, 0, 1, 3) for a in (values, positions))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_value_and_both_gradients_are_those_of_xlas_primitive_ties_included(options, dtype):
    x, rng = _ties(dtype), np.random.default_rng(1)
    y = _plain(x, **options)
    # Small whole numbers, whose sums bfloat16 holds exactly.
    weight = jnp.asarray(rng.integers(-4, 5, y.shape), dtype)
    direction = jnp.asarray(rng.integers(-2, 3, x.shape), dtype)

    def orders(pool):
        energy = lambda x: (weight * pool(x, **options) ** 2).sum()
        gradient = jax.grad(energy)
        return pool(x, **options), gradient(x), jax.jvp(gradient, (x,), (direction,))[1]

    fast, plain = jax.jit(lambda: orders(max_pool))(), jax.jit(lambda: orders(_plain))()
    for found, expected in zip(fast, plain, strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
    assert np.abs(fast[2]).max() > 0


def test_the_plain_form_is_one_primitive():
    trace = lambda pool: str(jax.make_jaxpr(lambda x: pool(x, window=2, stride=2))(_ties()))
    assert "reduce_window" in trace(_plain) and "reduce_window" not in trace(max_pool)


def test_forward_and_reverse_derivatives_of_two_orders_are_finite_differences():
    x = np.random.default_rng(0).permutation(50).reshape(1, 5, 5, 2) / 10
    with jax.enable_x64(True):
        pool = lambda x: max_pool(jnp.asarray(x), window=3, stride=2, padding=1) ** 3
        check_grads(jax.jit(pool), (x,), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("options", WINDOWS, ids=str)
@pytest.mark.parametrize("odd", [np.nan, -np.inf])
def test_nan_and_windows_of_minus_infinity_have_the_gradient_of_the_selections(options, odd):
    x = _ties(shape=(2, 9, 10, 3)).at[0, 2:7, 3:9].set(odd)
    sides = [pair(options.get(name, 0)) for name in ("window", "stride", "padding")]
    y, pull_back = jax.vjp(lambda x: max_pool(x, **options), x)
    expected, selected = jax.vjp(lambda x: _largest(x, *sides), x)
    weight = jnp.asarray(np.random.default_rng(1).integers(-4, 5, y.shape), jnp.float32)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(pull_back(weight)[0], selected(weight)[0])


@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_the_gradient_stores_one_number_for_each_window(options):
    x = _ties()
    y, pull_back = jax.vjp(lambda x: max_pool(x, **options), x)
    stored = [leaf for leaf in jax.tree.leaves(pull_back) if getattr(leaf, "size", 0) > 1]
    assert [leaf.shape for leaf in stored] == [y.shape]


@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_the_gradient_reads_one_padded_copy_of_itself_and_one_of_the_winners(options):
    # A pad for each tap would be computed inside the loop over pixels: thrice the time.
    x = _ties()
    y, pull_back = jax.vjp(lambda x: max_pool(x, **options), x)
    program = jax.jit(pull_back).lower(y).as_text()
    pads = re.findall(r"stablehlo.pad .* low = \[(.*?)\], high = \[(.*?)\]", program)
    added = [edges for edges in pads if any(int(n) > 0 for n in ", ".join(edges).split(", "))]
    assert pads and len(added) <= 3  # The third adds pixels that no window reaches.


def test_a_batch_of_no_images_has_a_gradient_too():
    options = dict(window=3, stride=2, padding=1)
    empty = jnp.zeros((0, 7, 8, 3))
    assert jax.grad(lambda x: max_pool(x, **options).sum())(empty).shape == empty.shape


def test_of_equal_values_the_first_receives_the_gradient():
    total = lambda x: max_pool(x, window=2, stride=2).sum()
    gradient = jax.jit(jax.grad(total))(jnp.ones((1, 2, 2, 1)))
    assert gradient.ravel().tolist() == [1, 0, 0, 0]


def test_mapped_over_devices_and_over_an_axis_it_is_the_same():
    options = dict(window=3, stride=2, padding=1)
    x = _ties(shape=(4, 2, 5, 5, 2))
    gradient = jax.jit(jax.grad(lambda x: (max_pool(x, **options) ** 2).sum()))
    expected = np.stack([gradient(image) for image in x])
    np.testing.assert_array_equal(jax.jit(jax.vmap(gradient))(x), expected)
    np.testing.assert_array_equal(jax.pmap(gradient)(x), expected)


@pytest.mark.parametrize("row, column", [(0, 0), (2, 1), (3, 4)])
def test_a_nan_is_the_largest_of_its_windows(row, column):
    x = _ties(shape=(1, 4, 5, 1)).at[0, row, column].set(jnp.nan)
    options = dict(window=3, stride=1, padding=1)
    found = max_pool(x, **options)
    assert np.isnan(found).sum() in (4, 9)
    np.testing.assert_array_equal(found, _plain(x, **options))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_integers_have_a_largest_value_too(dtype):
    x = jnp.asarray(np.random.default_rng(0).integers(-100, 100, (1, 5, 5, 2)), dtype)
    options = dict(window=3, stride=2, padding=1)
    expected, _ = _numpy_pool(np.asarray(x), **options)
    np.testing.assert_array_equal(max_pool(x, **options), expected)
    np.testing.assert_array_equal(_plain(x, **options), expected)


@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_indices_are_the_first_positions_of_the_largest_values(options):
    x = _ties()
    values, indices = jax.jit(lambda x: max_pool_with_indices(x, **options))(x)
    expected, positions = _numpy_pool(np.asarray(x), **options)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(indices, positions)


def test_a_window_of_minus_infinity_has_a_position_in_the_image():
    x = jnp.full((1, 4, 4, 1), -jnp.inf)
    values, indices = max_pool_with_indices(x, window=3, stride=2, padding=1)
    assert np.all(values == -jnp.inf)
    assert indices.ravel().tolist() == [0, 1, 4, 5]


def test_unpooling_puts_each_value_where_it_was_and_zeros_elsewhere():
    x = jnp.asarray(np.random.default_rng(0).permutation(2 * 5 * 6 * 3) + 1.0)
    x = x.reshape(2, 5, 6, 3)
    pool = jax.jit(lambda x: max_pool_with_indices(x, window=2, stride=2))
    values, indices = pool(x)
    y = max_unpool(values, indices, (5, 6))
    kept = np.asarray(y) != 0
    assert kept.sum() == values.size
    np.testing.assert_array_equal(np.asarray(y)[kept], np.asarray(x)[kept])
    np.testing.assert_array_equal(pool(y)[0], values)


def test_unpooling_is_the_adjoint_of_picking_even_where_windows_overlap():
    x, rng = _ties(), np.random.default_rng(1)
    options = dict(window=3, stride=2, padding=1)
    pick = lambda x: max_pool(x, **options)
    values, indices = jax.jit(lambda x: max_pool_with_indices(x, **options))(x)
    y = jnp.asarray(rng.normal(size=values.shape), jnp.float32)
    spread = max_unpool(y, indices, (7, 8))
    np.testing.assert_allclose(
        spread, jax.jit(lambda x, y: jax.vjp(pick, x)[1](y)[0])(x, y), atol=1e-6
    )
    weight = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    gradient = jax.grad(lambda y: (max_unpool(y, indices, (7, 8)) * weight).sum())(y)
    flat = np.asarray(weight).reshape(2, 56, 3)
    picked = np.take_along_axis(flat, np.asarray(indices).reshape(2, -1, 3), 1)
    np.testing.assert_array_equal(gradient.reshape(picked.shape), picked)


@pytest.mark.parametrize("pool", [max_pool, max_pool_with_indices, _plain])
def test_padding_beyond_half_the_window_is_an_error(pool):
    with pytest.raises(ValueError, match="Padding 2×2 is more than half the window 3×3"):
        pool(jnp.ones((1, 5, 5, 1)), window=3, stride=1, padding=2)


def test_unpooling_to_less_than_the_values_is_an_error():
    with pytest.raises(ValueError, match="Cannot unpool 3×3 to 6×2; give the size of the map"):
        max_unpool(jnp.ones((1, 3, 3, 1)), jnp.zeros((1, 3, 3, 1), jnp.int32), (6, 2))


@pytest.mark.parametrize("bins", [1, 2, 3, 6, (4, 5), (7, 11)], ids=str)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_each_bin_is_the_mean_of_the_pixels_that_it_touches(bins, dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 9, 3)), dtype)
    found = jax.jit(adaptive_avg_pool, static_argnums=1)(x, bins)
    (rows, columns), pixels = np.broadcast_to(bins, 2), np.asarray(x, np.float64)
    expected = np.zeros((2, rows, columns, 3))
    for i in range(rows):
        for j in range(columns):
            # Any pixel of which a part lies in the i-th of `rows` equal intervals.
            tall = [p for p in range(5) if p * rows < (i + 1) * 5 and (p + 1) * rows > i * 5]
            wide = [
                p for p in range(9) if p * columns < (j + 1) * 9 and (p + 1) * columns > j * 9
            ]
            expected[:, i, j] = pixels[:, tall][:, :, wide].mean((1, 2))
    assert found.dtype == dtype and found.shape == expected.shape
    tolerance = 1e-6 if dtype == jnp.float32 else 2**-8
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, tolerance, 1e-6)


def test_no_bins_are_an_error():
    with pytest.raises(ValueError, match=r"at least 1 bin along each axis, got \(2, 0\)"):
        adaptive_avg_pool(jnp.ones((1, 5, 5, 1)), (2, 0))
