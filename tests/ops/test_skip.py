"""Skips: the middle of the larger map, the order of channels, the identity in the Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.skip import add_skip, concat_skip


def _random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("sides", [(4, 5), (6, 7), (7, 6), (4, 8)])
def test_the_middle_of_a_larger_skip_joins_and_comes_first(sides):
    x, skip = _random(2, 4, 5, 3), _random(2, *sides, 3, seed=1)
    top, left = (sides[0] - 4) // 2, (sides[1] - 5) // 2
    middle = np.asarray(skip)[:, top : top + 4, left : left + 5]
    np.testing.assert_array_equal(add_skip(x, skip), middle + np.asarray(x))
    joined = concat_skip(x, skip[..., :2])
    np.testing.assert_array_equal(joined[..., :2], middle[..., :2])
    np.testing.assert_array_equal(joined[..., 2:], x)


def test_the_gradient_passes_addition_and_concatenation_as_it_came():
    x, skip = _random(1, 2, 2, 3), _random(1, 4, 4, 3, seed=1)
    for join, channels in ((add_skip, slice(3)), (concat_skip, slice(3, 6))):
        y, pull = jax.vjp(join, x, skip)
        arriving = _random(*y.shape, seed=2)
        to_x, to_skip = pull(arriving)
        np.testing.assert_array_equal(to_x, arriving[..., channels])
        np.testing.assert_array_equal(to_skip[:, 1:3, 1:3], arriving[..., :3])
        assert np.count_nonzero(to_skip) == arriving[..., :3].size


@pytest.mark.parametrize("join", [add_skip, concat_skip])
@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 3, 9, 3), "a skip of 3×9 pixels to 4×5: it may be larger, never smaller"),
        ((2, 9, 4, 3), "a skip of 9×4 pixels to 4×5"),
        ((1, 4, 5, 3), "1 skips to 2 images"),
    ],
)
def test_a_smaller_skip_or_another_batch_is_an_error(join, shape, message):
    with pytest.raises(ValueError, match=message):
        join.__wrapped__(jnp.zeros((2, 4, 5, 3)), jnp.zeros(shape))


def test_other_channels_cannot_be_added():
    with pytest.raises(
        ValueError, match="a skip of 2 channels to 3; bring it to them by a 1×1"
    ):
        add_skip(jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2, 2)))
