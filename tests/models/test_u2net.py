"""U²-Net: published counts, by stage and whole, and the side outputs that training sees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.models.u2net import U2Net, U2NetP

SMALL = U2Net(
    num_classes=2,
    encoder=((3, 2, 4), (3, 2, 4)),
    decoder=((3, 2, 4),),
)


@functools.cache
def _shapes(model, *, train=False):
    init = lambda x: model.init(jax.random.key(0), x, train=train)
    return jax.eval_shape(init, jnp.zeros((1, 33, 45, 3)))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "network, classes, count",
    [
        (U2Net, 1, 44_009_869),
        (U2Net, 21, 44_289_129),
        (U2NetP, 1, 1_131_181),
    ],
)
def test_parameters_are_as_many_as_released(network, classes, count):
    assert _count(_shapes(network(num_classes=classes))["params"]) == count


def test_each_stage_has_as_many_parameters_as_released():
    params = _shapes(U2Net(num_classes=1))["params"]
    assert {name: _count(stage) for name, stage in params.items() if "stage" in name} == {
        "stage1": 206_016,
        "stage2": 305_856,
        "stage3": 1_108_992,
        "stage4": 3_986_688,
        "stage5": 10_034_688,
        "stage6": 10_034_688,
        "stage5d": 12_393_984,
        "stage4d": 4_280_064,
        "stage3d": 1_181_952,
        "stage2d": 323_904,
        "stage1d": 139_200,
    }


@pytest.mark.parametrize("train", [False, True])
def test_side_outputs_have_parameters_whatever_train_is_and_init_sows_nothing(train):
    variables = _shapes(SMALL, train=train)
    assert {"side1", "side2", "outconv"} <= set(variables["params"])
    assert set(variables) == {"params", "batch_stats"}


def test_training_sows_the_side_outputs_that_the_logits_fuse():
    rng = np.random.default_rng(0)
    fill = lambda leaf: jnp.asarray(rng.uniform(-0.3, 0.6, leaf.shape), jnp.float32)
    variables = jax.tree.map(fill, _shapes(SMALL))
    x = jnp.asarray(rng.normal(size=(1, 1, 13, 22, 3)), jnp.float32)
    apply = lambda x: SMALL.apply(
        variables, x, train=True, mutable=["auxiliary", "batch_stats"]
    )
    logits, new = jax.pmap(apply, axis_name=AXIS)(x)
    sides = new["auxiliary"]
    assert set(sides) == {"d1", "d2"}
    assert all(side.shape == (1, 1, 13, 22, 2) for side in sides.values())
    joined = jnp.concatenate([sides[f"d{i}"] for i in (1, 2)], axis=-1)
    fusion = variables["params"]["outconv"]
    expected = joined @ fusion["kernel"][0, 0] + fusion["bias"].reshape(1, 1, 1, 1, 2)
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())
    evaluated = lambda v: SMALL.apply(v, x[0], train=False, mutable=["auxiliary"])[1]
    assert "auxiliary" not in jax.eval_shape(evaluated, variables)


def test_a_decoder_that_does_not_fit_the_encoder_is_an_error():
    with pytest.raises(ValueError, match="2 stages needs a decoder of one stage fewer, got 2"):
        _shapes(SMALL.clone(decoder=((3, 2, 4), (3, 2, 4))))
