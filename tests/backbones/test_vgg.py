"""VGG16: the poolings' sizes, maps before the poolings, fully connected layers."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.vgg import (
    CEIL,
    DEEPLAB,
    FLOOR,
    VGG,
    Pool,
    fc_kernel,
    subsampled_fc,
)
from segjax.ops.conv import conv2d

LIVELY = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "fill.py"))["lively"]
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(1, 65, 97, 3)), jnp.float32)


def _small(**options):
    return VGG(stages=(1, 1, 1, 1, 2), width=4, **options)


def _variables(model):
    return LIVELY(jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False)))


def _features(model, variables):
    return jax.jit(lambda v: model.apply(v, IMAGE, train=False))(variables)


@pytest.mark.parametrize(
    "pool, size, chain",
    [
        (FLOOR, 500, [250, 125, 62, 31, 15]),
        (CEIL, 500, [250, 125, 63, 32, 16]),
        (DEEPLAB, 500, [250, 125, 63, 32, 16]),
        (Pool(window=3, padding=1, ceil=True), 500, [251, 126, 64, 33, 17]),
        (Pool(window=3, padding=1, ceil=True), 321, [161, 81, 41, 21, 11]),
        (DEEPLAB, 321, [161, 81, 41, 21, 11]),
        (Pool(window=2, padding=1, ceil=True), 5, [3, 2, 2, 2, 2]),
        (FLOOR, 1, [1, 1, 1, 1, 1]),
        (CEIL, 1, [1, 1, 1, 1, 1]),
    ],
)
def test_pools_have_the_sizes_of_torchvision_and_caffe(pool, size, chain):
    x, found = jnp.zeros((1, size, size, 1)), []
    for _ in range(5):
        x = jax.eval_shape(lambda x: pool(x, stride=2), x)
        found.append(x.shape[1])
    assert found == chain


@pytest.mark.parametrize("pool", [FLOOR, CEIL, DEEPLAB, Pool(3, padding=1, ceil=True)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_pool_returns_the_largest_pixel_of_each_window_of_negative_ones_too(pool, stride):
    x = np.random.default_rng(2).uniform(-2, -1, size=(1, 7, 8, 2)).astype(np.float32)
    found = pool(jnp.asarray(x), stride=stride)
    for row, column in np.ndindex(found.shape[1:3]):
        top, left = row * stride - pool.padding, column * stride - pool.padding
        window = x[0, max(top, 0) : top + pool.window, max(left, 0) : left + pool.window]
        np.testing.assert_array_equal(found[0, row, column], window.max((0, 1)))


@pytest.fixture(scope="module")
def variables():
    return _variables(_small())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dense_maps_before_deeplabs_pools_subsample_to_the_strided_ones(
    variables, output_stride
):
    model = _small(pool=DEEPLAB, before_pool=True)
    strided = _features(model, variables)
    dense = _features(model.clone(output_stride=output_stride), variables)
    # At 8 the last window would have to dilate, which DeepLab's does not.
    for level in range(5 if output_stride == 8 else 6):
        step = max(2**level // output_stride, 1)
        wanted = strided[f"c{level}"]
        found = dense[f"c{level}"][:, ::step, ::step][:, : wanted.shape[1], : wanted.shape[2]]
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    sides = [dense[f"c{level}"].shape[1] for level in range(6)]
    assert sides[-1] == sides[{8: 3, 16: 4}[output_stride]]


def test_maps_before_the_pools_are_what_the_pools_are_given(variables):
    models = _small(), _small(before_pool=True)
    apply = lambda v: [model.apply(v, IMAGE, train=False) for model in models]
    after, before = jax.jit(apply)(variables)
    assert [before[f"c{i}"].shape[1] for i in range(6)] == [65, 32, 16, 8, 4, 2]
    assert before.keys() - after.keys() == {"c0"}
    np.testing.assert_array_equal(before["c5"], after["c5"])
    for i in range(5):
        np.testing.assert_array_equal(FLOOR(before[f"c{i}"], stride=2), after[f"c{i + 1}"])


def test_a_fully_connected_layer_is_a_convolution_of_its_maps_size():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 7, 7, 5)).astype(np.float32)
    weight = rng.normal(size=(6, 5 * 49)).astype(np.float32)
    found = conv2d(jnp.asarray(x), jnp.asarray(fc_kernel(weight, 7)))
    by_channel = x.transpose(0, 3, 1, 2).reshape(2, -1)
    np.testing.assert_allclose(found[:, 0, 0], by_channel @ weight.T, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="245 inputs are not a whole number of 6×6 maps"):
        fc_kernel(weight, 6)


def _numbered(size, inputs, outputs):
    """Returns a layer whose weights say where they are."""
    kernel = np.zeros((size, size, inputs, outputs, 4), int)
    for axis in range(4):
        kernel[..., axis] = np.arange(kernel.shape[axis]).reshape([-1] + [1] * (3 - axis))
    return {"kernel": kernel @ [10**6, 10**4, 100, 1], "bias": np.arange(outputs)}


def test_subsampling_keeps_taps_0_3_6_and_every_fourth_filter_and_its_input():
    layers = {"fc6": _numbered(7, 2, 8), "fc7": _numbered(1, 8, 8)}
    found = subsampled_fc(layers, kernel_size=3, features=2)
    rows = found["fc6"]["kernel"][:, 0, 0, 0] // 10**6
    columns = found["fc6"]["kernel"][0, :, 0, 0] // 10**4
    assert rows.tolist() == columns.tolist() == [0, 3, 6]
    assert found["fc6"]["kernel"][0, 0].tolist() == [[0, 4], [100, 104]]
    assert found["fc6"]["bias"].tolist() == found["fc7"]["bias"].tolist() == [0, 4]
    assert found["fc7"]["kernel"][0, 0].tolist() == [[0, 4], [400, 404]]


def test_four_taps_are_every_second_of_seven_and_seven_are_all():
    layers = {"fc6": _numbered(7, 1, 4), "fc7": _numbered(1, 4, 4)}
    rows = subsampled_fc(layers, kernel_size=4, features=4)["fc6"]["kernel"][:, 0, 0, 0]
    assert (rows // 10**6).tolist() == [0, 2, 4, 6]
    same = subsampled_fc(layers, kernel_size=7, features=4)
    jax.tree.map(np.testing.assert_array_equal, same, layers)


@pytest.mark.parametrize("kernel_size, features", [(5, 4), (1, 4), (3, 3)])
def test_taps_and_filters_at_unequal_distances_are_an_error(kernel_size, features):
    layers = {"fc6": _numbered(7, 1, 4), "fc7": _numbered(1, 4, 4)}
    with pytest.raises(
        ValueError, match=f"keep {kernel_size}×{kernel_size} taps and {features}"
    ):
        subsampled_fc(layers, kernel_size=kernel_size, features=features)
