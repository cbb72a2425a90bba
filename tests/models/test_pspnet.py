"""PSPNet: published counts, the auxiliary head, dropout of whole channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50, ResNet101
from segjax.contracts import AXIS
from segjax.layers.head import FCNHead
from segjax.models.pspnet import PSPNet

RESNET = ResNet(
    stages=(1, 1, 1, 1), block=BasicBlock, width=8, output_stride=8, uniform_dilation=True
)
SMALL = PSPNet(RESNET, num_classes=3, auxiliary=True, dropout=0.0)
IMAGE = jax.ShapeDtypeStruct((1, 33, 47, 3), jnp.float32)


def _shapes(model, *, train=False):
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=train), IMAGE)


@pytest.mark.parametrize(
    "resnet, classes, auxiliary, count",
    [
        (ResNet50, 21, False, 46_716_373),
        (ResNet50, 21, True, 49_081_578),
        (ResNet50, 19, True, 49_080_038),
        (ResNet101, 150, True, 68_173_036),
    ],
)
def test_parameters_are_as_many_as_published(resnet, classes, auxiliary, count):
    backbone = resnet(deep_stem=True, output_stride=8, uniform_dilation=True)
    shapes = _shapes(PSPNet(backbone, num_classes=classes, auxiliary=auxiliary))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == count


@pytest.mark.parametrize("train", [False, True])
def test_the_auxiliary_head_has_parameters_whatever_train_is_and_init_sows_nothing(train):
    variables = _shapes(SMALL, train=train)
    assert "auxiliary_head" in variables["params"]
    assert set(variables) == {"params", "batch_stats"}


def test_auxiliary_logits_are_handed_over_in_training_alone():
    apply = lambda train: (
        lambda v, x: SMALL.apply(v, x, train=train, mutable=["auxiliary", "batch_stats"])[1]
    )
    shapes = _shapes(SMALL)
    batch = jax.ShapeDtypeStruct((1, *IMAGE.shape), jnp.float32)
    training = jax.eval_shape(
        jax.pmap(apply(True), axis_name=AXIS, in_axes=(None, 0)), shapes, batch
    )
    assert training["auxiliary"]["c4"].shape == (1, 1, 33, 47, 3)
    assert "auxiliary" not in jax.eval_shape(apply(False), shapes, IMAGE)


def test_another_output_stride_changes_the_backbone_and_no_parameter():
    coarse = SMALL.at_output_stride(16)
    assert coarse.backbone.output_stride == 16 and coarse.at_output_stride(8) == SMALL
    assert jax.tree.map(jnp.shape, _shapes(coarse)) == jax.tree.map(jnp.shape, _shapes(SMALL))


def test_dropout_takes_whole_channels_and_scales_the_others():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 5, 4, 8)), jnp.float32)
    head = FCNHead(num_classes=8, features=8, dropout=0.5, whole_channels=True)
    variables = jax.jit(lambda x: head.init(jax.random.key(0), x, train=False))(x[0])
    # The classifier hands on what it gets.
    variables["params"]["classifier"]["kernel"] = jnp.eye(8)[None, None]

    def train(rate):
        apply = lambda v, x: head.clone(dropout=rate).apply(
            v, x, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(1)}
        )
        run = jax.pmap(apply, axis_name=AXIS, in_axes=(None, 0))
        return np.asarray(run(variables, x)[0])[0]

    whole, dropped = train(0.0), train(0.5)
    kept = (dropped > 0).any((1, 2), keepdims=True)
    assert 2 < kept.sum() < 14
    np.testing.assert_allclose(dropped, np.where(kept, 2 * whole, 0), rtol=1e-6)
