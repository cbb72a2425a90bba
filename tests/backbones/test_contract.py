"""What every backbone promises, one small variant of each; and counts of the published ones."""

import functools
import pathlib
import runpy
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from segjax.backbones.densenet import DenseNet, DenseNet121, DenseNet169, DenseNet201
from segjax.backbones.mobilenet_v3 import (
    MobileNetV3,
    MobileNetV3Large,
    MobileNetV3Small,
    Row,
)
from segjax.backbones.resnet import (
    BasicBlock,
    Bottleneck,
    BottleneckV1,
    ResNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
)
from segjax.backbones.vgg import VGG, VGG16
from segjax.backbones.xception import Xception, Xception41, Xception65, Xception71
from segjax.conformity import missing
from segjax.contracts import Backbone
from segjax.layers.norm import FrozenBatchNorm, GroupNorm
from segjax.ops.dispatch import plain

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 65, 33, 3)), jnp.float32)


class Promise(NamedTuple):
    """A small variant at output stride 32, and what it keeps of the contract.

    Attributes:
      small: the variant.
      channels: of c1 … c5.
      parts: how many calls the field `remat` wraps, each stage's or each block's: count them.
      strides: the output strides that it has.
      subsampled: at output stride 16 and at 8, the k of the deepest c_k whose pixels are those
        of the strided one: 5 unless the backbone says why not.
    """

    small: nn.Module
    channels: tuple[int, ...]
    parts: int
    strides: tuple[int, ...] = (8, 16, 32)
    subsampled: tuple[int, int] = (5, 5)


def _resnet(block, **options):
    return ResNet(stages=(1, 1, 1, 2), block=block, width=4, **options)


BACKBONES = {
    "resnet_basic": Promise(_resnet(BasicBlock), (4, 4, 8, 16, 32), 5),
    "resnet_bottleneck": Promise(_resnet(Bottleneck), (4, 16, 32, 64, 128), 5),
    "resnet_v1": Promise(_resnet(BottleneckV1, deep_stem=True), (8, 16, 32, 64, 128), 5),
    "vgg": Promise(
        VGG(stages=(1, 1, 1, 1, 2), width=4, batch_norm=True),
        (4, 8, 16, 32, 32),
        5,
        subsampled=(5, 4),
    ),
    "densenet": Promise(
        DenseNet(layers=(1, 1, 2, 1), growth=4, width=8), (8, 12, 10, 13, 10), 5
    ),
    "mobilenet_v3": Promise(
        MobileNetV3(
            rows=(
                Row(3, 16, 8, True, False, 2),
                Row(3, 24, 8, False, True, 2),
                Row(5, 16, 8, False, False, 2),
                Row(5, 16, 16, True, True, 2),
                Row(3, 32, 16, False, True, 1),
                Row(3, 32, 16, False, True, 1),
            )
        ),
        (16, 8, 8, 8, 96),
        6,
        strides=(16, 32),
        subsampled=(4, 0),
    ),
    "xception": Promise(
        Xception(
            entry_flow=((8, 2), (8, 2), (8, 2)),
            middle_units=1,
            exit_flow=((8, 8, 8), (8, 8, 16)),
        ),
        (8, 8, 8, 8, 16),
        6,
    ),
}
each_backbone = pytest.mark.parametrize("name", BACKBONES)


@functools.cache
def _shapes(model, size=(65, 33)):
    """Returns features and variables; nothing is computed."""
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    with plain():  # Traces faster, here and below.
        init = lambda x: model.init_with_output(jax.random.key(0), x, train=False)
        return jax.eval_shape(init, image)


@functools.cache
def _features(name, output_stride):
    model = BACKBONES[name].small.clone(output_stride=output_stride)
    with plain():
        apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
        return apply(LIVELY(_shapes(model)[1]), IMAGE)


@each_backbone
def test_maps_have_the_nominal_strides_at_every_output_stride_and_parameters_stay(name):
    promise = BACKBONES[name]
    assert not missing(promise.small, Backbone)
    for output_stride in promise.strides:
        model = promise.small.clone(output_stride=output_stride)
        features, variables = _shapes(model, (64, 96))
        strides = [min(2**level, output_stride) for level in range(1, 6)]
        expected = {
            f"c{level}": (1, 64 // stride, 96 // stride, channels)
            for level, stride, channels in zip(
                range(1, 6), strides, promise.channels, strict=True
            )
        }
        assert {key: value.shape for key, value in features.items()} == expected
        assert variables == _shapes(promise.small)[1]


@each_backbone
def test_every_norm_of_a_backbone_is_one_of_the_field(name):
    model = BACKBONES[name].small
    features, trained = _shapes(model)
    maps, frozen = _shapes(model.clone(norm=FrozenBatchNorm))
    _, grouped = _shapes(model.clone(norm=functools.partial(GroupNorm, groups=1)))
    assert maps == features
    norms = {path[:-1] for path in flatten_dict(trained["batch_stats"])}
    of_norms = {(*norm, leaf) for norm in norms for leaf in ("scale", "bias")}
    # The same numbers in all, but a frozen norm's are no parameters, and groups have no mean.
    assert (
        set(flatten_dict(frozen["params"])) == set(flatten_dict(trained["params"])) - of_norms
    )
    statistics = flatten_dict(frozen["batch_stats"])
    assert set(statistics) == set(flatten_dict(trained["batch_stats"])) | of_norms
    assert grouped == {"params": trained["params"]}


@pytest.mark.slow_but("resnet_basic", "mobilenet_v3")
@each_backbone
def test_frozen_norms_give_the_features_of_batch_norms_in_training_too(name):
    model = BACKBONES[name].small
    variables = LIVELY(_shapes(model)[1])
    params, statistics = (
        flatten_dict(variables["params"]),
        flatten_dict(variables["batch_stats"]),
    )
    norms = {path[:-1] for path in statistics}
    affine = {path: leaf for path, leaf in params.items() if path[:-1] in norms}
    frozen = {
        "params": unflatten_dict({p: leaf for p, leaf in params.items() if p not in affine}),
        "batch_stats": unflatten_dict(statistics | affine),
    }
    with plain():
        frozen_model = model.clone(norm=FrozenBatchNorm)
        found = jax.jit(lambda v, x: frozen_model.apply(v, x, train=True))(frozen, IMAGE)
    for key, value in _features(name, 32).items():
        np.testing.assert_allclose(found[key], value, atol=1e-5 * np.abs(value).max())


@each_backbone
def test_an_output_stride_that_it_does_not_have_is_an_error(name):
    with pytest.raises(ValueError, match="got 12"):
        _shapes(BACKBONES[name].small.clone(output_stride=12))


@each_backbone
def test_maps_have_the_dtype_of_the_field_and_parameters_are_float32(name):
    features, variables = _shapes(BACKBONES[name].small.clone(dtype=jnp.bfloat16))
    assert {value.dtype for value in features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


@each_backbone
def test_features_are_finite_and_differ_from_pixel_to_pixel(name):
    for key, value in _features(name, 32).items():
        assert np.isfinite(value).all(), key
        assert np.std(value, axis=(1, 2)).max() > 1e-3, key


@each_backbone
def test_in_evaluation_an_images_features_depend_on_that_image_alone(name):
    model = BACKBONES[name].small
    with plain():
        apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
        alone = apply(LIVELY(_shapes(model)[1]), IMAGE[:1])
    for key, value in _features(name, 32).items():
        np.testing.assert_allclose(value[:1], alone[key], atol=1e-5 * np.abs(value).max())


@pytest.mark.parametrize(
    "name, output_stride",
    [(name, stride) for name, row in BACKBONES.items() for stride in row.strides[:-1]],
)
def test_dense_features_subsample_to_the_strided_ones(name, output_stride):
    strided, dense = _features(name, 32), _features(name, output_stride)
    deepest = BACKBONES[name].subsampled[output_stride == 8]
    for level in range(1, deepest + 1):
        step = max(2**level // output_stride, 1)
        wanted = strided[f"c{level}"]
        found = dense[f"c{level}"][:, ::step, ::step][:, : wanted.shape[1], : wanted.shape[2]]
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow_but("resnet_basic", "mobilenet_v3")
@each_backbone
def test_a_gradient_reaches_every_parameter_and_is_the_same_computed_anew(name):
    model = BACKBONES[name].small
    variables = LIVELY(_shapes(model)[1])
    rest = {key: tree for key, tree in variables.items() if key != "params"}
    image = IMAGE

    def traced(model):
        def loss(params):
            features = model.apply({"params": params, **rest}, image, train=False)
            return sum(jnp.sin(value).sum() for value in features.values())

        return jax.jit(jax.grad(loss)).trace(variables["params"])

    anew = model.clone(remat=True)
    assert _shapes(anew)[1] == _shapes(model)[1]
    with plain():
        programs = [traced(network) for network in (model, anew)]
        assert [_parts_computed_anew(p) for p in programs] == [0, BACKBONES[name].parts]
        kept, again = (p.lower().compile()(variables["params"]) for p in programs)
    dead = [path for path, leaf in jax.tree.leaves_with_path(kept) if not np.abs(leaf).max()]
    assert not dead
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4 * np.abs(a).max())


def _parts_computed_anew(traced):
    return sum("policy" in equation.params for equation in traced.jaxpr.eqns)


@pytest.mark.parametrize(
    "model, count",
    [
        # Without the classifier. torchvision's:
        (ResNet18(), 11_176_512),
        (ResNet34(), 21_284_672),
        (ResNet50(), 23_508_032),
        (ResNet101(), 42_500_160),
        (ResNet152(), 58_143_808),
        # PSPNet's:
        (ResNet50(deep_stem=True, block=BottleneckV1), 23_631_808),
        (ResNet101(deep_stem=True, block=BottleneckV1), 42_623_936),
        # torchvision's:
        (VGG16(), 14_714_688),
        (VGG16(batch_norm=True), 14_723_136),
        (DenseNet121(), 6_953_856),
        (DenseNet169(), 12_484_480),
        (DenseNet201(), 18_092_928),
        (MobileNetV3Large(), 2_971_952),
        (MobileNetV3Large(reduced_tail=True), 1_620_512),
        (MobileNetV3Small(), 927_008),
        # DeepLab's TensorFlow code's:
        (Xception41(), 24_920_560),
        (Xception65(), 37_867_312),
        (Xception71(), 40_289_736),
    ],
    ids=lambda value: None if isinstance(value, int) else type(value).__name__,
)
def test_published_variants_have_as_many_parameters_as_their_sources(model, count):
    params = _shapes(model.clone(output_stride=16))[1]["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
