"""Images that several devices share: what one device computes, from parts and their borders."""

import os
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax import losses
from segjax.errors import InputError
from segjax.evaluate.compiled import predictor
from segjax.evaluate.windows import OverlapTile
from segjax.evaluate.wrappers import Flip
from segjax.models.unet import UNet
from segjax.ops import resize
from segjax.ops.conv import conv2d
from segjax.ops.dispatch import plain
from segjax.parallel.sharing import check_batch_size, over_devices
from segjax.parallel.spatial import map_images
from segjax.tasks import dense
from segjax.train.step import init_state, make_train_step

SMALL = runpy.run_path(str(pathlib.Path(__file__).parent / "models" / "small_networks.py"))
MODELS, variables_of = SMALL["MODELS"], SMALL["variables_of"]
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 37, 50, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, (4, 37, 50)).astype(np.uint8)
LABELS[0, :20] = 255
BATCH = {"image": IMAGES, "label": LABELS, "step": np.zeros(4, np.int32)}


def _step(model):
    return make_train_step(
        dense.objective(model, losses.softmax_cross_entropy, normalize=lambda image: image),
        optax.sgd(1.0),
        auxiliary_weight=0.4,
    )


def _taken(model, split):
    """Returns the gradient and the statistics of one step of rate 1, and its numbers."""
    variables = variables_of(model)
    before = jax.tree.map(np.asarray, variables)
    state = init_state(jax.tree.map(jnp.array, variables), optax.sgd(1.0))
    with plain():  # As images in parts are computed; the fast forms round otherwise.
        after, measured = over_devices(_step(model), split=split)(state, BATCH)
    gradient = jax.tree.map(
        lambda old, new: old - np.asarray(new), before["params"], after.params
    )
    return gradient, jax.tree.map(np.asarray, after.batch_stats), measured


# Dilated, with skips, batch norm over uneven parts; dropout; pooling winners; dense blocks.
@pytest.mark.slow_but("unet")
@pytest.mark.parametrize("name", ["deeplab_plus", "unet", "segnet", "fc_densenet"])
def test_four_devices_that_share_an_image_take_the_step_of_four_with_their_own(name):
    if name == "segnet" and "fusion_emitters=false" in os.environ["XLA_FLAGS"]:
        pytest.skip(
            "SegNet hands on where maxima lie, and this compiler's rounding moves some."
        )
    gradient, statistics, numbers = _taken(MODELS[name], (1, 1))
    found, spread, measured = _taken(MODELS[name], (2, 2))
    assert measured["finite"]
    np.testing.assert_allclose(measured["loss"], numbers["loss"], rtol=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest)
    jax.tree.map(close, found, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), spread, statistics)


@pytest.mark.slow_but("plain-(4, 1)", "flip-(2, 1)")
@pytest.mark.parametrize("split", [(4, 1), (1, 4), (2, 1)], ids=str)
@pytest.mark.parametrize("wrappers", [(), (Flip(),)], ids=["plain", "flip"])
def test_probabilities_and_classes_of_shared_images_are_those_of_whole_ones(split, wrappers):
    model = MODELS["deeplab"]
    variables = variables_of(model)
    images = IMAGES[:3]
    whole = predictor(model, lambda image: image, wrappers=wrappers)
    shared = predictor(model, lambda image: image, wrappers=wrappers, split=split)
    expected = whole(variables, images)
    np.testing.assert_allclose(shared(variables, images), expected, atol=1e-5)
    ranked = np.sort(expected, axis=-1)
    clear = ranked[..., -1] - ranked[..., -2] > 1e-4
    classes = whole.classes(variables, images)
    np.testing.assert_array_equal(shared.classes(variables, images)[clear], classes[clear])


def test_parts_of_a_long_image_are_interpolated_as_the_whole(monkeypatch):
    monkeypatch.setattr(resize, "MOST_WEIGHTS", 0)

    def there_and_back(_, x):
        return resize.resize_bilinear(resize.resize_bilinear(x, (19, 23)), x.shape[1:3])

    found = map_images(there_and_back, (2, 1))(None, IMAGES)
    monkeypatch.undo()
    np.testing.assert_allclose(found, there_and_back(None, jnp.asarray(IMAGES)), atol=1e-5)


def test_each_device_holds_a_part_and_only_borders_are_exchanged():
    kernel = jnp.asarray(RNG.normal(size=(3, 3, 8, 8)), jnp.float32)
    image = jnp.asarray(RNG.normal(size=(1, 64, 64, 8)), jnp.float32)
    seen = []

    def function(kernel, x):
        jax.debug.inspect_array_sharding(x, callback=seen.append)
        return conv2d(conv2d(x, kernel, padding=1), kernel, padding=2, dilation=2)

    result = map_images(function, (2, 2))(kernel, np.asarray(image))
    np.testing.assert_allclose(result, jax.jit(function)(kernel, image), atol=1e-3)
    assert seen[0].shard_shape((1, 64, 64, 8)) == (1, 32, 32, 8)


def test_a_map_smaller_than_the_group_of_devices_is_not_cut():
    ones = jnp.ones((1, 1, 1, 1))
    run = map_images(lambda kernel, x: conv2d(x[:, :1, :1], kernel) + 0 * x, (4, 1))
    assert run(ones, np.full((1, 3, 2, 1), 5.0, np.float32)).ravel().tolist() == [5.0] * 6


@pytest.mark.parametrize("split", [(3, 1), (2, 4), (8, 1)], ids=str)
def test_devices_that_cannot_be_grouped_are_refused(split):
    with pytest.raises(InputError, match=f"{split[0]} x {split[1]} devices .* there are 4"):
        over_devices(lambda state, batch: (state, {}), split=split)


def test_a_batch_is_divided_by_groups():
    check_batch_size(2, split=(2, 1))
    with pytest.raises(InputError, match="batch_size=3.* 2 groups .* use 2 or 4"):
        check_batch_size(3, split=(2, 1))


def test_maps_of_another_size_than_the_shared_image_are_refused():
    run = map_images(lambda _, x: x[:, 2:-2, 2:-2], (2, 2))
    with pytest.raises(ValueError, match=r"\(9, 9\) that devices share .* got \(5, 5\)"):
        run({}, np.ones((1, 9, 9, 1), np.float32))


def test_tiles_of_an_image_that_devices_share_are_refused():
    valid = UNet(num_classes=3, depth=1, features=4, valid=True)
    with pytest.raises(InputError, match=r"leave split at \(1, 1\)"):
        predictor(valid, lambda image: image, wrappers=(OverlapTile(8),), split=(4, 1))
