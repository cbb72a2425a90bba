import colorsys

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.color import ColorJitter


class Fixed:
    """A generator whose draws are given: the value at `place`, 0 … 1, of each interval."""

    def __init__(self, *places):
        self.places = list(places)

    def uniform(self, low, high):
        return low + self.places.pop(0) * (high - low)


def jitter(image, *places, **fields):
    example = {"image": np.asarray(image), "label": np.zeros(np.shape(image)[:2]), "name": "a"}
    return ColorJitter(**fields)(example, Fixed(*places))["image"]


COLOURS = np.array([[[200, 40, 90], [10, 100, 60], [128, 128, 128], [90, 90, 30]]], np.uint8)
HALF = (0.5, 0.5, 0.5, 0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_without_strength_nothing_changes_whatever_the_dtype(dtype, channels):
    image = np.random.default_rng(0).random((5, 6, channels)) * (
        1 if dtype == np.float32 else 255
    )
    image = image.astype(dtype)
    example = {"image": image, "label": image[..., 0], "name": "a"}
    found = ColorJitter()(example, np.random.default_rng(0))
    assert found["image"].dtype == dtype and found["label"] is example["label"]
    np.testing.assert_allclose(found["image"], image, atol=1e-6)


def test_brightness_is_a_factor_and_is_clipped():
    image = np.array([[[10], [100], [200]]], np.uint8)
    assert jitter(image, 1, *HALF, brightness=0.5).ravel().tolist() == [15, 150, 255]
    assert jitter(image, 0, *HALF, brightness=2.0).ravel().tolist() == [0, 0, 0]


def test_contrast_is_about_the_mean():
    image = np.array([[[90], [100], [110]]], np.uint8)
    assert jitter(image, 0.5, 1, *HALF, contrast=1.0).ravel().tolist() == [80, 100, 120]
    assert jitter(image, 0.5, 0, *HALF, contrast=1.0).ravel().tolist() == [100, 100, 100]


def test_brightness_comes_before_contrast():
    image = np.array([[[50], [100]]], np.uint8)
    found = jitter(image, 1, 0, *HALF, brightness=1.0, contrast=1.0)
    assert found.ravel().tolist() == [150, 150]


def test_no_saturation_leaves_the_luma():
    luma = np.rint(COLOURS @ [0.299, 0.587, 0.114])
    found = jitter(COLOURS, 0.5, 0.5, 0, 0.5, saturation=1.0)
    np.testing.assert_array_equal(found, np.repeat(luma[..., None], 3, axis=-1))


def test_a_third_of_the_circle_exchanges_the_channels_and_keeps_greys():
    image = COLOURS.astype(np.float32) / 255
    found = jitter(image, 0.5, 0.5, 0.5, 0.5 + 1 / 3, hue=0.5)
    np.testing.assert_allclose(found, np.roll(image, 1, axis=-1), atol=1e-6)


def test_hue_turns_towards_the_hue_that_colorsys_names():
    red = np.array([[[0.6, 0.4, 0.4]]], np.float32)
    found = jitter(red, 0.5, 0.5, 0.5, 1, hue=0.1)[0, 0]
    assert abs(colorsys.rgb_to_hsv(*found)[0] - 0.1) < 0.01


def test_images_that_are_not_rgb_keep_their_channels_apart():
    image = np.zeros((2, 2, 4), np.uint8)
    image[..., 2] = 100
    found = jitter(image, 0.5, 0.5, 0, 1, saturation=1.0, hue=0.5)
    np.testing.assert_array_equal(found, image)


def test_draws_differ_and_stay_within_their_strength():
    image = np.full((1, 1, 1), 100, np.uint8)
    rng = np.random.default_rng(0)
    example = {"image": image, "label": image[..., 0], "name": "a"}
    values = [
        int(ColorJitter(brightness=0.2)(example, rng)["image"].item()) for _ in range(200)
    ]
    assert min(values) >= 80 and max(values) <= 120 and len(set(values)) > 20


@pytest.mark.parametrize(
    "fields",
    [{"brightness": -1}, {"contrast": -0.1}, {"saturation": -2}, {"hue": 0.6}],
    ids=str,
)
def test_a_field_that_cannot_work_is_named(fields):
    ((name, value),) = fields.items()
    with pytest.raises(InputError, match=f"{name} .*got {value}"):
        ColorJitter(**fields)
    with pytest.raises(InputError, match=f"{name} .*got 'a'"):
        ColorJitter(**{name: "a"})  # type: ignore[arg-type]
