"""ResNet: published counts, and dense features that subsample to the strided ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
from segjax.contracts import AXIS

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 97, 3)), jnp.float32)


def _small(block, **options):
    return ResNet(stages=(1, 1, 2, 2), block=block, width=4, **options)


@pytest.fixture(scope="module", params=[Bottleneck, BottleneckV1, BasicBlock])
def strided(request):
    """A block, variables with lively statistics, and their features at output stride 32."""
    model = _small(request.param)
    variables = _variables(model)
    return request.param, variables, _features(model, variables)


def _variables(model):
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))
    return jax.tree_util.tree_map_with_path(_lively, shapes)


def _lively(path, leaf):
    """Returns a parameter or a statistic of no fresh network, without compiling `init`."""
    rng = np.random.default_rng(len(jax.tree_util.keystr(path)))
    if path[-1].key == "kernel":
        values = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:3])), leaf.shape)
    else:
        values = rng.uniform(0.5, 1.0, leaf.shape)
    return jnp.asarray(values, jnp.float32)


def _features(model, variables):
    return jax.jit(lambda v: model.apply(v, IMAGE, train=False))(variables)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dense_features_subsample_to_the_strided_ones(strided, output_stride):
    block, variables, expected = strided
    dense = _features(_small(block, output_stride=output_stride), variables)
    for level in range(1, 6):
        step = max(2**level // output_stride, 1)
        found, wanted = dense[f"c{level}"][:, ::step, ::step], expected[f"c{level}"]
        assert dense[f"c{level}"].shape[1] == 64 // min(2**level, output_stride) + 1
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "options, first",
    [
        ({"multi_grid": (1, 2)}, 5),
        ({"uniform_dilation": True}, 5),
        ({"rates": ((3, (1, 3)),)}, 4),
    ],
    ids=str,
)
def test_another_layout_of_dilations_changes_its_stages_alone(options, first):
    model = _small(BasicBlock, output_stride=16)
    variables = _variables(model)
    plain = _features(model, variables)
    other = _features(model.clone(**options), variables)
    np.testing.assert_array_equal(other[f"c{first - 1}"], plain[f"c{first - 1}"])
    assert np.abs(other[f"c{first}"] - plain[f"c{first}"]).max() > 1e-3


def test_recomputing_units_changes_neither_names_nor_gradients():
    model = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, deep_stem=True)
    variables, image = _variables(model), IMAGE[:, :17, :17]

    def loss(params, model):
        features = model.apply({**variables, "params": params}, image, train=False)
        return sum(jnp.sin(x).sum() for x in features.values())

    saving = model.clone(remat=True)
    assert jax.tree.structure(_variables(saving)) == jax.tree.structure(variables)
    gradient = lambda model: jax.jit(jax.grad(lambda p: loss(p, model)))
    text = str(jax.make_jaxpr(gradient(saving))(variables["params"]))
    assert text.count("remat") >= sum(model.stages)
    found, expected = (gradient(m)(variables["params"]) for m in (saving, model))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_normalisation_trains_with_the_running_statistics_and_keeps_them(frozen):
    model = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=4, frozen_norm=frozen)
    variables, image = _variables(model), IMAGE[:, :17, :17]
    train = partial(model.apply, variables, train=True, mutable=["batch_stats"])
    features, new = jax.pmap(train, axis_name=AXIS)(image[None])
    expected = model.apply(variables, image, train=False)
    kept = variables["batch_stats"]
    same = jax.tree.map(lambda a, b: np.array_equal(a[0], b), new["batch_stats"], kept)
    assert all(jax.tree.leaves(same)) == frozen
    assert np.allclose(features["c5"][0], expected["c5"], rtol=1e-5) == frozen
    plain = _variables(model.clone(frozen_norm=False))
    assert jax.tree.structure(variables) == jax.tree.structure(plain)


@pytest.mark.parametrize(
    "resnet, count",
    [
        (ResNet18, 11_176_512),
        (ResNet34, 21_284_672),
        (ResNet50, 23_508_032),
        (ResNet101, 42_500_160),
        (ResNet152, 58_143_808),
    ],
)
def test_parameters_at_output_stride_8_are_as_many_as_torchvisions_at_32(resnet, count):
    assert _count(resnet(output_stride=8)) == count


def _count(model):
    init = lambda: model.init(jax.random.key(0), IMAGE, train=False)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init)["params"]))


@pytest.mark.parametrize(
    "resnet, count",
    [(ResNet50, 23_631_808), (ResNet101, 42_623_936)],
)
def test_the_deep_stem_has_as_many_parameters_as_pspnets(resnet, count):
    assert _count(resnet(deep_stem=True, block=BottleneckV1)) == count


@pytest.mark.parametrize(
    "options, message",
    [
        ({"output_stride": 12}, "got 12"),
        ({"multi_grid": (1, 2)}, "each of 3 units"),
        ({"rates": ((3, (1, 2)),)}, r"rates=\(1, 2\) must have .* each of 6 units"),
        ({"rates": ((4, (1, 0, 2)),)}, "at least 1 for each of 3 units"),
        ({"rates": ((5, (1, 2)),)}, "must name stages 1 to 4"),
        ({"rates": ((4, (1, 1, 1)),), "multi_grid": (1, 2, 4)}, "not beside multi_grid"),
    ],
    ids=str,
)
def test_an_impossible_layout_is_an_error_that_names_it(options, message):
    init = lambda: ResNet50(**options).init(jax.random.key(0), IMAGE, train=False)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(init)


def test_it_prints_as_its_configuration():
    text = repr(ResNet18(output_stride=16))
    assert "output_stride = 16" in text and "block = BasicBlock" in text and "0x" not in text
    assert "stride_first=True" in repr(ResNet50(block=BottleneckV1))
