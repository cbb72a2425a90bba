"""DeepLab v3's cascade: its rates, parameters, and equal features at every output stride."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50
from segjax.models.deeplab_v3_cascade import DeepLabV3Cascade
from segjax.ops.dispatch import plain

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
RESNET = ResNet(stages=(1, 1, 1, 2), block=BasicBlock, width=4, output_stride=32)
SMALL = DeepLabV3Cascade(RESNET, num_classes=3, output_stride=256)
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 257, 65, 3)), jnp.float32)


def _shapes(model):
    with plain():  # Traces faster.
        return jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))


def _last_block(model, variables):
    keep = lambda module, _: module.name == "block7_1"
    apply = lambda v: model.apply(
        v, IMAGE, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    with plain():
        _, captured = jax.jit(apply)(variables)
    return captured["intermediates"]["block7_1"]["__call__"][0]


@pytest.fixture(scope="module")
def strided():
    """Variables and block7 at output stride 256, multi-grid (1, 1)."""
    variables = LIVELY(_shapes(SMALL))
    return variables, _last_block(SMALL, variables)


@pytest.mark.parametrize("output_stride", [8, 64])
def test_dense_features_subsample_to_those_at_256(strided, output_stride):
    variables, expected = strided
    dense = _last_block(SMALL.at_output_stride(output_stride), variables)
    assert expected.shape[1:3] == (2, 1)
    assert dense.shape[1] == 256 // output_stride + 1
    step = 256 // output_stride
    np.testing.assert_allclose(
        dense[:, ::step, ::step], expected, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    "output_stride, steps",
    [
        (8, [(1, 8), (1, 16), (1, 32)]),
        (16, [(1, 4), (1, 8), (1, 16)]),
        (32, [(1, 2), (1, 4), (1, 8)]),
        (64, [(2, 1), (1, 2), (1, 4)]),
        (256, [(2, 1), (2, 1), (2, 1)]),
    ],
)
def test_copies_stride_until_the_output_stride_and_then_dilate(output_stride, steps):
    assert SMALL.at_output_stride(output_stride)._steps() == steps


@pytest.mark.parametrize("output_stride", [8, 16, 256])
def test_parameters_are_resnet50_nine_of_its_last_units_and_the_classifier(output_stride):
    model = DeepLabV3Cascade(ResNet50(), num_classes=21).at_output_stride(output_stride)
    unit = 2 * 2048 * 512 + 9 * 512**2 + 2 * (512 + 512 + 2048)
    count = sum(leaf.size for leaf in jax.tree.leaves(_shapes(model)["params"]))
    assert count == 23_508_032 + 9 * unit + 2048 * 21 + 21


def test_multi_grid_holds_in_the_copies_too():
    seen = []

    def block(width, unit, **options):
        seen.append(unit.dilation)
        return BasicBlock(width, unit, **options)

    resnet = RESNET.clone(output_stride=16, multi_grid=(1, 2), block=block)
    _shapes(DeepLabV3Cascade(resnet, num_classes=3))
    assert seen[-8:] == [2, 4, 4, 8, 8, 16, 16, 32]


@pytest.mark.parametrize(
    "backbone, output_stride, message",
    [
        (32, 48, "48 does not fit"),
        (16, 64, "64 does not fit"),
        (32, 512, "256 at most"),
    ],
)
def test_an_output_stride_that_does_not_come_about_is_an_error(
    backbone, output_stride, message
):
    resnet = RESNET.clone(output_stride=backbone)
    with pytest.raises(ValueError, match=message):
        _shapes(SMALL.clone(backbone=resnet, output_stride=output_stride))
