"""Skips: the middle of the larger map, the order of channels, the identity in the Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.skip import add_skip, concat_skip, no_skip


def _random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("sides", [(4, 5), (6, 7), (7, 6), (4, 8)])
def test_the_middle_of_a_larger_skip_joins_and_comes_first(sides):
    x, skip = _random(2, 4, 5, 3), _random(2, *sides, 3, seed=1)
    top, left = (sides[0] - 4) // 2, (sides[1] - 5) // 2
    middle = np.asarray(skip)[:, top : top + 4, left : left + 5]
    joined = concat_skip(x, skip[..., :2])
    np.testing.assert_array_equal(joined[..., :2], middle[..., :2])
    np.testing.assert_array_equal(joined[..., 2:], x)


def test_the_gradient_passes_addition_and_concatenation_as_it_came():
    x, skip = _random(1, 2, 2, 3), _random(1, 4, 4, 3, seed=1)
    y, pull = jax.vjp(concat_skip, x, skip)
    arriving = _random(*y.shape, seed=2)
    to_x, to_skip = pull(arriving)
    np.testing.assert_array_equal(to_x, arriving[..., 3:])
    np.testing.assert_array_equal(to_skip[:, 1:3, 1:3], arriving[..., :3])
    assert np.count_nonzero(to_skip) == arriving[..., :3].size
    y, pull = jax.vjp(add_skip, x, skip[:, :2, :2])
    np.testing.assert_array_equal(y, x + skip[:, :2, :2])
    for gradient in pull(arriving[..., :3]):
        np.testing.assert_array_equal(gradient, arriving[..., :3])


@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 3, 9, 3), "a skip of 3×9 pixels to 4×5: it may be larger, never smaller"),
        ((2, 9, 4, 3), "a skip of 9×4 pixels to 4×5"),
        ((1, 4, 5, 3), "1 skips to 2 images"),
    ],
)
def test_a_smaller_skip_or_another_batch_cannot_be_concatenated(shape, message):
    with pytest.raises(ValueError, match=message):
        concat_skip(jnp.zeros((2, 4, 5, 3)), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 2, 2, 2), (1, 3, 2, 3), (2, 2, 2, 3)])
def test_another_shape_cannot_be_added(shape):
    with pytest.raises(ValueError, match="Cannot add a skip of shape .* to .*; bring it there"):
        add_skip(jnp.zeros((1, 2, 2, 3)), jnp.zeros(shape))


def test_without_a_skip_nothing_of_it_arrives():
    x, skip = _random(1, 2, 2, 3), _random(1, 4, 4, 3, seed=1)
    y, pull = jax.vjp(no_skip, x, skip)
    np.testing.assert_array_equal(y, x)
    to_x, to_skip = pull(_random(*y.shape, seed=2))
    np.testing.assert_array_equal(to_x, _random(*y.shape, seed=2))
    assert not to_skip.any()
