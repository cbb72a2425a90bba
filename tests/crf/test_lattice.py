"""The lattice against the sum over all pairs, and its gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.crf.exact import gaussian_filter
from segjax.crf.hash_table import find_points
from segjax.crf.lattice import build_lattice, lattice_filter, place
from segjax.crf.mean_field import normalized
from segjax.crf.simplex import simplex
from segjax.ops.dispatch import plain


def features_of(n, d, spread=2.0, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)) * spread, jnp.float32)


def values_of(n, k=3, seed=1):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(n, k)), jnp.float32)


def photograph(h=24, w=20):
    """Features of a drawn picture, at widths of 8 pixels and 20 levels."""
    y, x = np.mgrid[:h, :w].astype(np.float32)
    disc = ((x - 9) ** 2 + (y - 11) ** 2 < 40)[..., None]
    colour = np.where(disc, [200, 90, 60], [60, 110, 160])
    colour = colour + np.random.default_rng(0).normal(size=(h, w, 3)) * 8
    place = np.stack([x, y], -1) / 8
    return jnp.asarray(np.concatenate([place, colour / 20], -1).reshape(-1, 5), jnp.float32)


@jax.jit
def filtered(features, values):
    return lattice_filter(build_lattice(features), features, values)


def relative(a, b):
    return float(jnp.abs(a - b).max() / jnp.abs(b).max())


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_a_feature_is_the_weighted_mean_of_its_corners(d):
    features = features_of(200, d)
    keys, weights = jax.jit(simplex)(features)
    last = -keys.sum(0, keepdims=True)
    corners = np.concatenate([keys, last]).astype(np.float64)
    i, j = np.arange(d + 1)[:, None], np.arange(1, d + 1)[None, :]
    basis = np.where(i < j, 1, np.where(i == j, -j, 0)) / np.sqrt(j * (j + 1))
    elevated = np.sqrt(2 / 3) * (d + 1) * basis @ np.asarray(features, np.float64).T
    np.testing.assert_allclose(np.einsum("ivn,vn->in", corners, weights), elevated, atol=1e-4)
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)
    assert weights.min() > -1e-5


@pytest.mark.parametrize("d", [2, 5])
def test_corner_r_leaves_the_remainder_r_in_all_coordinates(d):
    keys, _ = jax.jit(simplex)(features_of(100, d))
    last = -keys.sum(0, keepdims=True)
    remainders = np.concatenate([keys, last]) % (d + 1)
    expected = np.broadcast_to(np.arange(d + 1)[None, :, None], remainders.shape)
    np.testing.assert_array_equal(remainders, expected)


def test_equal_keys_are_one_point_and_different_keys_are_two():
    keys = np.random.default_rng(0).integers(-3, 3, (3, 500)).astype(np.int32)
    points = jax.jit(find_points)(keys)
    unique, inverse = np.unique(keys, axis=1, return_inverse=True)
    assert points.complete and int(points.count) == unique.shape[1]
    pairs = {(int(a), int(b)) for a, b in zip(points.point, inverse.ravel(), strict=True)}
    assert len(pairs) == unique.shape[1] == len({a for a, _ in pairs})


@pytest.mark.parametrize("features", [features_of(480, 2), photograph()], ids=["d=2", "d=5"])
def test_normalised_the_lattice_approximates_the_sum_over_all_pairs(features):
    values, ones = values_of(480), jnp.ones((480, 3))
    near = filtered(features, values) / filtered(features, ones)
    exact = gaussian_filter(features, values) / gaussian_filter(features, ones)
    assert jnp.linalg.norm(near - exact) < 0.02 * jnp.linalg.norm(exact)


@pytest.mark.parametrize("features", [features_of(480, 2), photograph()], ids=["d=2", "d=5"])
def test_rows_of_eight_are_the_plain_scatter(features):
    values = values_of(len(features))
    with plain():
        expected = jax.jit(lambda f, v: lattice_filter(build_lattice(f), f, v))(
            features, values
        )
    np.testing.assert_allclose(filtered(features, values), expected, rtol=1e-5, atol=1e-6)


def test_a_point_with_hundreds_of_entries_adds_up_all_of_them():
    features = jnp.zeros((480, 2)).at[0].set(50.0)
    one = filtered(features, jnp.zeros((480, 3)).at[1].set(1.0))
    every = filtered(features, jnp.ones((480, 3)))
    np.testing.assert_allclose(every[1:], 479 * one[1:], rtol=1e-4)


def test_the_transpose_is_the_filter_with_its_blurs_in_the_other_order():
    features = photograph()
    x, y = values_of(480, seed=2), values_of(480, seed=3)
    lattice = jax.jit(build_lattice)(features)

    @jax.jit
    def both(x, y):
        filter_x, pull_back = jax.vjp(lambda v: lattice_filter(lattice, features, v), x)
        return filter_x, *pull_back(y), lattice_filter(lattice, features, y)

    filter_x, transposed_y, filter_y = both(x, y)
    np.testing.assert_allclose(jnp.vdot(filter_x, y), jnp.vdot(x, transposed_y), rtol=1e-5)
    # Without the other order it would not be the transpose.
    assert relative(transposed_y, filter_y) > 1e-5


def test_gradients_by_widths_point_where_those_of_the_exact_sum_do():
    features = photograph()
    # As a loss has them: values that follow the picture, and what they lack to the truth.
    g = jnp.repeat(jnp.where(features[:, 2:3] > 6, 1.0, -1.0), 3, axis=1)
    v = values_of(480) + 0.5 * g

    def total(widths, kernel):
        scaled = features / widths[None]
        filter_ = normalized(lambda x: kernel(scaled, x), 480, "after")
        return jnp.vdot(g, filter_(v))

    near = jax.jit(jax.grad(lambda w: total(w, filtered)))(jnp.ones(5))
    exact = jax.jit(jax.grad(lambda w: total(w, gaussian_filter)))(jnp.ones(5))
    lengths = jnp.linalg.norm(near), jnp.linalg.norm(exact)
    assert jnp.vdot(near, exact) > 0.95 * lengths[0] * lengths[1]
    assert 0.6 < lengths[0] / lengths[1] < 1.6


@pytest.mark.slow
def test_images_mapped_over_are_those_one_by_one():
    features = jnp.stack([features_of(480, 2, seed=s) for s in (0, 1)])
    values = jnp.stack([values_of(480, seed=s) for s in (0, 1)])
    together = jax.jit(jax.vmap(filtered))(features, values)
    for i in (0, 1):
        np.testing.assert_allclose(together[i], filtered(features[i], values[i]), rtol=1e-6)


@pytest.mark.slow
def test_a_lattice_without_room_says_so_and_filters_to_nan():
    features, values = features_of(480, 2), values_of(480)
    build = jax.jit(build_lattice, static_argnames="capacity")
    count = int(jax.jit(place)(features).points.count)
    small, enough = (build(features, capacity=c) for c in (count - 1, count))
    assert small.overflow and not enough.overflow and int(small.count) == count
    result = jax.jit(lattice_filter)(small, features, values)
    assert jnp.isnan(result).all()
    result = jax.jit(lattice_filter)(enough, features, values)
    np.testing.assert_allclose(result, filtered(features, values), rtol=1e-5)


def test_no_room_at_all_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="got capacity=0"):
        jax.eval_shape(lambda f: build_lattice(f, capacity=0), features_of(4, 2))
