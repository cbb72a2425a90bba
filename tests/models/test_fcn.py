"""FCN: published counts, sides that fit for every image, fixed upsampling, auxiliary head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50, ResNet101
from segjax.backbones.vgg import CEIL, VGG, VGG16
from segjax.contracts import AXIS
from segjax.models.fcn import (
    CROPS,
    FCN,
    SKIPS,
    FCN8s,
    FCN8sAtOnce,
    FCN16s,
    FCN32s,
    sizes,
)
from segjax.ops.resize import resize_bilinear

VGG4 = VGG(stages=(1, 1, 1, 1, 1), width=4, pool=CEIL)
RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, output_stride=8)


def _shapes(model, size=(33, 47)):
    image = jnp.zeros((1, *size, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "network, skips",
    [
        (FCN32s, {}),
        (FCN16s, {"score_pool4": 10_773}),
        (FCN8s, {"score_pool4": 10_773, "score_pool3": 5_397}),
        (FCN8sAtOnce, {"score_pool4": 10_773, "score_pool3": 5_397}),
    ],
)
def test_parameters_are_as_many_as_the_released_networks(network, skips):
    params = _shapes(network(VGG16(pool=CEIL), num_classes=21))["params"]
    assert _count(params) == 134_346_581 + sum(skips.values())
    assert {k: _count(params[k]) for k in params if k.startswith("score_pool")} == skips
    assert _count(params["backbone"]) == 14_714_688


@pytest.mark.parametrize(
    "resnet, count, auxiliary",
    [(ResNet50, 32_957_013, 35_322_218), (ResNet101, 51_949_141, 54_314_346)],
)
def test_parameters_on_a_resnet_are_as_many_as_torchvisions(resnet, count, auxiliary):
    model = FCN(resnet(output_stride=8), num_classes=21, auxiliary=True)
    params = _shapes(model)["params"]
    assert _count(params) == auxiliary
    assert _count([params["backbone"], params["head"]]) == count


def test_every_crop_fits_for_every_side_from_1_to_1999():
    for stride in CROPS:
        for side in range(1, 2000):
            found = sizes(side, stride=stride)
            assert found["image"] >= CROPS[stride] + side
            for level, before in SKIPS.items():
                if f"{level}+" in found:
                    assert found[level] >= before + found[f"{level}+"] >= before + 1
            assert found["fc6"] >= 1


@pytest.mark.parametrize("side, fc6, upscore", [(224, 8, 288), (500, 16, 544)])
def test_sides_are_those_of_the_released_fcn32s(side, fc6, upscore):
    found = sizes(side, stride=32)
    assert (found["fc6"], found["image"]) == (fc6, upscore)


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(1, 2), (31, 64), (224, 224), (500, 500), (333, 500)])
def test_the_network_has_the_sides_that_the_integers_say(stride, size):
    model = FCN8s(VGG4, num_classes=3, features=4, stride=stride)
    keep = lambda module, _: module.name in ("backbone", "score_fr")
    logits, captured = jax.eval_shape(
        lambda v: model.apply(
            v,
            jnp.zeros((1, *size, 3)),
            train=False,
            capture_intermediates=keep,
            mutable=["intermediates"],
        ),
        _shapes(model),
    )
    inner = captured["intermediates"]
    maps = inner["backbone"]["__call__"][0] | {"fc6": inner["score_fr"]["__call__"][0]}
    for axis, side in enumerate(size, start=1):
        found = {name: array.shape[axis] for name, array in maps.items()}
        assert found.items() <= sizes(side, stride=stride).items()
    assert logits.shape == (1, *size, 3)


def _variables(model, scale=1.0):
    rng = np.random.default_rng(0)
    draw = lambda leaf: jnp.asarray(rng.normal(0, 0.2, leaf.shape) * scale, jnp.float32)
    return jax.tree.map(draw, _shapes(model))


def test_scores_start_at_zero_and_upsampling_has_no_parameters():
    model = FCN8s(VGG4, num_classes=3, features=4)
    variables = jax.jit(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 9, 9, 3)), train=False)
    )()
    heads = {"score_fr", "score_pool4", "score_pool3"}
    assert variables["params"].keys() == {"backbone", "fc6", "fc7", *heads}
    assert not any(
        np.any(leaf) for name in heads for leaf in variables["params"][name].values()
    )
    assert np.any(variables["params"]["fc6"]["kernel"])


@pytest.mark.parametrize("network", [FCN32s, FCN16s, FCN8s])
def test_constant_scores_stay_so_except_at_the_border(network):
    model = network(VGG4, num_classes=3, features=4)
    variables = _variables(model, scale=0.0)
    bias = variables["params"]["score_fr"]["bias"]
    variables["params"]["score_fr"]["bias"] = bias + jnp.array([1.0, 2.0, -3.0])
    image = jnp.ones((1, 100, 100, 3))
    logits = jax.jit(lambda v: model.apply(v, image, train=False))(variables)
    # Before the first score's neighbour there is nothing to interpolate with.
    expected = np.broadcast_to([1.0, 2.0, -3.0], (1, 70, 70, 3))
    np.testing.assert_allclose(logits[:, 25:95, 25:95], expected, atol=1e-5)


def test_an_image_of_333_by_500_pixels_has_a_score_for_each():
    model = FCN8s(VGG4, num_classes=3, features=4)
    rng = np.random.default_rng(2)
    image = jnp.asarray(rng.normal(size=(1, 333, 500, 3)), jnp.float32)
    variables = jax.tree.map(jnp.abs, _variables(model))
    logits = jax.jit(lambda x: model.apply(variables, x, train=False))(image)
    assert logits.shape == (1, 333, 500, 3) and np.isfinite(logits).all()
    assert (np.std(logits[:, -100:, -100:], axis=(1, 2)) > 1e-3).all()


def test_pools_that_round_down_and_other_strides_are_an_error():
    with pytest.raises(ValueError, match=r"give VGG16\(pool=CEIL\)"):
        _shapes(FCN8s(VGG4.clone(pool=VGG().pool), num_classes=3, features=4))
    with pytest.raises(ValueError, match="32, 16 or 8, got 4"):
        _shapes(FCN8s(VGG4, num_classes=3, features=4, stride=4))


def test_on_a_resnet_logits_are_the_scores_resized():
    model = FCN(RESNET, num_classes=3)
    image = jnp.asarray(np.random.default_rng(1).normal(size=(1, 33, 47, 3)), jnp.float32)
    keep = lambda module, _: module.name == "head"
    apply = lambda v: model.apply(
        v, image, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    logits, captured = jax.jit(apply)(jax.tree.map(jnp.abs, _variables(model)))
    scores = captured["intermediates"]["head"]["__call__"][0]
    assert scores.shape == (1, 5, 6, 3) and np.std(scores) > 1e-3
    np.testing.assert_allclose(logits, resize_bilinear(scores, (33, 47)), atol=1e-6)


def test_the_auxiliary_head_exists_in_init_and_answers_in_training_alone():
    model = FCN(RESNET, num_classes=3, auxiliary=True)
    shapes = _shapes(model)
    assert "auxiliary_head" in shapes["params"] and "auxiliary" not in shapes

    def apply(train):
        return lambda v, x: model.apply(
            v,
            x,
            train=train,
            mutable=["auxiliary", "batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )[1]

    batch = jax.ShapeDtypeStruct((1, 2, 33, 47, 3), jnp.float32)
    mapped = jax.pmap(apply(True), axis_name=AXIS, in_axes=(None, 0))
    training = jax.eval_shape(mapped, shapes, batch)
    assert training["auxiliary"]["c4"].shape == (1, 2, 33, 47, 3)
    image = jax.ShapeDtypeStruct((2, 33, 47, 3), jnp.float32)
    assert "auxiliary" not in jax.eval_shape(apply(False), shapes, image)


def test_another_output_stride_is_the_backbones():
    model = FCN(RESNET, num_classes=3).at_output_stride(16)
    assert model == FCN(RESNET.clone(output_stride=16), num_classes=3)
