"""ResNet: layouts of dilations, frozen normalisation, and how it prints."""

import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, BottleneckV1, ResNet, ResNet18, ResNet50
from segjax.contracts import AXIS

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 97, 3)), jnp.float32)


def _small(block, **options):
    return ResNet(stages=(1, 1, 2, 2), block=block, width=4, **options)


def _variables(model):
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))
    return LIVELY(shapes)


def _features(model, variables):
    return jax.jit(lambda v: model.apply(v, IMAGE, train=False))(variables)


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
    "options, message",
    [
        ({"output_stride": 12}, "got 12"),
        ({"multi_grid": (1, 2)}, "each of 3 units"),
        ({"rates": ((3, (1, 2)),)}, r"rates=\(1, 2\) must have .* each of 6 units"),
        ({"rates": ((4, (1, 0, 2)),)}, "at least 1, for each of 3 units"),
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
