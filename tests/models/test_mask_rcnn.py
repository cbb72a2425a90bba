"""Mask R-CNN's parts: counts of parameters, shapes, and what each part reads."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50
from segjax.conformity import check_classifiers
from segjax.layers.norm import BatchNorm, FrozenBatchNorm
from segjax.models.mask_rcnn import FasterRCNN, FasterRCNNV2, MaskRCNN, MaskRCNNV2
from segjax.ops.dispatch import plain
from segjax.weights import flat_shapes

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, norm=FrozenBatchNorm)
SMALL = MaskRCNN(RESNET, num_classes=3, channels=8, hidden=16)
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 96, 3)), jnp.float32)


@functools.cache
def shapes(model, size=(64, 96)):
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    with plain():
        init = lambda x: model.init_with_output(jax.random.key(0), x, train=False)
        return jax.eval_shape(init, image)


@pytest.mark.parametrize(
    "model, count",
    [
        # torchvision's; of the first versions without the norms' numbers, and with them.
        (MaskRCNN(ResNet50(norm=FrozenBatchNorm), 91), 44_401_393),
        (MaskRCNN(ResNet50(), 91), 44_454_513),
        (FasterRCNN(ResNet50(norm=FrozenBatchNorm), 91), 41_755_286),
        (MaskRCNNV2(ResNet50(), 91), 46_359_409),
        (FasterRCNNV2(ResNet50(), 91), 43_712_278),
    ],
    ids=["mask_frozen", "mask", "faster_frozen", "mask_v2", "faster_v2"],
)
def test_networks_have_as_many_parameters_as_torchvisions(model, count):
    params = shapes(model)[1]["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("make", [MaskRCNN, MaskRCNNV2, FasterRCNN])
def test_the_classifiers_are_the_layers_that_change_with_the_classes(make):
    few, more = (make(RESNET, num_classes=k, channels=8, hidden=16) for k in (3, 5))
    before, after = (flat_shapes(shapes(model)[1]) for model in (few, more))
    check_classifiers(few, before)
    assert before.keys() == after.keys()
    changed = {path for path in before if before[path] != after[path]}
    named = {p for p in before if any(p.startswith(f"params/{c}/") for c in few.classifiers)}
    assert changed == named


def test_parts_have_the_shapes_that_their_signatures_say():
    outputs, variables = shapes(SMALL)
    found = jax.tree.map(jnp.shape, outputs)
    grids = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert found.rpn == tuple(((1, *g, 3), (1, *g, 3, 4)) for g in grids)
    assert found.boxes == ((1, 3), (1, 3, 4)) and found.masks == (1, 28, 28, 3)
    features = [jnp.zeros((2, *grid, 8)) for grid in grids]
    assert [len(each) for each in SMALL.anchors(features, (64, 96))] == [
        3 * h * w for h, w in grids
    ]
    for size in (SMALL.box_pool, SMALL.mask_pool):
        pool = functools.partial(SMALL.pool, size=size)
        pooled = jax.eval_shape(pool, features, jnp.zeros((5, 4)), jnp.zeros(5, jnp.int32))
        assert pooled.shape == (5, size, size, 8)
    assert set(variables["batch_stats"]) == {"backbone"}


def test_scores_are_float32_where_the_network_computes_in_half_precision():
    half = SMALL.clone(backbone=RESNET.clone(dtype=jnp.bfloat16))
    outputs, variables = shapes(half)
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_anchors_have_the_stride_of_their_grid_and_reach_over_the_border():
    grids = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    features = [jnp.zeros((1, *grid, 1)) for grid in grids]
    levels = SMALL.anchors(features, (64, 96))
    for level, size, stride in zip(levels, SMALL.anchor_sizes, (4, 8, 16, 32, 48), strict=True):
        x0, y0, x1, y1 = np.asarray(level).T
        assert x0.min() < 0 and np.diff(np.unique((x0 + x1) / 2)).min() == stride
        np.testing.assert_allclose(np.sqrt((x1 - x0) * (y1 - y0)), size, rtol=0.03)


def test_a_box_is_pooled_from_its_image_and_from_the_level_of_its_size():
    grids = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    value = lambda level: jnp.asarray([1.0, 10.0])[:, None, None, None] * (level + 1)
    features = [jnp.broadcast_to(value(i), (2, *grid, 8)) for i, grid in enumerate(grids)]
    boxes = jnp.asarray([[0, 0, 20, 20], [0, 0, 96, 64], [0, 0, 448, 448], [0, 0, 460, 440]])
    pooled = SMALL.pool(features, boxes.astype(float), jnp.asarray([0, 1, 0, 1]), size=7)
    # √area / 224 is 0.09, 0.35, 2 and 2: P2, P2, P5 and P5.
    np.testing.assert_allclose(pooled[:, 0, 0, 0], [1, 10, 4, 40], rtol=1e-6)


@pytest.mark.slow_but("frozen")
@pytest.mark.parametrize("head_norm", [None, BatchNorm], ids=["frozen", "v2"])
def test_a_gradient_reaches_every_parameter_of_the_small_network(head_norm):
    model = SMALL.clone(head_norm=head_norm)
    variables = LIVELY(shapes(model)[1])
    rest = {key: tree for key, tree in variables.items() if key != "params"}

    def loss(params):
        outputs = model.apply({"params": params, **rest}, IMAGE[:1], train=False)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(outputs))

    with plain():
        gradient = jax.jit(jax.grad(loss))(variables["params"])
    dead = [p for p, leaf in jax.tree.leaves_with_path(gradient) if not np.abs(leaf).max()]
    assert not dead
