"""DeepLab v3: published counts, its head's variants, the auxiliary head, the output stride."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.mobilenet_v3 import MobileNetV3Large
from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50, ResNet101
from segjax.contracts import AXIS
from segjax.layers.conv import ConvNormReLU
from segjax.models.deeplab_v3 import DeepLabV3

RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, output_stride=16)
SMALL = DeepLabV3(RESNET, num_classes=3, rates=(1, 2), features=8)
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 65, 3)), jnp.float32)


def _shapes(model, *, train=False):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=train))


def _count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(_shapes(model)["params"]))


@pytest.mark.parametrize("resnet, count", [(ResNet50, 42_004_074), (ResNet101, 60_996_202)])
def test_parameters_are_as_many_as_published(resnet, count):
    model = DeepLabV3(
        resnet(output_stride=8), num_classes=21, rates=(12, 24, 36), auxiliary=True
    )
    assert _count(model) == count


def test_the_papers_head_lacks_the_extra_convolution():
    assert _count(SMALL) - _count(SMALL.clone(extra_conv=False)) == 9 * 8 * 8 + 2 * 8


@pytest.mark.parametrize("train", [False, True])
def test_the_auxiliary_head_has_parameters_whatever_train_is_and_init_sows_nothing(train):
    variables = _shapes(SMALL.clone(auxiliary=True), train=train)
    assert "auxiliary_head" in variables["params"]
    assert set(variables) == {"params", "batch_stats"}


@pytest.mark.parametrize("feature", ["c3", "c4"])
def test_auxiliary_logits_are_handed_over_in_training_alone(feature):
    model = SMALL.clone(auxiliary=True, auxiliary_feature=feature, dropout=0.0)
    apply = lambda train: (
        lambda v, x: model.apply(
            v,
            x,
            train=train,
            mutable=["auxiliary", "batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )[1]
    )
    shapes = _shapes(model)
    batch = jax.ShapeDtypeStruct((1, *IMAGE.shape), jnp.float32)
    training = jax.eval_shape(
        jax.pmap(apply(True), axis_name=AXIS, in_axes=(None, 0)), shapes, batch
    )
    assert set(training["auxiliary"]) == {feature}
    assert training["auxiliary"][feature].shape == (1, 1, 65, 65, 3)
    evaluating = jax.eval_shape(apply(False), shapes, IMAGE)
    assert "auxiliary" not in evaluating


def test_the_auxiliary_head_reads_the_feature_that_is_named():
    params = _shapes(SMALL.clone(auxiliary=True, auxiliary_feature="c3"))["params"]
    assert params["auxiliary_head"]["conv"]["conv"]["kernel"].shape == (3, 3, 8, 2)


@pytest.mark.parametrize("auxiliary, count", [(False, 11_025_477), (True, 11_029_328)])
def test_parameters_with_mobilenet_v3_are_as_many_as_published(auxiliary, count):
    model = DeepLabV3(
        MobileNetV3Large(output_stride=16),
        num_classes=21,
        rates=(12, 24, 36),
        auxiliary=auxiliary,
        auxiliary_feature="c3",
    )
    assert _count(model) == count


def test_another_output_stride_scales_the_rates_and_back():
    model = DeepLabV3(
        ResNet101(output_stride=16, multi_grid=(1, 2, 4)), num_classes=21, rates=(6, 12, 18)
    )
    dense = model.at_output_stride(8)
    assert (dense.rates, dense.backbone.output_stride) == ((12, 24, 36), 8)
    assert dense.backbone.multi_grid == (1, 2, 4)
    assert dense.at_output_stride(16) == model


def test_rates_that_would_be_broken_are_an_error_that_names_them():
    with pytest.raises(ValueError, match=r"\(1, 2\) at output stride 16 .* 32; choose"):
        SMALL.at_output_stride(32)


def _random(model):
    """Returns variables without compiling `init`."""
    rng = np.random.default_rng(0)
    fill = lambda leaf: jnp.asarray(rng.uniform(-0.1, 0.3, leaf.shape), jnp.float32) ** 2
    return jax.tree.map(fill, _shapes(model))


def _output_of(name, model, variables):
    keep = lambda module, _: module.name == name
    apply = lambda v: model.apply(
        v, IMAGE, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    logits, captured = jax.jit(apply)(variables)
    return logits, captured["intermediates"][name]["__call__"][0]


def test_at_half_the_output_stride_the_pyramid_subsamples_to_the_trained_one():
    variables = _random(SMALL)
    # The pooled image alone depends on how densely it is sampled.
    variables["params"]["aspp"]["convs_3"]["conv"]["kernel"] *= 0.0
    _, strided = _output_of("aspp", SMALL, variables)
    _, dense = _output_of("aspp", SMALL.at_output_stride(8), variables)
    assert strided.shape[1:3] == (5, 5) and (np.std(strided, axis=(1, 2)) > 1e-3).any()
    np.testing.assert_allclose(dense[:, ::2, ::2], strided, atol=1e-5 * np.abs(strided).max())


def test_align_corners_puts_the_scores_on_every_sixteenth_pixel():
    model = SMALL.clone(align_corners=True)
    logits, scores = _output_of("classifier", model, _random(model))
    np.testing.assert_allclose(logits[:, ::16, ::16], scores, atol=1e-5 * np.abs(scores).max())


@pytest.mark.parametrize("dtype, expected", [(None, jnp.bfloat16), (jnp.float32, jnp.float32)])
def test_the_head_computes_in_the_backbones_precision_unless_it_has_its_own(dtype, expected):
    model = SMALL.clone(backbone=RESNET.clone(dtype=jnp.bfloat16), dtype=dtype)
    logits, aspp = jax.eval_shape(lambda v: _output_of("aspp", model, v), _shapes(model))
    assert (aspp.dtype, logits.dtype) == (expected, jnp.float32)


class _Stem(nn.Module):
    """The least that is a backbone."""

    output_stride: int = 8
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, image, *, train):
        x = ConvNormReLU(8, 9, stride=8, name="c4")(image, train=train)
        return {"c4": x, "c5": ConvNormReLU(8, 1, name="c5")(x, train=train)}


def test_training_with_two_heads_and_dropout_does_not_depend_on_the_number_of_devices():
    model = DeepLabV3(_Stem(), num_classes=3, rates=(1, 2), features=8, auxiliary=True)
    variables = _random(model)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 24, 3)), jnp.float32)

    def loss(params, rest, x):
        logits, new = model.apply(
            {"params": params, **rest},
            x,
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": jax.random.key(0)},
        )
        return (jnp.sin(logits) + jnp.cos(new["auxiliary"]["c4"])).sum(), new["batch_stats"]

    def step(params, rest, x):
        gradient, statistics = jax.grad(loss, has_aux=True)(params, rest, x)
        return jax.lax.psum(gradient, AXIS), statistics

    rest = {"batch_stats": variables["batch_stats"]}
    run = jax.pmap(step, axis_name=AXIS, in_axes=(None, None, 0))
    one, two = (
        run(variables["params"], rest, images.reshape(n, 4 // n, 16, 24, 3)) for n in (1, 2)
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(b[0], a[0], atol=1e-5 * np.abs(a).max(), rtol=1e-4)
