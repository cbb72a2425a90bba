"""MobileNetV3: which maps it returns, and what its output stride changes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.mobilenet_v3 import (
    MobileNetV3,
    MobileNetV3Large,
    MobileNetV3Small,
    Row,
)
from segjax.ops.dispatch import plain

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 33, 3)), jnp.float32)
TINY = partial(
    MobileNetV3,
    rows=(
        Row(3, 16, 8, True, False, 2),
        Row(3, 24, 8, False, True, 2),
        Row(5, 16, 8, False, False, 2),
        Row(5, 16, 16, True, True, 2),
        Row(3, 32, 16, False, True, 1),
        Row(3, 32, 16, False, True, 1),
    ),
)


def _init(model):
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), IMAGE, train=False))


def _fill(leaf):
    values = np.random.default_rng(leaf.size).uniform(-0.4, 0.9, leaf.shape)
    return jnp.asarray(values**2, jnp.float32)


@pytest.fixture(scope="module")
def variables():
    """Variables of the tiny network, of no fresh one."""
    return jax.tree.map(_fill, _init(TINY())[1])


@pytest.mark.parametrize(
    "model, channels",
    [(MobileNetV3Large, (16, 24, 40, 80, 960)), (MobileNetV3Small, (16, 16, 24, 40, 576))],
)
@pytest.mark.parametrize("output_stride, last", [(32, (3, 2)), (16, (5, 3))])
def test_it_returns_the_first_map_of_each_stride_and_the_last_convolution(
    model, channels, output_stride, last
):
    features = _init(model(output_stride=output_stride))[0]
    assert tuple(features[f"c{i}"].shape[-1] for i in range(1, 6)) == channels
    sizes = [features[f"c{i}"].shape[1:3] for i in range(1, 6)]
    assert sizes == [(33, 17), (17, 9), (9, 5), (5, 3), last]


def test_the_output_stride_changes_the_last_stage_alone(variables):
    run = lambda stride: jax.jit(
        lambda v: TINY(output_stride=stride).apply(v, IMAGE, train=False)
    )(variables)
    with plain():
        strided, dense = run(32), run(16)
    for name in ("c1", "c2", "c3"):
        np.testing.assert_array_equal(dense[name], strided[name])
    assert dense["c5"].shape[1:3] == (5, 3) and strided["c5"].shape[1:3] == (3, 2)


@pytest.mark.parametrize("output_stride", [8, 64])
def test_another_output_stride_is_an_error(output_stride):
    with pytest.raises(ValueError, match=f"16 or 32, got {output_stride}"):
        _init(MobileNetV3Large(output_stride=output_stride))
