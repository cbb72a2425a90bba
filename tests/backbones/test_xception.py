"""Xception: published counts, end points, and dense features that subsample to strided ones."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.xception import Xception, Xception41, Xception65, Xception71
from segjax.ops.dispatch import plain

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 33, 3)), jnp.float32)
TINY = partial(
    Xception,
    entry_flow=((8, 2), (8, 2), (8, 2)),
    middle_units=1,
    exit_flow=((8, 8, 8), (8, 8, 8)),
)


def _init(model, shape=(1, 65, 33, 3)):
    init = lambda x: model.init_with_output(jax.random.key(0), x, train=False)
    with plain():  # Traces and compiles faster, here and below.
        return jax.eval_shape(init, jax.ShapeDtypeStruct(shape, jnp.float32))


def _lively(path, leaf):
    """Returns a parameter or a statistic of no fresh network, without compiling `init`."""
    rng = np.random.default_rng(len(jax.tree_util.keystr(path)))
    if path[-1].key == "kernel":
        values = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:3])), leaf.shape)
    else:
        values = rng.uniform(0.5, 1.0, leaf.shape)
    return jnp.asarray(values, jnp.float32)


@functools.cache
def _features(output_stride, multi_grid=(1, 1, 1)):
    model = TINY(output_stride=output_stride, multi_grid=multi_grid)
    variables = jax.tree_util.tree_map_with_path(_lively, _init(model)[1])
    with plain():
        return jax.jit(lambda v: model.apply(v, IMAGE, train=False))(variables)


@pytest.mark.parametrize(
    "model, count",
    [(Xception41, 24_920_560), (Xception65, 37_867_312), (Xception71, 40_289_736)],
)
def test_parameters_and_maps_of_a_crop_of_513_are_those_of_the_tensorflow_code(model, count):
    features, variables = _init(model(output_stride=16), (1, 513, 513, 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    assert [features[f"c{i}"].shape[1:] for i in range(1, 6)] == [
        (257, 257, 128),
        (129, 129, 256),
        (65, 65, 728),
        (33, 33, 1024),
        (33, 33, 2048),
    ]


@pytest.mark.parametrize("options", [{"output_stride": 8}, {"multi_grid": (1, 2, 4)}], ids=str)
def test_parameters_depend_neither_on_the_output_stride_nor_on_multi_grid(options):
    assert _init(TINY(**options))[1] == _init(TINY())[1]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dense_features_subsample_to_the_strided_ones(output_stride):
    expected, dense = _features(32), _features(output_stride)
    for level in range(1, 6):
        step = max(2**level // output_stride, 1)
        found, wanted = dense[f"c{level}"][:, ::step, ::step], expected[f"c{level}"]
        assert dense[f"c{level}"].shape[1] == 64 // min(2**level, output_stride) + 1
        assert np.std(wanted) > 1e-3
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_multi_grid_changes_the_last_module_alone():
    alike, gridded = _features(16), _features(16, multi_grid=(1, 2, 1))
    np.testing.assert_array_equal(gridded["c4"], alike["c4"])
    assert np.abs(gridded["c5"] - alike["c5"]).max() > 1e-3


def test_modules_computed_anew_have_the_same_names_and_gradients():
    short = TINY(entry_flow=((8, 2),), middle_units=0)
    variables = jax.tree_util.tree_map_with_path(_lively, _init(short)[1])

    def gradient(model):
        loss = lambda v: jnp.sin(model.apply(v, IMAGE[:, :9, :9], train=False)["c5"]).sum()
        with plain():
            return jax.jit(jax.grad(loss))(variables)

    remat = short.clone(remat=True)
    assert _init(remat)[1] == _init(short)[1]
    text = str(jax.make_jaxpr(lambda v: remat.apply(v, IMAGE, train=False)["c5"])(variables))
    assert text.count("remat2[") + text.count("checkpoint[") == 3
    kept, anew = gradient(short), gradient(remat)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(anew), strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(b, a, atol=1e-4 * np.abs(a).max())


def test_an_impossible_output_stride_is_an_error():
    with pytest.raises(ValueError, match="got 12"):
        _init(Xception65(output_stride=12))
