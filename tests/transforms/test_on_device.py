"""Augmentation on the devices does what the host's transforms do, whatever the devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.errors import InputError
from segjax.transforms.color import ColorJitter
from segjax.transforms.fields import pair_of
from segjax.transforms.geometric import RandomCrop, RandomScale
from segjax.transforms.on_device import (
    DeviceColorJitter,
    DeviceFlip,
    DeviceScaleCrop,
    augment,
)

KEY = jax.random.key(3)


class Draws:
    """A generator of the host's transforms that repeats what a device has drawn."""

    def __init__(self, *values):
        self._values = iter(values)

    def uniform(self, *_):
        return next(self._values)

    integers = uniform


def example_of(h=20, w=31, *, channels=3, dtype=np.uint8, planes=(), seed=0):
    rng = np.random.default_rng(seed)
    # Smooth, since the host rounds between its two steps.
    y, x = np.mgrid[:h, :w]
    waves = [np.sin(y / (3 + c)) + np.cos(x / (2 + c)) for c in range(channels)]
    image = (np.stack(waves, -1) + 2) / 4
    if np.dtype(dtype).kind == "u":
        image = np.rint(image * np.iinfo(dtype).max)
    return {
        "image": image.astype(dtype),
        "label": rng.integers(0, 5, (h, w, *planes)).astype(np.uint8),
        "weight": rng.uniform(size=(h, w)).astype(np.float32),
    }


def drawn_by_scale_crop(transform, example, key):
    """(factor, top, left) as `DeviceScaleCrop` draws them."""
    keys = jax.random.split(key, 3)
    factor = float(
        jax.random.uniform(keys[0], (), minval=transform.minimum, maxval=transform.maximum)
    )
    starts = []
    for old, new, k in zip(
        example["image"].shape[:2], pair_of(transform.size, ""), keys[1:], strict=True
    ):
        room = max(1, round(old * factor)) - new
        starts.append(int(jax.random.randint(k, (), min(room, 0), max(room, 0) + 1)))
    return factor, *starts


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("dtype", "channels", "planes"),
    [(np.uint8, 3, ()), (np.uint16, 1, (2,)), (np.float32, 4, ())],
)
def test_a_scaled_window_equals_the_hosts_scale_and_crop(seed, dtype, channels, planes):
    example = example_of(channels=channels, dtype=dtype, planes=planes)
    transform, key = DeviceScaleCrop((18, 25), minimum=0.4, maximum=1.8), jax.random.key(seed)
    factor, top, left = drawn_by_scale_crop(transform, example, key)
    named = {**example, "name": "one"}
    scaled = RandomScale(0.4, 1.8)(named, Draws(factor))
    expected = RandomCrop((18, 25))(scaled, Draws(top, left))
    got = jax.jit(transform)(example, key)
    np.testing.assert_array_equal(got["label"], expected["label"])
    np.testing.assert_allclose(got["weight"], expected["weight"], atol=5e-6)
    assert got["image"].dtype == dtype and got["image"].shape == expected["image"].shape
    one_level = 1 if np.dtype(dtype).kind == "u" else 1e-5
    # Pillow filters 8-bit images with integer weights, and rounds between its two passes.
    gap = np.abs(np.asarray(got["image"], np.float64) - expected["image"].astype(np.float64))
    assert gap.max() <= one_level * (2 if dtype == np.uint16 else 1)


def test_the_window_of_a_whole_example_at_scale_one_is_the_example():
    example = example_of()
    got = DeviceScaleCrop((20, 31), minimum=1, maximum=1)(example, KEY)
    for name, value in example.items():
        np.testing.assert_allclose(got[name], value, atol=1e-6)


def test_outside_of_the_example_nothing_is_learned():
    example = example_of(6, 6)
    got = DeviceScaleCrop(40, minimum=1, maximum=1, fill=(7, 8, 9))(example, KEY)
    outside = np.asarray(got["label"]) == 255
    assert outside.sum() == 40 * 40 - 36
    assert (np.asarray(got["image"])[outside] == (7, 8, 9)).all()
    assert (np.asarray(got["weight"])[outside] == 0).all()


def test_float_labels_are_nan_outside_of_the_example():
    example = example_of(6, 6)
    example["label"] = example["label"].astype(np.float32)
    got = DeviceScaleCrop(8, minimum=1, maximum=1)(example, KEY)
    assert np.isnan(np.asarray(got["label"])).sum() == 64 - 36


def shapes_of(transform, example):
    """What a transform makes of an example, without computing it."""
    return jax.eval_shape(lambda e: transform(e, KEY), example)


@pytest.mark.parametrize("dtype", [bool, np.int8])
def test_a_label_that_cannot_hold_the_ignored_value_is_refused_as_on_the_host(dtype):
    example = example_of(6, 6)
    example["label"] = (example["label"] > 2).astype(dtype)
    with pytest.raises(InputError, match=f"the label is {np.dtype(dtype)}, which cannot hold"):
        shapes_of(DeviceScaleCrop(8), example)
    assert shapes_of(DeviceFlip(), example)["label"].dtype == dtype


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_a_weight_keeps_its_dtype(dtype):
    example = example_of(6, 6)
    example["weight"] = np.ones((6, 6), dtype)
    assert shapes_of(DeviceScaleCrop(8), example)["weight"].dtype == dtype


def test_a_flip_moves_all_arrays_together():
    example = example_of()
    for probability, turned in ((0.0, False), (1.0, True)):
        got = DeviceFlip(probability)(example, KEY)
        for name, value in example.items():
            np.testing.assert_array_equal(got[name], value[:, ::-1] if turned else value)


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 3), (np.float32, 3), (np.uint16, 2)]
)
def test_colours_equal_the_hosts(dtype, channels):
    example = example_of(dtype=dtype, channels=channels)
    transform = DeviceColorJitter(0.4, 0.3, 0.6)
    values = zip(jax.random.split(KEY, 3), (0.4, 0.3, 0.6), strict=True)
    factors = [float(jax.random.uniform(k, (), minval=1 - v, maxval=1 + v)) for k, v in values]
    expected = ColorJitter(0.4, 0.3, 0.6)({**example, "name": "one"}, Draws(*factors, 0.0))
    got = transform(example, KEY)
    assert got["image"].dtype == dtype
    tolerance = 1 if np.dtype(dtype).kind == "u" else 1e-5
    gap = np.abs(np.asarray(got["image"], np.float64) - expected["image"].astype(np.float64))
    assert gap.max() <= tolerance
    np.testing.assert_array_equal(got["label"], example["label"])


def batch_of(count=4):
    examples = [example_of(12, 12, seed=i) for i in range(count)]
    stacked = {name: np.stack([e[name] for e in examples]) for name in examples[0]}
    return {**stacked, "step": np.zeros(count, np.int32)}


TRANSFORMS = (DeviceScaleCrop(10), DeviceFlip(), DeviceColorJitter(0.5, 0.5, 0.5))


def test_one_device_and_four_augment_alike_and_differently_at_each_place():
    batch = batch_of()
    whole = jax.jit(lambda b: augment(b, TRANSFORMS, KEY))(batch)

    def share(part):
        return augment(part, TRANSFORMS, KEY, places=jax.lax.axis_index(AXIS)[None])

    parts = {name: value[:, None] for name, value in batch.items()}
    four = jax.pmap(share, axis_name=AXIS)(parts)
    for name, value in whole.items():
        rounding = 1 if name == "image" else 1e-6
        np.testing.assert_allclose(
            np.asarray(four[name])[:, 0].astype(np.float64), value, atol=rounding, err_msg=name
        )
    alike = {name: np.repeat(value[:1], 4, axis=0) for name, value in batch.items()}
    same = np.asarray(augment(alike, TRANSFORMS, KEY)["image"]).reshape(4, -1)
    assert len(np.unique(same, axis=0)) == 4


def test_another_key_gives_another_example():
    batch = batch_of(1)
    one, other = (
        np.asarray(augment(batch, TRANSFORMS, jax.random.fold_in(KEY, step))["image"])
        for step in (0, 1)
    )
    assert (one != other).any()


def test_an_array_that_cannot_be_moved_is_refused_by_name():
    with pytest.raises(InputError, match="the batch has 'boxes'"):
        augment({**batch_of(1), "boxes": jnp.zeros((1, 2, 4))}, TRANSFORMS, KEY)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: DeviceFlip(1.5), "needs probability .*got 1.5"),
        (lambda: DeviceScaleCrop((3, 0)), "one positive integer"),
        (lambda: DeviceScaleCrop(3, minimum=2, maximum=1), "0 < minimum <= maximum"),
        (lambda: DeviceScaleCrop(3, "a", 1), "got 'a' and 1"),  # type: ignore[arg-type]
        (lambda: DeviceScaleCrop(3, fill="red"), "fill='red'"),  # type: ignore[arg-type]
        (lambda: DeviceColorJitter(contrast=-1), "needs contrast"),
    ],
)
def test_a_wrong_setting_is_one_line(make, line):
    with pytest.raises(InputError, match=line.replace("(", r"\(")):
        make()
