"""U-Net with an encoder: published counts, any backbone, output stride and size."""

import jax
import jax.numpy as jnp
import pytest

from segjax.backbones.densenet import DenseNet
from segjax.backbones.resnet import BasicBlock, ResNet, ResNet34
from segjax.backbones.vgg import VGG
from segjax.models.unet import EncoderUNet

RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4)
BACKBONES = {
    "resnet": RESNET,
    "densenet": DenseNet(layers=(1, 1, 1, 1), growth=4, width=8),
    "vgg": VGG(stages=(1, 1, 1, 1, 1), width=4),
    "vgg_before_pool": VGG(stages=(1, 1, 1, 1, 1), width=4, before_pool=True),
}


def _init(model, size):
    init = lambda x: model.init_with_output(jax.random.key(0), x, train=False)
    return jax.eval_shape(init, jnp.zeros((1, *size, 3)))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameters_are_torchvisions_encoders_and_the_transcribed_decoders():
    _, variables = _init(EncoderUNet(ResNet34(), num_classes=1), (32, 32))
    assert _count(variables["params"]) == 21_284_672 + 3_151_697


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=list(BACKBONES))
@pytest.mark.parametrize("size", [(33, 47), (1, 70)], ids=str)
def test_every_size_and_output_stride_fits_the_same_parameters(backbone, size):
    model = EncoderUNet(backbone, num_classes=3, features=(8, 8, 4, 4, 4))
    logits, variables = _init(model, size)
    assert logits.shape == (1, *size, 3)
    dense = model.clone(backbone=backbone.clone(output_stride=8))
    assert jax.tree.map(jnp.shape, _init(dense, size)) == jax.tree.map(
        jnp.shape, (logits, variables)
    )


@pytest.mark.parametrize(
    "backbone, dtype, expected",
    [
        (RESNET.clone(dtype=jnp.bfloat16), None, jnp.bfloat16),
        (RESNET.clone(dtype=jnp.bfloat16), jnp.float32, jnp.float32),
    ],
    ids=["the backbone's", "its own"],
)
def test_the_decoder_computes_in_the_backbones_precision_unless_it_has_its_own(
    backbone, dtype, expected
):
    model = EncoderUNet(backbone, num_classes=3, features=(8, 8, 4, 4, 4), dtype=dtype)
    _, variables = _init(model, (32, 32))
    apply = lambda v: model.apply(
        v, jnp.zeros((1, 32, 32, 3)), train=False, capture_intermediates=True, mutable=True
    )
    logits, captured = jax.eval_shape(apply, variables)
    assert captured["intermediates"]["up0"]["__call__"][0].dtype == expected
    assert logits.dtype == jnp.float32


def test_a_backbone_with_a_map_of_the_images_size_has_a_skip_there_too():
    def first_kernel(name):
        model = EncoderUNet(BACKBONES[name], num_classes=3, features=(8, 8, 4, 4, 4))
        return _init(model, (32, 32))[1]["params"]["up0"]["conv0"]["kernel"].shape

    assert first_kernel("vgg") == (3, 3, 4, 4)
    assert first_kernel("vgg_before_pool") == (3, 3, 4 + 4, 4)


def test_another_number_of_widths_is_an_error():
    model = EncoderUNet(RESNET, num_classes=3, features=(8, 8, 4, 4))
    with pytest.raises(ValueError, match=r"five widths, got \(8, 8, 4, 4\)"):
        _init(model, (32, 32))
