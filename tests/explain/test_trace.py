"""Traced fields equal the support of gradients, traced costs the published ones."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from segjax.backbones import resnet
from segjax.backbones.resnet import BasicBlock, Bottleneck, ResNet, ResNet18, ResNet50
from segjax.explain.trace import trace, variable_shapes
from segjax.layers.conv import Conv, ConvTranspose
from segjax.layers.up import bilinear
from segjax.models import unet
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.fcn import FCN
from segjax.models.pspnet import PSPNet
from segjax.models.unet import UNet
from segjax.ops.dispatch import plain
from segjax.ops.pool import max_pool
from segjax.ops.receptive_field import Layer, receptive_field, window_of


class Deepest(nn.Module):
    """A backbone's last features as an answer."""

    backbone: nn.Module

    @nn.compact
    def __call__(self, image, *, train):
        return self.backbone(image, train=train)["c5"]


class Sequence(nn.Module):
    """Functions and modules, one after the other."""

    steps: tuple

    @nn.compact
    def __call__(self, image, *, train):
        for step in self.steps:
            image = step(image)
        return image


def _sum_pool(x, *, window, stride, padding=0):
    """A pooling whose gradient reaches the whole window, unlike the maximum's."""
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    shape, strides = (1, window, window, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, 0.0, lax.add, shape, strides, pads)


def _positive(path, leaf):
    """Weights above zero: nothing cancels, no ReLU is off; the image pooling is cut off."""
    rng = np.random.default_rng(len(jax.tree_util.keystr(path)))
    names = [key.key for key in path]
    if names[-1] in ("bias", "mean") or "convs_2" in names:
        return np.zeros(leaf.shape, np.float32)
    values = rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    return values / np.prod(leaf.shape[:3]) if names[-1] == "kernel" else values


def _support(model, shape, monkeypatch):
    """Whether an image's row (second axis) has a gradient at a row of the answer (first)."""
    for module in (resnet, unet):
        monkeypatch.setattr(module, "max_pool", _sum_pool)
    shapes = variable_shapes(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    variables = jax.device_put(jax.tree_util.tree_map_with_path(_positive, shapes))
    column = lambda x: model.apply(variables, x, train=False)[0, :, 0].sum(-1)
    with plain():  # Fast forms leave rounding errors where plain ones have zeros.
        gradient = jax.jit(jax.jacrev(column))(jnp.ones(shape))
    return np.asarray(gradient[:, 0].sum((2, 3))) > 0


slow = partial(pytest.param, marks=pytest.mark.slow)


def _net(block, output_stride, stages=(1, 1, 1, 1), multi_grid=None):
    net = partial(ResNet, stages=stages, width=1, multi_grid=multi_grid)
    return net(block=block, output_stride=output_stride)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        slow(Deepest(_net(BasicBlock, 32)), (385, 1)),
        slow(Deepest(_net(BasicBlock, 16)), (385, 1)),
        (Deepest(_net(BasicBlock, 8)), (385, 1)),
        slow(Deepest(_net(Bottleneck, 32)), (321, 1)),
        slow(Deepest(_net(Bottleneck, 16, (1, 1, 1, 2), (1, 2))), (321, 1)),
        (Deepest(_net(Bottleneck, 8, (1, 1, 1, 2), (1, 2))), (321, 1)),
        (DeepLabV3(_net(Bottleneck, 8), 2, (2,), features=2, extra_conv=False), (289, 1)),
        (UNet(2, depth=2, features=1), (97, 4)),
        (UNet(2, depth=2, features=1, up=bilinear, batch_norm=True), (97, 4)),
        (UNet(2, depth=2, features=1, valid=True), (100, 44)),
    ],
    ids=lambda value: (
        type(value).__name__ if isinstance(value, nn.Module) else "x".join(map(str, value))
    ),
)
def test_the_receptive_field_is_the_support_of_the_gradient(model, size, monkeypatch):
    traced = trace(model, size, channels=1)
    reach = traced.answer[0]
    assert reach.field is not None and not reach.unknown
    assert reach.image == isinstance(model, DeepLabV3)
    support = _support(model, (1, *size, 1), monkeypatch)
    windows = [window_of(reach.field, i) or (-1, -1) for i in range(traced.shape[0])]
    inside = [i for i, (first, last) in enumerate(windows) if first >= 0 and last < size[0]]
    assert len(inside) >= 3
    for i in inside:
        rows = np.flatnonzero(support[i])
        assert (rows[0], rows[-1]) == windows[i], i


def test_branches_that_pool_the_image_see_the_image():
    traced = trace(DeepLabV3(_net(BasicBlock, 16), 2, (2,), features=2), (65, 65))
    words = {row.path: row for row in traced.rows}
    pooled, dilated, joined = (
        words[f"aspp/{p}/conv"] for p in ("convs_2", "convs_1", "project")
    )
    assert pooled.seen[0][1:] == (None, True, False)
    assert not dilated.seen[0].image and joined.seen[0].image
    assert joined.seen[0].field == dilated.seen[0].field


@pytest.mark.parametrize(
    ("steps", "layers"),
    [
        (
            (
                Conv(2, 3, dilation=2),
                partial(max_pool, window=3, stride=2, padding=1),
                Conv(2, 5, padding=0),
            ),
            [Layer(3, 1, 2, 2), Layer(3, 2, 1), Layer(5)],
        ),
        (
            (Conv(2, 3, stride=2), ConvTranspose(2, 4, stride=2, padding=1), Conv(2, 3)),
            [Layer(3, 2, 1), Layer(4, 2, 1, transposed=True), Layer(3, 1, 1)],
        ),
        ((ConvTranspose(2, 2, stride=2),), [Layer(2, 2, transposed=True)]),
        (
            (lambda x: jnp.pad(x[:, 3::2], ((0, 0), (2, 0), (0, 0), (0, 0))),),
            [Layer(1, 2, -3), Layer(padding=2)],
        ),
    ],
)
def test_a_stack_has_the_field_of_its_layers(steps, layers):
    traced = trace(Sequence((*steps, nn.relu)), (32, 32), channels=2)
    assert traced.answer[0].field == receptive_field(layers)


def test_sides_may_have_fields_of_their_own():
    (row,) = trace(Sequence((Conv(2, (1, 7), stride=(1, 2)),)), (9, 20)).rows
    assert row.operation == "conv 1x7 /1x2" and row.shape == (9, 10, 2)
    assert [reach.field and reach.field.size for reach in row.seen] == [1, 7]


@pytest.mark.parametrize(
    "step",
    [lambda x: jnp.cumsum(x, axis=1), lambda x: x.reshape(1, 1, -1, 3), lambda x: x[:, ::-1]],
)
def test_what_is_not_followed_is_unknown(step):
    traced = trace(Sequence((step, Conv(2, 3))), (8, 8))
    assert traced.answer[0].unknown and traced.rows[-1].seen[0].unknown


# torchvision's GFLOPS (which are multiply-adds) of 224² images, with 512 or 2048 → 1000.
@pytest.mark.parametrize(
    ("backbone", "classifier", "published"),
    [(ResNet18(), 512_000, 1.814), (ResNet50(), 2_048_000, 4.089)],
    ids=["ResNet18", "ResNet50"],
)
def test_multiply_adds_are_the_published_ones(backbone, classifier, published):
    rows = trace(Deepest(backbone), (224, 224)).rows
    total = sum(row.multiply_adds for row in rows) + classifier
    assert round(total / 1e9, 3) == published


def test_a_transposed_convolution_counts_its_inputs():
    (row,) = trace(
        Sequence((ConvTranspose(5, 3, stride=2, padding=1),)), (6, 7), channels=4
    ).rows
    assert row.operation == "transposed 3x3 /2"
    assert row.multiply_adds == 6 * 7 * 4 * 3 * 3 * 5


def test_rows_hold_all_parameters_each_once():
    model = DeepLabV3(_net(BasicBlock, 16), 3, (2,), features=4, auxiliary=True)
    traced = trace(model, (33, 33))
    shapes = variable_shapes(model, jax.ShapeDtypeStruct((1, 33, 33, 3), jnp.float32))
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert all(path.startswith("auxiliary_head") for path in traced.unused)
    assert sum(traced.unused.values()) == count(shapes["params"]["auxiliary_head"])
    total = sum(row.parameters for row in traced.rows) + sum(traced.unused.values())
    assert total == count(shapes["params"])
    # 7·7·3 → 1 without bias; scale and bias of its norm.
    assert traced.rows[0].parameters == 147 + 2


def test_reduced_precision_changes_no_row():
    at = lambda dtype: trace(
        Deepest(ResNet(stages=(1, 1, 1, 1), width=2, dtype=dtype)), (33, 33)
    )
    assert at(jnp.bfloat16) == at(jnp.float32)


@pytest.mark.parametrize(
    "network",
    [
        FCN(_net(Bottleneck, 8), 3, auxiliary=True),
        PSPNet(_net(Bottleneck, 8), 3, bins=(1, 2), auxiliary=True),
    ],
    ids=["fcn", "pspnet"],
)
def test_what_is_used_in_training_only_is_the_auxiliary_head_and_nothing_else(network):
    image = jax.ShapeDtypeStruct((1, 65, 65, 3), jnp.float32)
    params = variable_shapes(network, image)["params"]
    head = sum(leaf.size for leaf in jax.tree.leaves(params["auxiliary_head"]))
    assert sum(trace(network, (65, 65)).unused.values()) == head
