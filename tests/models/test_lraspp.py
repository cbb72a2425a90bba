"""Lite R-ASPP: published counts, which features it reads, the output stride."""

import jax
import jax.numpy as jnp
import pytest

from segjax.backbones.mobilenet_v3 import MobileNetV3Large
from segjax.models.lraspp import LRASPP
from segjax.ops.dispatch import plain

BACKBONE = MobileNetV3Large(output_stride=16)


def _params(model):
    init = lambda: model.init(jax.random.key(0), jnp.zeros((1, 33, 17, 3)), train=False)
    with plain():  # Traces faster.
        return jax.eval_shape(init)["params"]


def _count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(_params(model)))


@pytest.mark.parametrize("classes, count", [(21, 3_221_538), (150, 3_243_468)])
def test_parameters_are_as_many_as_torchvisions(classes, count):
    assert _count(LRASPP(BACKBONE, num_classes=classes)) == count


def test_parameters_with_a_reduced_tail_are_as_many_as_computed_elsewhere():
    backbone = BACKBONE.clone(reduced_tail=True)
    assert _count(LRASPP(backbone, num_classes=19, features=256)) == 1_872_446


def test_the_features_it_reads_can_be_named():
    params = _params(LRASPP(BACKBONE, num_classes=3, low="c2", high="c4"))
    assert params["low_classifier"]["kernel"].shape == (1, 1, 24, 3)
    assert params["scale"]["kernel"].shape == (1, 1, 80, 128)


def test_another_output_stride_reaches_the_backbone_and_the_variables_stay():
    model = LRASPP(BACKBONE, num_classes=3)
    coarse = model.at_output_stride(32)
    assert coarse.backbone.output_stride == 32
    assert _params(coarse) == _params(model)
    assert coarse.at_output_stride(16) == model
