"""DeepLab v3+: published counts, its options, and the output stride."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50, ResNet101
from segjax.backbones.xception import Xception65
from segjax.models.deeplab_v3 import DeepLabV3Plus
from segjax.ops.dispatch import plain

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, output_stride=16)
SMALL = DeepLabV3Plus(RESNET, num_classes=3, rates=(2, 4), features=8, low_features=4)
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 33, 49, 3)), jnp.float32)


def _shapes(model):
    with plain():  # Traces faster.
        return jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))


def _params(model):
    return _shapes(model)["params"]


@pytest.mark.parametrize(
    "backbone, separable, count",
    [
        (Xception65, True, 41_055_413),
        (Xception65, False, 54_711_461),
        (ResNet101, True, 45_688_261),
        (ResNet50, False, 40_352_181),
    ],
)
def test_parameters_are_as_many_as_computed_from_the_tensorflow_code(
    backbone, separable, count
):
    model = DeepLabV3Plus(
        backbone(output_stride=16), num_classes=21, rates=(6, 12, 18), separable=separable
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(_params(model))) == count


def test_the_decoders_low_level_feature_can_be_named_and_narrowed():
    params = _params(SMALL.clone(low="c3", low_features=5))
    assert params["feature_projection0"]["conv"]["kernel"].shape == (1, 1, 8, 5)
    assert params["decoder_conv0"]["depthwise"]["conv"]["kernel"].shape == (3, 3, 1, 8 + 5)


def test_another_output_stride_scales_the_rates_and_back():
    dense = SMALL.at_output_stride(8)
    assert (dense.rates, dense.backbone.output_stride) == ((4, 8), 8)
    assert _shapes(dense) == _shapes(SMALL)
    assert dense.at_output_stride(16) == SMALL
    with pytest.raises(ValueError, match=r"\(2, 4\) at output stride 16 .* 12; choose"):
        SMALL.at_output_stride(12)


def test_by_default_the_scores_stand_on_every_fourth_pixel():
    keep = lambda module, _: module.name == "classifier"
    apply = lambda v: SMALL.apply(
        v, IMAGE, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    variables = LIVELY(_shapes(SMALL))
    with plain():  # Compiles faster.
        logits, captured = jax.jit(apply)(variables)
    scores = captured["intermediates"]["classifier"]["__call__"][0]
    assert (np.std(scores, axis=(1, 2)) > 1e-3).all()
    np.testing.assert_allclose(logits[:, ::4, ::4], scores, atol=1e-5 * np.abs(scores).max())


@pytest.mark.parametrize("dtype, expected", [(None, jnp.bfloat16), (jnp.float32, jnp.float32)])
def test_the_head_computes_in_the_backbones_precision_unless_it_has_its_own(dtype, expected):
    model = SMALL.clone(backbone=RESNET.clone(dtype=jnp.bfloat16), dtype=dtype)
    keep = lambda module, _: module.name == "decoder_conv1"
    apply = lambda v: model.apply(
        v, IMAGE, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    logits, captured = jax.eval_shape(apply, _shapes(model))
    (inner,) = captured["intermediates"]["decoder_conv1"]["__call__"]
    assert (inner.dtype, logits.dtype) == (expected, jnp.float32)
