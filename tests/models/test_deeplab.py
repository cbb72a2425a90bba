"""DeepLab v1 and v2: published counts, scores on every eighth pixel, several scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet101
from segjax.backbones.vgg import DEEPLAB, VGG, VGG16, fc_kernel, subsampled_fc
from segjax.contracts import AXIS
from segjax.losses import softmax_cross_entropy
from segjax.models.deeplab import (
    DeepLab4x4,
    DeepLab4x4Rate8,
    DeepLab7x7,
    DeepLabV1,
    DeepLabV2,
)
from segjax.tasks.dense import loss_terms

FULL = VGG16(output_stride=8, pool=DEEPLAB)
DENSE = VGG(stages=(1, 1, 1, 1, 1), width=4, output_stride=8, pool=DEEPLAB)
RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, output_stride=8)
V1 = DeepLabV1(DENSE, num_classes=3, features=8)
V2 = DeepLabV2(DENSE, num_classes=3, rates=(1, 2), scales=(0.5, 1.0))
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 33, 49, 3)), jnp.float32)


def _shapes(model):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "model, count",
    [
        (DeepLabV1(FULL, num_classes=21), 20_505_429),
        (DeepLab7x7(FULL, num_classes=21), 134_346_581),
        (DeepLab4x4(FULL, num_classes=21), 65_140_565),
        (DeepLab4x4Rate8(FULL, num_classes=21), 65_140_565),
        (DeepLabV2(FULL, num_classes=21, hidden=1024), 37_877_652),
        (DeepLabV2(ResNet101(output_stride=8), num_classes=21), 44_048_532),
    ],
    ids=["LargeFOV", "7x7", "4x4", "4x4 rate 8", "ASPP-L", "ASPP of ResNet-101"],
)
def test_parameters_are_as_many_as_published(model, count):
    assert _count(_shapes(model)["params"]) == count


def test_msc_adds_640_channels_to_the_last_layer_of_largefov():
    with_msc = _shapes(DeepLabV1(FULL, num_classes=21, multi_scale=True))["params"]
    assert with_msc["fc8"]["kernel"].shape == (1, 1, 1024 + 5 * 128, 21)
    sources = [3, 64, 128, 256, 512]
    layers = sum(9 * c * 128 + 128 + 128 * 128 + 128 for c in sources)
    assert _count(with_msc) == 20_505_429 + layers + 640 * 21


@pytest.mark.parametrize("kernel_size, features", [(3, 1024), (4, 4096), (7, 4096)])
def test_a_classification_networks_layers_fit_after_subsampling(kernel_size, features):
    shape = lambda *sides: np.broadcast_to(np.float32(0), sides)
    layers = {
        "fc6": {"kernel": fc_kernel(shape(4096, 25088), 7), "bias": shape(4096)},
        "fc7": {"kernel": fc_kernel(shape(4096, 4096), 1), "bias": shape(4096)},
    }
    found = subsampled_fc(layers, kernel_size=kernel_size, features=features)
    model = DeepLabV1(FULL, num_classes=21, kernel_size=kernel_size, features=features)
    params = _shapes(model)["params"]
    wanted = {name: params[name] for name in ("fc6", "fc7")}
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, wanted)


def _variables(model):
    """Returns variables of no fresh network, without compiling `init`."""
    rng = np.random.default_rng(0)
    scale = lambda shape: np.sqrt(2 / np.prod(shape[:3])) if len(shape) == 4 else 0.2
    draw = lambda leaf: jnp.asarray(rng.normal(0, scale(leaf.shape), leaf.shape), jnp.float32)
    return jax.tree.map(draw, _shapes(model))


@pytest.mark.parametrize("size", [(1, 40), (33, 50), (63, 65)])
@pytest.mark.parametrize("model", [V1, V1.clone(multi_scale=True), V2])
def test_there_is_a_score_for_every_eighth_pixel_of_any_image(model, size):
    assert model.label_stride == 8
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    scores = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), _shapes(model), image)
    labels = np.zeros(size)[::8, ::8]
    assert (scores.shape, scores.dtype) == ((1, *labels.shape, 3), jnp.float32)


def test_eight_pixels_to_the_right_scores_are_one_further():
    # The rate is small, so that the middle sees nothing of the border.
    model = V1.clone(rate=1)
    wide = np.random.default_rng(1).normal(size=(33, 169, 3))
    pair = jnp.asarray([wide[:, :161], wide[:, 8:]], jnp.float32)
    one, other = jax.jit(lambda v: model.apply(v, pair, train=False))(_variables(model))
    assert np.std(one[:, 9:13]) > 1e-3
    np.testing.assert_allclose(other[:, 8:12], one[:, 9:13], rtol=1e-5, atol=1e-5)


def test_the_train_step_takes_the_labels_of_every_eighth_pixel():
    label = jnp.asarray(np.random.default_rng(2).integers(0, 3, (2, 33, 49)))
    logits = jnp.asarray(np.random.default_rng(3).normal(size=(2, 5, 7, 3)), jnp.float32)
    found = loss_terms(V1, softmax_cross_entropy, logits, {}, {"label": label})
    expected = softmax_cross_entropy(logits, {"label": label[:, ::8, ::8]})
    assert jax.tree.map(float, found) == jax.tree.map(float, dict(expected))


def test_scales_share_their_parameters_and_the_largest_score_counts():
    variables = _variables(V2)
    alone = [V2.clone(scales=(scale,)) for scale in V2.scales]
    assert jax.tree.map(jnp.shape, _shapes(alone[1])) == jax.tree.map(jnp.shape, variables)
    answers = lambda v: [m.apply(v, IMAGE, train=False) for m in (V2, *alone)]
    fused, *parts = jax.jit(answers)(variables)
    assert all((part == fused).any() and (part != fused).any() for part in parts)
    np.testing.assert_array_equal(fused, np.max(parts, axis=0))


def test_each_scales_scores_are_handed_over_in_training_alone():
    model = V2.clone(backbone=RESNET)
    shapes = _shapes(model)
    assert shapes.keys() == {"params", "batch_stats"}

    def apply(train):
        return lambda v, x: model.apply(
            v, x, train=train, mutable=["auxiliary", "batch_stats"]
        )[1]

    batch = jax.ShapeDtypeStruct((1, *IMAGE.shape), jnp.float32)
    mapped = jax.pmap(apply(True), axis_name=AXIS, in_axes=(None, 0))
    found = jax.eval_shape(mapped, shapes, batch)["auxiliary"]
    names = ["scale_0.5", "scale_1"]
    assert {k: v.shape for k, v in found.items()} == dict.fromkeys(names, (1, 2, 5, 7, 3))
    assert "auxiliary" not in jax.eval_shape(apply(False), shapes, IMAGE)


def test_no_scale_is_an_error():
    with pytest.raises(ValueError, match=r"scales=\(\)"):
        _shapes(V2.clone(scales=()))
