"""Dropout masks: theirs is the example, not the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.layers.dropout import Dropout

X = jnp.ones((4, 16, 16, 8))


def _drop(devices, *, rate=0.25, seed=0):
    apply = lambda x: Dropout(rate).apply(
        {}, x, train=True, rngs={"dropout": jax.random.key(seed)}
    )
    y = jax.pmap(apply, axis_name=AXIS)(X.reshape(devices, -1, *X.shape[1:]))
    return np.asarray(y.reshape(X.shape))


def test_one_device_and_two_draw_the_same_masks():
    np.testing.assert_array_equal(_drop(1), _drop(2))


def test_examples_and_keys_have_different_masks():
    first, second, *_ = _drop(2)
    assert (first != second).any()
    assert (_drop(1, seed=1) != _drop(1)).any()


def test_elements_are_zeroed_at_the_rate_and_the_others_keep_the_mean():
    y = _drop(1)
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    np.testing.assert_allclose((y == 0).mean(), 0.25, atol=0.02)
    # Every element by itself: no channel and no pixel is wholly kept or dropped.
    assert 0 < (y[0] == 0).mean((0, 1)).min() and (y[0] == 0).mean((0, 1)).max() < 1


@pytest.mark.parametrize("rate, train", [(0.5, False), (0.0, True)])
def test_evaluation_and_rate_zero_change_nothing_and_need_no_rng(rate, train):
    assert Dropout(rate).apply({}, X, train=train) is X


def test_initialising_needs_no_rng_and_no_axis():
    assert not Dropout(0.5).init(jax.random.key(0), X, train=True)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_zero_to_one_is_an_error(rate):
    with pytest.raises(ValueError, match=f"got {rate}"):
        Dropout(rate).apply({}, X, train=False)


def test_masks_are_those_of_the_shape_of_an_example():
    key = jax.random.key(9)
    apply = lambda x: Dropout(0.5).apply({}, x, train=True, rngs={"dropout": key})
    y = jax.pmap(apply, axis_name=AXIS)(X[None])[0]
    # Linen folds the module's path and a count into the key.
    folded = Dropout(0.5).bind({}, rngs={"dropout": key}).make_rng("dropout")
    for place in range(len(X)):
        mask = jax.random.bernoulli(jax.random.fold_in(folded, place), 0.5, X.shape[1:])
        np.testing.assert_array_equal(y[place] != 0, mask)
