"""U-Net: published counts and sizes, alignment of its skips, and what its borders see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from segjax.contracts import AXIS
from segjax.layers.up import bilinear
from segjax.models.unet import UNet

PAPER = UNet(num_classes=2, valid=True)


def _small(**options):
    return UNet(num_classes=3, depth=2, features=4, **options)


def _image(height, width, channels=1):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(1, height, width, channels)), jnp.float32)


def _init(model, x):
    """Returns lively variables without compiling `init`."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes
    )


def _apply(model, variables, x):
    return jax.jit(lambda v: model.apply(v, x, train=False))(variables)


def test_the_papers_network_has_31030658_parameters_and_takes_572_to_388():
    init = lambda x: PAPER.init_with_output(jax.random.key(0), x, train=False)
    logits, variables = jax.eval_shape(init, jnp.zeros((1, 572, 572, 1)))
    assert logits.shape == (1, 388, 388, 2)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 31_030_658


@pytest.mark.parametrize(
    "size, message",
    [
        ((570, 572), r"570×572: each side must be 188 \+ 16k; nearest to 570: 556 and 572\."),
        ((572, 100), r"nearest to 100: 188\."),
    ],
)
def test_a_size_that_valid_convolutions_cannot_take_is_an_error_with_the_nearest(size, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda x: PAPER.init(jax.random.key(0), x, train=False), jnp.zeros((1, *size, 1))
        )


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_canvas_is_the_smallest_fitting_input_whose_logits_cover_the_image(depth):
    model = UNet(num_classes=2, depth=depth, features=1, valid=True)
    for height, width in ((1, 2), (5, 36), (388, 389)):
        canvas = model.canvas(height, width)
        init = lambda x: model.init_with_output(jax.random.key(0), x, train=False)  # noqa: B023
        logits, _ = jax.eval_shape(init, jnp.zeros((1, *canvas, 1)))
        for covered, side in zip(logits.shape[1:3], (height, width), strict=True):
            assert side <= covered < side + 2**depth
    assert UNet(num_classes=2).canvas(5, 36) == (5, 36)
    with pytest.raises(ValueError, match="got 0 and 3"):
        model.canvas(0, 3)


@pytest.mark.parametrize(
    "options, size",
    [(dict(valid=True), (44, 52)), (dict(up=bilinear, valid=True), (44, 44)), ({}, (14, 18))],
    ids=["valid", "bilinear", "padded"],
)
def test_mirrored_kernels_see_a_mirrored_image_alike_so_skips_are_aligned(options, size):
    model, x = _small(**options), _image(*size)
    variables = _init(model, x)
    mirrored = jax.tree.map(lambda p: p[::-1, ::-1] if p.ndim == 4 else p, variables)
    expected = _apply(model, variables, x)
    found = _apply(model, mirrored, x[:, ::-1, ::-1])[:, ::-1, ::-1]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_tiles_of_the_valid_network_fit_together_without_seams():
    model, x = _small(valid=True), _image(52, 48)
    variables = _init(model, x)
    whole = _apply(model, variables, x)
    tile = _apply(model, variables, x[:, 4:48])
    assert whole.shape == (1, 12, 8, 3)
    np.testing.assert_allclose(tile, whole[:, 4:8], atol=1e-5 * np.abs(whole).max())


def test_a_network_of_depth_one_is_the_papers_figure():
    model, x = UNet(num_classes=3, depth=1, features=2, valid=True), _image(20, 22)
    params = _init(model, x)["params"]
    conv = lambda x, p: (
        lax.conv_general_dilated(
            x, p["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        + p["bias"].reshape(1, 1, 1, -1)
    )
    pair = lambda x, p: jax.nn.relu(conv(jax.nn.relu(conv(x, p["conv0"])), p["conv1"]))
    skip = pair(x, params["down0"])
    pooled = skip.reshape(1, 8, 2, 9, 2, 2).max((2, 4))
    deep, up = pair(pooled, params["bottom"]), params["upconv0"]
    spread = jnp.einsum("bhwi,xyoi->bhxwyo", deep, up["kernel"]).reshape(1, 8, 10, 2)
    joined = jnp.concatenate(
        [skip[:, 4:-4, 4:-4], spread + up["bias"].reshape(1, 1, 1, -1)], -1
    )
    expected = conv(pair(joined, params["up0"]), params["classifier"])
    np.testing.assert_allclose(_apply(model, {"params": params}, x), expected, atol=1e-5)


def test_an_odd_image_is_mirrored_out_and_its_logits_cropped_back():
    model, x = _small(), _image(13, 16)
    variables = _init(model, x)
    mirrored = np.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), mode="reflect")
    expected = _apply(model, variables, jnp.asarray(mirrored))[:, 1:-2]
    np.testing.assert_allclose(_apply(model, variables, x), expected, atol=1e-6)


def test_dropout_acts_on_the_bottom_in_training_alone():
    model, x = _small(dropout=0.5), _image(16, 16)
    variables = _init(model, x)
    apply = lambda x, key: model.apply(variables, x, train=True, rngs={"dropout": key})
    run = jax.pmap(apply, axis_name=AXIS, in_axes=(0, None))
    first, second = (run(x[None], jax.random.key(i))[0] for i in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    without = _apply(_small(), variables, x)
    np.testing.assert_array_equal(_apply(model, variables, x), without)


def test_a_convolution_before_batch_norm_has_no_bias():
    model, x = _small(batch_norm=True), jnp.zeros((1, 8, 8, 1))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    assert {key: set(leaves) for key, leaves in params["down0"].items()} == {
        "conv0": {"kernel"},
        "norm0": {"scale", "bias"},
        "conv1": {"kernel"},
        "norm1": {"scale", "bias"},
    }


def test_kernels_start_with_the_papers_variance():
    model, x = UNet(num_classes=2, depth=1, features=32), jnp.zeros((1, 4, 4, 1))

    def kernels():
        params = model.init(jax.random.key(0), x, train=False)["params"]
        return [params["up0"]["conv0"]["kernel"], params["upconv0"]["kernel"]]

    for kernel, incoming in zip(jax.jit(kernels)(), (9 * 64, 64), strict=True):
        np.testing.assert_allclose(kernel.std(), np.sqrt(2 / incoming), rtol=0.03)
