"""DenseNet: torchvision's activations, and dense features of odd and of tiny sides."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.densenet import DenseNet, DenseNet121
from segjax.ops.dispatch import plain

FOLDER = pathlib.Path(__file__).parent.parent / "models"
MAKER = runpy.run_path(str(FOLDER / "make_golden_densenet.py"))
FILL = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))
SMALL = DenseNet(layers=(1, 1, 2, 1), growth=4, width=8)


def _shapes(model, x):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))


def _image(height, width):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(1, height, width, 3)), jnp.float32)


def _filled(model, x):
    """Returns variables, each made from its name in torchvision."""
    return FILL["by_name"](_shapes(model, x), _torchvisions)


def _torchvisions(path):
    module = ".".join(path[:-1]).replace("_denselayer", ".denselayer")
    return FILL["dotted"](("features", module, path[-1]))


@pytest.mark.slow
def test_every_level_of_densenet_121_returns_what_torchvisions_returns():
    x, model = jnp.asarray(MAKER["image"]()), DenseNet121()
    with plain():  # Compiles faster.
        variables = _filled(model, x)
        features = jax.jit(lambda v: model.apply(v, x, train=False))(variables)
    with np.load(FOLDER / "golden_densenet.npz") as golden:
        assert set(golden) == set(features)
        for name, expected in golden.items():
            found = MAKER["sample"](features[name])
            assert found.shape == expected.shape
            atol = 1e-4 * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, atol=atol, rtol=0, err_msg=name)


def test_dense_features_subsample_to_the_strided_ones_of_odd_and_tiny_sides_too():
    x = _image(75, 3)
    variables = _filled(SMALL, x)
    features = lambda stride: jax.jit(
        lambda v: SMALL.clone(output_stride=stride).apply(v, x, train=False)
    )(variables)
    strided = features(32)
    for output_stride in (8, 16):
        dense = features(output_stride)
        for level in range(1, 6):
            step = max(2**level // output_stride, 1)
            found, expected = dense[f"c{level}"][:, ::step, ::step], strided[f"c{level}"]
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
