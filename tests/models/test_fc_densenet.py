"""FC-DenseNet: published counts, widths at the blocks' ends, sizes, dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.models.fc_densenet import FCDenseNet, FCDenseNet56, FCDenseNet67, FCDenseNet103

SMALL = FCDenseNet(num_classes=3, layers=(1, 1, 1), growth=4, features=6)


@functools.cache
def _shapes(model):
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    return jax.eval_shape(init, jnp.zeros((1, 32, 32, 3)))


def _random(model):
    """Returns variables without compiling `init`."""
    rng = np.random.default_rng(0)
    fill = lambda leaf: jnp.asarray(rng.uniform(-0.3, 0.6, leaf.shape), jnp.float32)
    params, statistics = (
        jax.tree.map(fill, _shapes(model)[k]) for k in ("params", "batch_stats")
    )
    return {"params": params, "batch_stats": jax.tree.map(jnp.abs, statistics)}


def _image(height, width):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(1, height, width, 3)), jnp.float32)


# The paper's table 3 prints 1.5, 3.5 and 9.4 million; these are the transcription's in
# make_golden_encoder_decoder.py.
@pytest.mark.parametrize(
    "network, count",
    [(FCDenseNet56, 1_376_795), (FCDenseNet67, 3_463_243), (FCDenseNet103, 9_322_091)],
)
def test_parameters_are_as_many_as_the_transcriptions(network, count):
    params = _shapes(network(num_classes=11))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_blocks_of_103_end_with_the_published_numbers_of_channels():
    params = _shapes(FCDenseNet103(num_classes=11))["params"]
    inputs = lambda name: params[name]["conv"]["kernel"].shape[2]
    assert [inputs(f"transition_down{i}") for i in range(5)] == [112, 192, 304, 464, 656]
    ends = [
        max(layer["conv"]["kernel"].shape[2] for layer in params[name].values()) + 16
        for name in ("bottom", "up4", "up3", "up2", "up1", "up0")
    ]
    assert ends == [896, 1088, 816, 576, 384, 256]
    assert params["classifier"]["kernel"].shape[2] == 256


def test_a_side_that_would_be_pooled_away_is_mirrored_out_and_cropped_back():
    variables, x = _random(SMALL), _image(1, 5)
    apply = jax.jit(lambda x: SMALL.apply(variables, x, train=False))
    mirrored = apply(jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), mode="edge"))
    np.testing.assert_allclose(apply(x), mirrored[:, :1], atol=1e-6)


def test_dropout_acts_in_training_alone():
    variables, x = _random(SMALL), _image(8, 8)
    apply = lambda x, key: SMALL.apply(
        variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
    )[0]
    run = jax.pmap(apply, axis_name=AXIS, in_axes=(0, None))
    first, second = (run(x[None], jax.random.key(i))[0] for i in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    without = SMALL.clone(dropout=0.0)
    evaluate = lambda model: jax.jit(lambda: model.apply(variables, x, train=False))()
    np.testing.assert_array_equal(evaluate(SMALL), evaluate(without))


@pytest.mark.parametrize("layers", [(1, 1), (1, 0, 1)])
def test_layers_without_a_middle_or_without_a_layer_are_an_error(layers):
    with pytest.raises(ValueError, match="odd number of blocks' .* at least 1, got"):
        _shapes(SMALL.clone(layers=layers))
