"""Grey, gamma, noise, JPEG, CLAHE: images change, and nothing else."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from segjax.contracts import full_scale
from segjax.errors import InputError
from segjax.transforms.clahe import RandomCLAHE, clahe, equalise
from segjax.transforms.degrade import RandomJPEG, RandomNoise, add_noise, compress
from segjax.transforms.tone import RandomGamma, RandomGrey, adjust_gamma, grey

ALL = {
    "grey": lambda p: RandomGrey(p),
    "gamma": lambda p: RandomGamma((2.0, 3.0), p),
    "noise": lambda p: RandomNoise(0.2, p),
    "jpeg": lambda p: RandomJPEG((10, 20), p),
    "clahe": lambda p: RandomCLAHE(2.0, (2, 3), p),
}
IMAGES = [(1, np.uint8), (2, np.uint16), (3, np.uint8), (3, np.float32), (4, np.float32)]


def rng(seed=0):
    return np.random.default_rng(seed)


def smooth(h=24, w=33, c=3, dtype=np.uint8):
    """A noisy ramp, darker to the left, from 10 % to 90 % of full brightness."""
    ramp = np.linspace(0.15, 0.85, w) + 0.04 * rng(1).standard_normal((h, w))
    image = ramp[..., None] * np.linspace(1, 0.7, c)
    scaled = full_scale(dtype) * image.clip(0.1, 0.9)
    return (np.rint(scaled) if np.dtype(dtype).kind == "u" else scaled).astype(dtype)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("c", "dtype"), IMAGES, ids=str)
def test_images_of_any_channels_and_dtype_keep_them_and_nothing_else_changes(name, c, dtype):
    image = smooth(c=c, dtype=dtype)
    given = {"image": image, "label": np.zeros((24, 33), np.uint8), "name": "a"}
    before = image.copy()
    found = ALL[name](1.0)(given, rng(3))
    assert found["image"].shape == image.shape and found["image"].dtype == dtype
    assert found["label"] is given["label"]
    np.testing.assert_array_equal(image, before)
    same = ALL[name](1.0)(given, rng(3))["image"]
    np.testing.assert_array_equal(found["image"], same)
    is_plain = name == "grey" and c != 3
    assert np.array_equal(found["image"], image) == is_plain
    assert found["image"].min() >= 0 and found["image"].max() <= full_scale(dtype)
    assert ALL[name](0.0)(given, rng(3))["image"] is image


@pytest.mark.parametrize("name", ALL)
def test_the_probability_is_that_of_a_change(name):
    given = {"image": smooth(8, 8), "label": np.zeros((8, 8), np.uint8), "name": "a"}
    generator, transform = rng(), ALL[name](0.3)
    changed = sum(
        transform(given, generator)["image"] is not given["image"] for _ in range(200)
    )
    assert 40 < changed < 80


@pytest.mark.parametrize(("c", "dtype"), IMAGES, ids=str)
def test_sixteen_bits_and_floats_change_as_eight_bits_do(c, dtype):
    image = smooth(c=c, dtype=dtype)
    eight = np.rint(image / (full_scale(dtype) / 255)).astype(np.uint8)
    for change in (
        grey,
        lambda image: adjust_gamma(image, 0.6),
        lambda image: compress(image, 50),
        lambda image: add_noise(image, 0.1, 5),
        lambda image: equalise(image, 2.0, (2, 3)),
    ):
        found = change(image).astype(np.float64) / (full_scale(dtype) / 255)
        difference = abs(found - change(eight))
        # CLAHE's maps are steep: a rounding of half a level may become several.
        assert difference.mean() < 2 and difference.max() < 12


def test_grey_is_pillows_luma():
    image = rng().integers(0, 256, (9, 7, 3)).astype(np.uint8)
    expected = np.asarray(Pillow.fromarray(image).convert("L")).astype(int)
    found = grey(image).astype(int)
    assert (abs(found - expected[..., None]) <= 1).all()
    assert (found == found[..., :1]).all()


def test_gamma_is_a_power_of_the_share_of_full_brightness():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = [round(255 * (v / 255) ** 2.2) for v in range(256)]
    assert adjust_gamma(image, 2.2).ravel().tolist() == expected
    sixteen = np.array([[[0], [32768], [65535]]], np.uint16)
    assert adjust_gamma(sixteen, 0.5).ravel().tolist() == [0, 46341, 65535]
    floats = np.array([[[-1.0], [0.25], [2.0]]], np.float32)
    assert adjust_gamma(floats, 0.5).ravel().tolist() == [0.0, 0.5, 1.0]


def test_the_logarithm_of_gamma_is_uniform():
    given = {"image": np.full((1, 1, 1), 0.5, np.float32), "name": "a"}
    generator = rng()
    found = [
        float(RandomGamma((0.5, 2.0), 1.0)(given, generator)["image"][0, 0, 0])
        for _ in range(400)
    ]
    exponents = np.log(np.log(found) / np.log(0.5)) / np.log(2)
    assert -1 <= exponents.min() < -0.95 and 0.95 < exponents.max() <= 1
    assert abs(exponents.mean()) < 0.1


def test_noise_has_its_mean_and_deviation_and_differs_by_channel():
    image = np.full((100, 100, 2), 32768, np.uint16)
    noise = add_noise(image, 0.05, 7).astype(float) / 65535 - 32768 / 65535
    assert abs(noise.mean()) < 1e-3 and noise.std() == pytest.approx(0.05, rel=0.02)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05


def test_a_compressed_image_is_what_its_jpeg_file_shows():
    image = smooth()
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, format="JPEG", quality=30)
    np.testing.assert_array_equal(compress(image, 30), np.asarray(Pillow.open(file)))
    error = [abs(compress(image, q).astype(int) - image).mean() for q in (5, 50, 95)]
    assert error == sorted(error, reverse=True) and error[0] > 2 * error[2]


# OpenCV 5.0: createCLAHE(1.5, (3, 2)).apply(image)[::3], tiles as (columns, rows).
OPENCV = [
    [8, 17, 42, 75, 136, 200, 8, 104, 228, 88, 226, 123, 17],
    [136, 196, 246, 67, 174, 255, 141, 16, 170, 81, 250, 201, 159],
    [192, 22, 157, 255, 158, 44, 210, 138, 80, 33, 253, 236, 231],
    [212, 94, 238, 161, 85, 34, 248, 206, 184, 180, 191, 243, 28],
]


def test_clahe_is_opencvs():
    image = (np.arange(130).reshape(10, 13) ** 2 * 7 % 251).astype(np.uint8)
    found = equalise(image[..., None], 1.5, (2, 3))[::3, :, 0]
    np.testing.assert_array_equal(found, OPENCV)


def test_clahe_with_one_tile_and_no_limit_is_histogram_equalisation():
    image = rng().integers(40, 90, (20, 30)).astype(np.uint8)
    share = [(image <= level).mean() for level in range(256)]
    expected = np.rint(255 * np.array(share, np.float32))[image]
    np.testing.assert_allclose(clahe(image.astype(float), 0, (1, 1)), expected, atol=1)


def test_clahe_changes_the_luma_of_rgb_and_keeps_colour_differences():
    image = smooth(dtype=np.float32) * 0.5 + 0.2
    change = equalise(image, 2.0, (2, 3)) - image
    inside = ((image + change > 0.01) & (image + change < 0.99)).all(-1)
    assert inside.mean() > 0.3 and abs(change).max() > 0.05
    np.testing.assert_allclose(change[inside] - change[inside][:, :1], 0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomGrey(2), "RandomGrey needs probability in 0 ... 1, got 2"),
        (lambda: RandomGamma((0, 1)), r"gamma as \(low, high\), .* got \(0, 1\)"),
        (lambda: RandomGamma(2.0), "RandomGamma needs gamma as"),
        (lambda: RandomNoise(-0.1), "RandomNoise needs sigma in 0 ... 1, got -0.1"),
        (lambda: RandomJPEG((0, 50)), r"RandomJPEG needs quality .* got \(0, 50\)"),
        (lambda: RandomJPEG((40.5, 50)), r"got \(40.5, 50\)"),
        (lambda: RandomCLAHE(-1), "RandomCLAHE needs clip_limit >= 0, got -1"),
        (lambda: RandomCLAHE(tiles=8), "RandomCLAHE needs tiles as .* got 8"),
        (lambda: RandomCLAHE(tiles=(0, 8)), r"got \(0, 8\)"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
