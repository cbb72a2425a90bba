"""DenseNet: published counts, dense features that subsample to the strided ones, torchvision's
activations, and recomputation that changes nothing.
"""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from segjax.backbones.densenet import DenseNet, DenseNet121, DenseNet169, DenseNet201
from segjax.ops.dispatch import plain

FOLDER = pathlib.Path(__file__).parent.parent / "models"
MAKER = runpy.run_path(str(FOLDER / "make_golden_densenet.py"))
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
SMALL = DenseNet(layers=(1, 1, 2, 1), growth=4, width=8)


def _shapes(model, x):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))


def _image(height, width):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(1, height, width, 3)), jnp.float32)


def _filled(model, x):
    """Returns variables, each made from its name in torchvision."""
    flat = traverse_util.flatten_dict(_shapes(model, x))
    return traverse_util.unflatten_dict({k: _tensor(k[1:], v.shape) for k, v in flat.items()})


def _tensor(path, shape):
    module = ".".join(path[:-1]).replace("_denselayer", ".denselayer")
    name = f"features.{module}.{LEAVES.get(path[-1], path[-1])}"
    if len(shape) == 1:
        return jnp.asarray(MAKER["fill"](name, shape))
    height, width, inner, outputs = shape
    return jnp.asarray(
        MAKER["fill"](name, (outputs, inner, height, width)).transpose(2, 3, 1, 0)
    )


@pytest.mark.parametrize(
    "densenet, count",
    [(DenseNet121, 6_953_856), (DenseNet169, 12_484_480), (DenseNet201, 18_092_928)],
)
def test_parameters_at_output_stride_8_are_as_many_as_torchvisions_at_32(densenet, count):
    params = _shapes(densenet(output_stride=8), _image(32, 32))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


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


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_an_image_of_a_multiple_of_32_gives_maps_of_the_nominal_sizes(output_stride):
    model, x = SMALL.clone(output_stride=output_stride), _image(64, 96)
    init = lambda: model.init_with_output(jax.random.key(0), x, train=False)
    features, _ = jax.eval_shape(init)
    strides = [min(2**level, output_stride) for level in range(1, 6)]
    assert {name: array.shape[1:] for name, array in features.items()} == {
        f"c{i}": (64 // stride, 96 // stride, channels)
        for i, (stride, channels) in enumerate(
            zip(strides, (8, 12, 10, 13, 10), strict=True), start=1
        )
    }


def test_recomputing_the_layers_changes_neither_names_nor_gradients():
    x = _image(16, 16)
    variables = _filled(SMALL, x)

    def trace(model):
        rest = {"batch_stats": variables["batch_stats"]}
        apply = lambda params: model.apply({"params": params, **rest}, x, train=False)
        gradient = jax.grad(lambda params: jnp.sin(apply(params)["c3"]).sum())
        return jax.jit(gradient).trace(variables["params"])

    kept, recomputed = trace(SMALL), trace(SMALL.clone(remat=True))
    assert [_recomputed_parts(traced) for traced in (kept, recomputed)] == [0, 2]
    kept, recomputed = (
        traced.lower().compile()(variables["params"]) for traced in (kept, recomputed)
    )
    assert jax.tree.structure(kept) == jax.tree.structure(recomputed)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(recomputed), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4 * np.abs(a).max())


def _recomputed_parts(traced):
    return sum("policy" in equation.params for equation in traced.jaxpr.eqns)


def test_an_impossible_output_stride_is_an_error():
    with pytest.raises(ValueError, match="got 4"):
        _shapes(SMALL.clone(output_stride=4), _image(8, 8))
