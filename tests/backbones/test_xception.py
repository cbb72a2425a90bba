"""Xception: end points, and what multi-grid changes."""

import functools
import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.xception import Xception, Xception65, Xception71
from segjax.ops.dispatch import plain

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
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


@functools.cache
def _features(output_stride, multi_grid=(1, 1, 1)):
    model = TINY(output_stride=output_stride, multi_grid=multi_grid)
    variables = LIVELY(_init(model)[1])
    with plain():
        return jax.jit(lambda v: model.apply(v, IMAGE, train=False))(variables)


@pytest.mark.parametrize("model", [Xception65, Xception71])
def test_maps_of_a_crop_of_513_are_those_of_the_tensorflow_code(model):
    features, _ = _init(model(output_stride=16), (1, 513, 513, 3))
    assert [features[f"c{i}"].shape[1:] for i in range(1, 6)] == [
        (257, 257, 128),
        (129, 129, 256),
        (65, 65, 728),
        (33, 33, 1024),
        (33, 33, 2048),
    ]


def test_parameters_do_not_depend_on_multi_grid():
    assert _init(TINY(multi_grid=(1, 2, 4)))[1] == _init(TINY())[1]


def test_multi_grid_changes_the_last_module_alone():
    alike, gridded = _features(16), _features(16, multi_grid=(1, 2, 1))
    np.testing.assert_array_equal(gridded["c4"], alike["c4"])
    assert np.abs(gridded["c5"] - alike["c5"]).max() > 1e-3
