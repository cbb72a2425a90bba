import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.blur import RandomBlur, blur, gaussian


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_point_becomes_the_gaussian_and_channels_do_not_mix():
    image = np.zeros((9, 8, 2), np.float32)
    image[4, 3, 0] = 1
    found = blur(image, gaussian(1.1, 2))
    y, x = np.mgrid[-4:5, -3:5]
    bell = np.exp(-(y**2 + x**2) / (2 * 1.1**2)) * (np.maximum(abs(y), abs(x)) <= 2)
    np.testing.assert_allclose(found[..., 0], bell / bell.sum(), atol=1e-6)
    assert not found[..., 1].any()


def test_beyond_the_border_the_image_is_mirrored():
    image = rng().normal(size=(6, 7, 1))
    doubled = np.pad(image, ((5, 5), (5, 5), (0, 0)), mode="reflect")
    weights = gaussian(2.0, 5)
    np.testing.assert_allclose(
        blur(image, weights), blur(doubled, weights)[5:-5, 5:-5], atol=1e-6
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_colour_stays_and_so_does_the_dtype(dtype):
    image = np.full((6, 5, 3), 200, dtype)
    found = RandomBlur(probability=1.0)({"image": image}, rng())["image"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, image, rtol=1e-6)


def test_labels_stay_and_half_of_the_images():
    image = rng().integers(0, 256, (8, 9, 3)).astype(np.uint8)
    given = {"image": image, "label": np.arange(72).reshape(8, 9), "name": "a"}
    before, generator, changed = image.copy(), rng(), 0
    for _ in range(200):
        found = RandomBlur()(given, generator)
        assert found["label"] is given["label"] and found["name"] == "a"
        changed += not np.array_equal(found["image"], image)
    assert 70 < changed < 130
    np.testing.assert_array_equal(image, before)


FAULTS = [{"sigma": 0}, {"sigma": "a"}, {"reach": 0}, {"reach": 1.5}, {"probability": 1.5}]


@pytest.mark.parametrize("fields", FAULTS, ids=str)
def test_a_field_that_cannot_work_is_named(fields):
    with pytest.raises(InputError, match=f"got .*{next(iter(fields.values()))}"):
        RandomBlur(**fields)
