"""RefineNet: published counts, its pooling chain, sizes and precision of its paths."""

import re

import jax
import jax.numpy as jnp
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50, ResNet101
from segjax.contracts import AXIS
from segjax.models.refinenet import RefineNet

IMAGE = jax.ShapeDtypeStruct((1, 33, 47, 3), jnp.float32)
SMALL = RefineNet(
    ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4), num_classes=3, features=4
)


def _count(model):
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), IMAGE)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize(
    "resnet, classes, count",
    [
        (ResNet50, 21, 99_060_309),
        (ResNet101, 21, 118_052_437),
        (ResNet101, 19, 118_047_827),
    ],
)
def test_parameters_are_as_many_as_published(resnet, classes, count):
    assert _count(RefineNet(resnet(), num_classes=classes)) == count


def test_each_pool_of_the_chain_has_a_convolution_in_every_path():
    fewer = _count(SMALL) - _count(SMALL.clone(pools=2))
    assert fewer == 2 * 9 * (8 * 8 + 3 * 4 * 4)


def test_the_decoder_computes_in_its_own_precision_and_the_logits_are_float32():
    model = SMALL.clone(dtype=jnp.bfloat16)
    apply = lambda x: model.init_with_output(
        jax.random.key(0), x, train=False, capture_intermediates=True
    )
    logits, variables = jax.eval_shape(apply, IMAGE)
    captured = variables["intermediates"]
    assert logits.dtype == jnp.float32
    assert captured["refine_c2"]["__call__"][0].dtype == jnp.bfloat16
    assert captured["refine_c2"]["__call__"][0].shape == (1, 9, 12, 4)
    assert captured["refine_c5"]["__call__"][0].shape == (1, 2, 2, 8)


def test_dropout_is_on_the_two_deepest_maps_and_before_the_classifier():
    image = jnp.zeros(IMAGE.shape)
    shapes = jax.eval_shape(lambda: SMALL.init(jax.random.key(0), image, train=False))
    train = lambda v, x: SMALL.apply(
        v, x, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
    )
    mapped = jax.pmap(train, axis_name=AXIS, in_axes=(None, 0))
    text = str(jax.make_jaxpr(mapped)(shapes, image[None]))
    masks = re.findall(r"random_bits\[bit_width=32 shape=\(([^)]*),\)", text)
    assert sorted(map(int, masks)) == sorted([2 * 2 * 32, 3 * 3 * 16, 9 * 12 * 4])
