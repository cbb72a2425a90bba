"""Panoptic FPN: detectron2's size, and a semantic branch that a second writing equals."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np

from segjax.backbones.resnet import BasicBlock, ResNet, ResNet50
from segjax.layers.norm import FrozenBatchNorm
from segjax.models.panoptic_fpn import PanopticFPN, SemanticBranch
from segjax.ops.conv import conv2d
from segjax.ops.resize import resize_bilinear

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]


def _shapes(model, side=64):
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    return jax.eval_shape(init, jnp.zeros((1, side, side, 3)))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_it_has_detectron2s_number_of_parameters():
    model = PanopticFPN(ResNet50(norm=FrozenBatchNorm))
    params = _shapes(model)["params"]
    assert _count(params["semantic_branch"]) == 1_630_774
    assert _count(params) == 45_973_990


def test_layers_that_depend_on_classes_are_those_it_declares():
    backbone = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8)
    make = lambda k, things: PanopticFPN(backbone, k, things=things, channels=8, hidden=16)
    sizes = [
        {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
            for path, leaf in leaves
        }
        for leaves in (
            jax.tree_util.tree_leaves_with_path(_shapes(model)["params"])
            for model in (make(5, (0, 1)), make(9, (0, 1, 2)))
        )
    ]
    differ = {path for path in sizes[0] if sizes[0][path] != sizes[1][path]}
    declared = make(5, (0, 1)).classifiers
    assert differ and differ == {p for p in sizes[0] if p.startswith(declared)}


def test_the_branch_is_its_drawing():
    branch = SemanticBranch(num_classes=5, features=32)
    rng = np.random.default_rng(0)
    levels = tuple(
        jnp.asarray(rng.normal(size=(2, 16 >> i, 24 >> i, 6)), jnp.float32) for i in range(4)
    )
    init = lambda levels: branch.init(jax.random.key(0), levels, train=False)
    variables = LIVELY(jax.eval_shape(init, levels))

    def expected(params):
        """Returns the logits, written out level by level."""

        def step(x, name):
            y = conv2d(x, params[name]["conv"]["kernel"], padding=1)
            grouped = y.reshape(*y.shape[:3], 32, 1)
            mean, var = (f(grouped, (1, 2, 4), keepdims=True) for f in (jnp.mean, jnp.var))
            y = ((grouped - mean) / jnp.sqrt(var + 1e-5)).reshape(y.shape)
            scale, bias = (params[name]["norm"][n][None, None, None] for n in ("scale", "bias"))
            return jax.nn.relu(y * scale + bias)

        total = step(levels[0], "p2_0")
        for level in (1, 2, 3):
            x = levels[level]
            for i in range(level):
                x = step(x, f"p{level + 2}_{i}")
                x = resize_bilinear(x, (2 * x.shape[1], 2 * x.shape[2]))
            total = total + x
        last = params["predictor"]
        return conv2d(total, last["kernel"]) + last["bias"][None, None, None]

    found = jax.jit(lambda v: branch.apply(v, levels, train=True))(variables)
    wanted = jax.jit(expected)(variables["params"])
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_the_background_has_neither_box_nor_mask():
    model = PanopticFPN(
        ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8),
        num_classes=5,
        things=(1, 3),
        channels=8,
        hidden=16,
    )
    variables = LIVELY(_shapes(model))
    found = jax.jit(lambda v: model.apply(v, jnp.ones((1, 64, 64, 3)), train=False))(variables)
    logits, deltas = found.things.boxes
    assert logits.shape == (1, 3) and deltas.shape == (1, 3, 4)
    assert found.things.masks.shape == (1, 28, 28, 3) and found.semantic.shape == (1, 16, 16, 4)
    assert not deltas[:, 0].any() and deltas[:, 1:].all()
    assert not found.things.masks[..., 0].any() and found.things.masks[..., 1:].any()
