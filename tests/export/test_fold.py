"""Folded networks answer as before, and a norm folds only where nothing else reads."""

import pathlib
import runpy
from collections import Counter

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.densenet import DenseLayer
from segjax.backbones.resnet import BasicBlock, Bottleneck, ResNet
from segjax.experiment import UNIT
from segjax.export.fold import fold_norms, folded_norms
from segjax.layers.conv import Conv, ConvNorm
from segjax.layers.norm import BatchNorm, FrozenBatchNorm
from segjax.models.mask_rcnn import MaskRCNNV2
from segjax.ops.dispatch import plain
from segjax.tasks.instance import Instance
from segjax.weights import variable_shapes

SMALL = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "models/small_networks.py"))
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 17, 19, 3)), jnp.float32)


def evaluation(model):
    return lambda variables, x: model.apply(variables, x, train=False)


def drawn(model, image=IMAGE):
    """Returns variables of which no norm is the identity."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
    draw = lambda s: rng.uniform(0.5, 1.5, s.shape).astype(np.float32)
    return jax.tree.map(draw, shapes)


def both(apply, variables, image=IMAGE):
    """Returns the answers as they were and folded, and the folded variables."""
    folded = fold_norms(apply, variables, jax.ShapeDtypeStruct(image.shape, image.dtype))

    def answers(variables, folded, x):
        with plain():  # As an export is traced; and quicker to compile.
            before = apply(variables, x)
            with folded_norms():
                return before, apply(folded, x)

    return *jax.jit(answers)(variables, folded, image), folded


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow_but("deeplab", "fc_densenet", "segnet", "unet_bilinear_batch_norm", "unet")
@pytest.mark.parametrize("name", SMALL["MODELS"])
def test_every_family_answers_as_before_and_needs_no_statistics(name):
    model = SMALL["MODELS"][name]
    # Trained in part: heads for training alone keep their norms, and nothing asks for them.
    variables = SMALL["variables_of"](model)
    if "batch_stats" not in variables:
        image = jax.ShapeDtypeStruct(IMAGE.shape, IMAGE.dtype)
        folded = fold_norms(evaluation(model), variables, image)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), folded, variables))
        return
    before, after, folded = both(evaluation(model), variables)
    assert_close(after, before)
    assert all("auxiliary" in path for path in folded.get("batch_stats", {}))


def multiplications(jaxpr) -> Counter:
    """Returns how often each operation of an unfolded norm is found."""
    counts = Counter(e.primitive.name for e in jaxpr.eqns)
    for e in jaxpr.eqns:
        for inner in jax.extend.core.jaxprs_in_params(e.params):
            counts += multiplications(inner)
    return Counter({name: counts[name] for name in ("mul", "sub", "rsqrt", "div")})


@pytest.mark.parametrize("norm", [BatchNorm, FrozenBatchNorm])
@pytest.mark.parametrize("remat", [False, True])
def test_nothing_but_a_shift_is_left_of_a_resnets_norms(remat, norm):
    model = ResNet(stages=(1, 1, 1, 1), block=Bottleneck, width=4, remat=remat, norm=norm)
    variables, apply = drawn(model), evaluation(model)
    with plain():
        before = jax.make_jaxpr(apply)(variables, IMAGE)
        folded = fold_norms(apply, variables, IMAGE)
        with folded_norms():
            after = jax.make_jaxpr(lambda v, x: apply(v, x))(folded, IMAGE)
    assert multiplications(before.jaxpr)["mul"] >= 17
    assert multiplications(after.jaxpr).total() == 0


def test_a_network_with_frozen_norms_answers_as_before():
    model = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, norm=FrozenBatchNorm)
    apply = lambda variables, x: evaluation(model)(variables, x)["c5"]
    before, after, folded = both(apply, drawn(model))
    assert_close(after, before)
    assert not folded.get("batch_stats")


def detector():
    """A detector with frozen norms in its backbone, and trained ones in pyramid and heads."""
    backbone = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, norm=FrozenBatchNorm)
    options = {"channels": 8, "hidden": 16, "box_pool": 2, "mask_pool": 2}
    model = MaskRCNNV2(backbone, num_classes=3, **options, anchor_sizes=(8, 12, 16, 24, 32))
    bounds = {
        "shortest": None,
        "test_before": 16,
        "test_after": 16,
        "candidates": 16,
        "most": 4,
    }
    program = Instance(**bounds).program(model, normalize=UNIT, size=(64, 64))
    rng, shapes = np.random.default_rng(1), variable_shapes(model)
    draw = lambda s: rng.normal(0, np.sqrt(2 / max(np.prod(s.shape[:-1]), 2)), s.shape)
    drawn = lambda path, s: (
        draw(s) if path[-1].key == "kernel" else rng.uniform(0.5, 1, s.shape)
    )
    variables = jax.tree_util.tree_map_with_path(drawn, shapes)
    return program.run, jax.tree.map(np.float32, variables)


def test_no_norm_of_a_detector_is_left():
    run, variables = detector()
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    folded = fold_norms(run, variables, image)
    assert len(jax.tree.leaves(variables["batch_stats"])) > 60
    assert not folded.get("batch_stats")
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(folded)}
    assert names == {"kernel", "bias"}


@pytest.mark.slow
def test_a_detector_with_folded_norms_finds_the_same_objects():
    run, variables = detector()
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    before, after, _ = both(run, variables, image)
    assert (before["count"] == 4).all()
    for name, values in before.items():
        bound = 1e-4 * np.abs(values).max()
        np.testing.assert_allclose(after[name], values, atol=bound, err_msg=name)


class Densely(nn.Module):
    """One layer of DenseNet: norm, ReLU, 1×1, norm, ReLU, 3×3."""

    @nn.compact
    def __call__(self, x, *, train):
        return DenseLayer(growth=4, dilation=1, name="layer")([x], train=train)


def test_a_norm_before_its_convolution_keeps_a_factor_and_a_shift():
    model = Densely()
    before, after, folded = both(evaluation(model), drawn(model))
    assert_close(after, before)
    layer = folded["params"]["layer"]
    assert set(layer["norm1"]) == {"scale", "bias"} and set(layer["norm2"]) == {"bias"}


class Branching(nn.Module):
    """A convolution and its norm; `also` says who else reads the convolution."""

    also: str
    use_bias: bool = False

    @nn.compact
    def __call__(self, x, *, train):
        conv = Conv(3, 3, use_bias=self.use_bias, name="conv")
        norm = BatchNorm(name="norm")
        y = conv(x)
        z = norm(y, train=train)
        return {
            "nothing": lambda: z,
            "sum": lambda: z + y,
            "result": lambda: (z, y),
            "second norm": lambda: z + BatchNorm(name="other")(y, train=train),
            "second call": lambda: z + conv(z),
            "second pair": lambda: z + norm(conv(z), train=train),
            "norm of another": lambda: norm(nn.relu(z), train=train),
        }[self.also]()


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize(
    ("also", "folds"),
    [
        ("nothing", True),
        ("second pair", True),
        ("sum", False),
        ("result", False),
        ("second norm", False),
        ("second call", False),
        ("norm of another", False),
    ],
)
def test_a_norm_folds_where_all_of_its_convolutions_results_are_its_own(also, folds, use_bias):
    model = Branching(also, use_bias)
    before, after, folded = both(evaluation(model), drawn(model))
    jax.tree.map(assert_close, after, before)
    left = folded["params"].get("norm", {})
    kept = {"scale", "bias"} if not folds else set() if use_bias else {"bias"}
    assert set(left) == kept


def test_half_precision_stays_what_the_network_returns_and_agrees_to_its_digits():
    model = ConvNorm(4, 3, dtype=jnp.bfloat16)
    before, after, _ = both(evaluation(model), drawn(model))
    assert after.dtype == before.dtype == jnp.bfloat16
    np.testing.assert_allclose(after, before, atol=0.02 * np.abs(before).max())
