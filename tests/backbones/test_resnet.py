"""ResNet: published counts, and dense features that subsample to the strided ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNet152,
)

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 97, 3)), jnp.float32)


def _small(block, **options):
    return ResNet(stages=(1, 1, 2, 2), block=block, width=4, **options)


@pytest.fixture(scope="module", params=[Bottleneck, BasicBlock])
def strided(request):
    """A block, variables with lively statistics, and their features at output stride 32."""
    model = _small(request.param)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))
    variables = jax.tree_util.tree_map_with_path(_lively, shapes)
    return request.param, variables, _features(model, variables)


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


def test_multi_grid_changes_layer4_alone(strided):
    block, variables, _ = strided
    plain = _features(_small(block, output_stride=16), variables)
    gridded = _features(_small(block, output_stride=16, multi_grid=(1, 2)), variables)
    np.testing.assert_array_equal(gridded["c4"], plain["c4"])
    assert np.abs(gridded["c5"] - plain["c5"]).max() > 1e-3


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
    init = lambda: resnet(output_stride=8).init(jax.random.key(0), IMAGE, train=False)
    params = jax.eval_shape(init)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("options", [{"output_stride": 12}, {"multi_grid": (1, 2)}], ids=str)
def test_an_impossible_output_stride_or_multi_grid_is_an_error(options):
    init = lambda: ResNet50(**options).init(jax.random.key(0), IMAGE, train=False)
    with pytest.raises(ValueError, match="got 12|each of 3 units"):
        jax.eval_shape(init)


def test_it_prints_as_its_configuration():
    text = repr(ResNet18(output_stride=16))
    assert "output_stride = 16" in text and "block = BasicBlock" in text and "0x" not in text
