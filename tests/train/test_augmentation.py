"""Augmentation on the devices, as a part of the training step and of a whole run."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from segjax import launch
from segjax.contracts import AXIS
from segjax.errors import InputError
from segjax.experiment import describe, load
from segjax.train.augmentation import augmented, augmented_batch
from segjax.train.log import read_metrics
from segjax.train.plan import make_plan
from segjax.trajectory import trajectory
from segjax.transforms.on_device import DeviceFlip, DeviceScaleCrop

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"
TRANSFORMS = (DeviceScaleCrop(48), DeviceFlip())
SETTINGS = (
    "--set=transforms=()",
    "--set=device_transforms=(segjax.transforms.on_device.DeviceScaleCrop(48), "
    "segjax.transforms.on_device.DeviceFlip())",
)


def test_the_objective_sees_what_the_plan_has_tried():
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (4, 12, 12, 3)).astype(np.uint8),
        "label": rng.integers(0, 3, (4, 12, 12)).astype(np.uint8),
        "step": np.full(4, 5, np.int32),
    }
    seen = augmented(lambda variables, batch, key: batch, TRANSFORMS)
    key = jax.random.fold_in(jax.random.key(7), 5)
    over_four = jax.pmap(lambda b: seen({}, b, key), axis_name=AXIS)
    on_devices = over_four({name: value[:, None] for name, value in batch.items()})
    tried = augmented_batch(batch, TRANSFORMS, seed=7)
    assert tried["image"].shape == (4, 48, 48, 3)
    np.testing.assert_array_equal(np.asarray(on_devices["label"])[:, 0], tried["label"])
    gap = np.abs(np.asarray(on_devices["image"])[:, 0].astype(int) - tried["image"])
    assert gap.max() <= 1 and (gap > 0).mean() < 1e-3


def test_a_run_trains_on_larger_windows_than_its_images(tmp_path):
    """Its images and labels have 32 × 32 pixels before the devices augment them."""
    assert launch.main([str(TINY), "--workdir", str(tmp_path), "--set=steps=2", *SETTINGS]) == 0
    assert [row["step"] for row in read_metrics(tmp_path) if "loss" in row] == [1, 2]
    assert "device_transforms.0 = " in (tmp_path / "experiment.txt").read_text()


def test_without_device_transforms_nothing_is_added():
    objective = lambda variables, batch, key: batch
    assert augmented(objective, ()) is objective


def test_a_run_from_before_the_field_was_there_goes_on():
    text = describe(load(TINY))
    before = "".join(
        line for line in text.splitlines(keepends=True) if "device_transforms" not in line
    )
    assert before != text and trajectory(before) == trajectory(text)
    other = dataclasses.replace(load(TINY), device_transforms=TRANSFORMS)
    assert trajectory(describe(other)) != trajectory(text)


def test_devices_that_share_an_image_cannot_augment_it():
    with pytest.raises(InputError, match="spreads each image over devices"):
        dataclasses.replace(load(TINY), split=(1, 2), device_transforms=TRANSFORMS)


def test_a_transform_that_does_not_fit_is_found_before_the_first_step():
    wrong = DeviceScaleCrop(24, fill=(1, 2))
    experiment = dataclasses.replace(load(TINY), transforms=(), device_transforms=(wrong,))
    with pytest.raises(InputError, match="fills with 2 numbers"):
        make_plan(experiment)
