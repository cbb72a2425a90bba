"""From an image to a mask in Python."""

import logging
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax import predict, weights
from segjax.errors import InputError
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.experiment import IMAGENET, UNIT
from segjax.models.unet import UNet
from segjax.predict import Segmenter
from segjax.tasks.multilabel import Multilabel

HERE = pathlib.Path(__file__).parent
TINY = HERE / "commands" / "tiny.py"
UNTRAINED = runpy.run_path(str(HERE / "page" / "untrained_run.py"))["untrained"]
NETWORK = UNet(num_classes=3, depth=1, features=4)


@pytest.fixture(scope="module")
def variables():
    return weights.init(NETWORK)


@pytest.fixture(scope="module")
def segmenter(variables) -> Segmenter:
    return Segmenter(NETWORK, variables, class_names=("ground", "road", "car"))


def noise(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_initial_variables_are_the_models_own(variables):
    own = NETWORK.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), variables, own)


def test_a_mask_is_the_argmax_of_the_networks_scores(segmenter, variables):
    image = noise(20, 30, 3)
    scores = NETWORK.apply(variables, IMAGENET(image[None]), train=False)
    mask = segmenter(image)
    assert mask.shape == (20, 30) and mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.argmax(scores[0], -1))
    np.testing.assert_allclose(
        segmenter.probabilities(image), jax.nn.softmax(scores[0]), atol=1e-5
    )
    assert segmenter.probabilities(image).dtype == np.float32


def test_a_path_a_picture_and_an_array_of_one_image_have_one_mask(segmenter, tmp_path):
    image = noise(20, 30, 3)
    Image.fromarray(image).save(tmp_path / "a.png")
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image)):
        np.testing.assert_array_equal(segmenter(given), segmenter(image))


def test_a_photograph_is_turned_as_its_camera_says(segmenter, tmp_path):
    picture = Image.fromarray(noise(20, 30, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        upright = np.rot90(np.array(picture), -1)
        np.testing.assert_array_equal(segmenter(opened), segmenter(upright))
    np.testing.assert_array_equal(segmenter(tmp_path / "a.png"), segmenter(upright))


def test_a_grey_network_takes_grey_arrays_and_colour_files(tmp_path):
    network = UNet(num_classes=2, depth=1, features=4)
    grey = Segmenter(network, weights.init(network, channels=1), channels=1, normalize=UNIT)
    image = noise(16, 24)
    Image.fromarray(image).convert("RGB").save(tmp_path / "a.png")
    np.testing.assert_array_equal(grey(image), grey(tmp_path / "a.png"))
    np.testing.assert_array_equal(grey(image), grey(image[..., None]))


def test_wrappers_are_those_of_the_command(variables):
    windows = Segmenter(NETWORK, variables, wrappers=(SlidingWindow(16), PadToMultiple(8)))
    image = noise(21, 33, 3)
    assert windows(image).shape == (21, 33)
    assert "SlidingWindow(size=16" in repr(windows)


def test_planes_overlap_and_are_drawn_over_the_image():
    network = UNet(num_classes=2, depth=1, features=4)
    planes = Segmenter(network, weights.init(network), task=Multilabel(threshold=0.5))
    image = noise(16, 24, 3)
    mask = planes(image)
    np.testing.assert_array_equal(mask, planes.probabilities(image) >= 0.5)
    assert mask.shape == (16, 24, 2) and planes.overlay(image, mask).size == (24, 16)
    assert planes.palette_image(mask[..., 0]).mode == "P"


def test_a_single_plane_is_saved_as_0_and_1_as_the_command_writes_it():
    network = UNet(num_classes=1, depth=1, features=4)
    binary = Segmenter(network, weights.init(network), task=Multilabel())
    mask = binary(noise(16, 24, 3))
    saved = binary.palette_image(mask)
    assert mask.shape == (16, 24, 1) and saved.mode == "P"
    np.testing.assert_array_equal(np.array(saved), mask[..., 0])


def test_an_overlay_shows_the_mask_that_is_given_or_predicts_it(segmenter):
    image = noise(20, 30, 3)
    predicted = np.array(segmenter.overlay(image))
    np.testing.assert_array_equal(
        predicted, np.array(segmenter.overlay(image, segmenter(image)))
    )
    unlabelled = np.array(segmenter.overlay(image, np.zeros((20, 30), np.uint8)))
    np.testing.assert_array_equal(unlabelled, image)  # Class 0 is black: it is not tinted.
    assert (predicted != image).any()


def test_a_palette_image_holds_the_class_ids(segmenter, tmp_path):
    mask = segmenter(noise(20, 30, 3))
    segmenter.palette_image(mask).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == "P"
        np.testing.assert_array_equal(np.array(saved), mask)


@pytest.mark.parametrize("shape", [(20, 30, 4), (1, 20, 30, 3), (20,), (20, 30), (0, 30, 3)])
def test_an_array_that_is_no_image_of_the_network_is_refused(segmenter, shape):
    with pytest.raises(InputError, match="this network takes one image, height x width x 3"):
        segmenter(noise(*shape))


def test_more_than_8_bits_and_floats_beyond_1_are_refused_instead_of_clipped(segmenter):
    deep = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    with pytest.raises(InputError, match="mode I;16 has more than 8 bits a channel"):
        segmenter(deep)
    image = noise(20, 30, 3)
    with pytest.raises(InputError, match="values up to 2.., but floats are from 0 to 1"):
        segmenter(image.astype(np.float32))
    with pytest.raises(InputError, match="The image is int64; pass uint8"):
        segmenter(image.astype(np.int64))
    np.testing.assert_array_equal(segmenter(image / np.float32(255)), segmenter(image))


def test_variables_of_another_network_are_refused_at_once(variables):
    wider = UNet(num_classes=3, depth=1, features=8)
    with pytest.raises(InputError, match="these variables are of another network"):
        Segmenter(wider, variables)
    with pytest.raises(InputError, match="these variables are of another network"):
        Segmenter(NETWORK, variables, channels=1, normalize=UNIT)


def test_settings_are_a_list(tmp_path):
    with pytest.raises(InputError, match=r"settings='steps=2' must be a list: \['steps=2'\]"):
        Segmenter.from_experiment(TINY, weights="w", settings="steps=2")


def test_its_repr_names_network_size_and_classes(segmenter, variables):
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    expected = f"Segmenter(UNet; {count:,} parameters; classes ground, road, car)"
    assert repr(segmenter) == expected


def test_a_run_and_an_experiment_with_weights_give_the_commands_masks(tmp_path, caplog):
    workdir = UNTRAINED(tmp_path / "run")
    image = tmp_path / "photo.png"
    Image.fromarray(noise(20, 30, 3)).save(image)
    assert predict.main([str(workdir), str(image), "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "photo.png") as mask:
        expected = np.array(mask)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="absl"):
        of_run = Segmenter.from_run(workdir)
    assert not caplog.records  # In a notebook a library's own warnings would be seen.
    weights.save(tmp_path / "w.safetensors", of_run.variables)
    assert Segmenter.from_run(workdir, checkpoint=0).model == of_run.model
    of_file = Segmenter.from_experiment(TINY, weights=tmp_path / "w.safetensors")
    np.testing.assert_array_equal(of_run(image), expected)
    np.testing.assert_array_equal(of_file(image), expected)
    assert of_run.class_names == of_file.class_names and len(of_run.class_names) == 6
    with pytest.raises(InputError, match="does not give all of UNet"):
        Segmenter.from_experiment(
            TINY, weights=tmp_path / "w.safetensors", settings=("model.num_classes=2",)
        )
