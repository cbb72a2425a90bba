"""SegNet: published counts, what unpooling puts where, local response normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.models.segnet import SegNet, SegNetBasic, local_response_norm


def _count(model):
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    params = jax.eval_shape(init, jnp.zeros((1, 33, 45, 3)))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("classes, count", [(11, 29_449_355), (21, 29_455_125)])
def test_segnet_has_as_many_parameters_as_released(classes, count):
    assert _count(SegNet(num_classes=classes)) == count


@pytest.mark.parametrize("classes, count", [(11, 1_416_587), (12, 1_416_652)])
def test_segnet_basic_has_as_many_parameters_as_released(classes, count):
    assert _count(SegNetBasic(num_classes=classes)) == count


def test_unpooling_returns_each_winner_to_its_pixel_of_an_odd_map():
    """With delta kernels the network is ReLU, pool and unpool: the winners stay, alone."""
    model = SegNet(num_classes=1, stages=((1,),))
    delta = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    one, zero = jnp.ones(1), jnp.zeros(1)
    variables = {
        "params": {
            "conv1_1": {"kernel": delta, "bias": zero},
            "conv1_1_bn": {"scale": one, "bias": zero},
            "conv1_1_D": {"kernel": delta, "bias": zero},
        },
        "batch_stats": {"conv1_1_bn": {"mean": zero, "var": one}},
    }
    image = jnp.array([[1.0, 5.0, 2.0], [4.0, 3.0, 7.0], [9.0, 8.0, 6.0]])
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    found = apply(image[None, :, :, None])[0, :, :, 0]
    expected = [[0.0, 5.0, 0.0], [0.0, 0.0, 7.0], [9.0, 0.0, 6.0]]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_local_response_norm_divides_by_the_squares_of_five_channels_around():
    x = np.random.default_rng(0).normal(0, 100, (1, 2, 3, 7)).astype(np.float32)
    expected = np.empty_like(x)
    for i in range(7):
        window = x[..., max(i - 2, 0) : i + 3]
        expected[..., i] = x[..., i] / (1 + 1e-4 * (window**2).sum(-1) / 5) ** 0.75
    np.testing.assert_allclose(local_response_norm(jnp.asarray(x)), expected, rtol=1e-5)


def test_a_window_without_a_middle_is_an_error():
    with pytest.raises(ValueError, match="must be odd, got 4"):
        local_response_norm(jnp.zeros((1, 1, 1, 3)), size=4)


def test_without_response_norm_the_image_goes_in_as_it_is():
    model = SegNetBasic(num_classes=2, depth=1, features=2)
    rng = np.random.default_rng(0)
    x = jnp.asarray(100 * rng.normal(size=(1, 5, 6, 3)), jnp.float32)
    fill = lambda leaf: jnp.asarray(rng.uniform(0.1, 1.0, leaf.shape), jnp.float32)
    variables = jax.tree.map(
        fill, jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    )
    plain = jax.jit(lambda x: model.clone(response_norm=False).apply(variables, x, train=False))
    normed = jax.jit(lambda x: model.apply(variables, x, train=False))(x)
    np.testing.assert_allclose(plain(local_response_norm(x)), normed, rtol=1e-5)
    assert np.abs(plain(x) - normed).max() > 1e-2 * np.abs(normed).max()
