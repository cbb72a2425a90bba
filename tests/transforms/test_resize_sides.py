"""Detectors' sizes: torchvision's rule for two sides, and one of several short sides."""

import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.ops.resize import resize_bilinear
from segjax.transforms.resize_sides import ResizeSides, sides_within


# Heights and widths that torchvision's GeneralizedRCNNTransform(800, 1333) gives.
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1066)),
        ((427, 640), (800, 1199)),
        ((426, 640), (800, 1201)),
        ((500, 333), (1201, 800)),
        ((1024, 2048), (666, 1333)),
        ((612, 612), (800, 800)),
        ((375, 500), (800, 1066)),
        ((322, 500), (799, 1242)),
    ],
)
def test_sizes_are_torchvisions(size, expected):
    assert sides_within(size, short=800, long=1333) == expected


def test_an_image_is_never_larger_than_its_canvas_nor_portrait_turned_to_landscape():
    sides = np.random.default_rng(0).integers(1, 3000, (2000, 2)).tolist()
    for h, w in sides:
        height, width = sides_within((h, w), short=800, long=1333)
        assert 1 <= min(height, width) <= 800 and max(height, width) <= 1333
        assert (height >= width) if h >= w else (height <= width)


def test_a_short_side_is_drawn_of_those_given():
    example = {"image": np.zeros((12, 16, 3), np.uint8), "name": "a"}
    rng = np.random.default_rng(0)
    found = [ResizeSides((6, 9, 24), 40)(example, rng)["image"].shape[:2] for _ in range(60)]
    assert set(found) == {(6, 8), (9, 12), (24, 32)}
    assert min(map(found.count, set(found))) > 10
    assert ResizeSides(9, 10)(example, rng)["image"].shape == (7, 10, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"short": 0}, "short: a positive"),
        ({"short": ()}, "got \\(\\)"),
        ({"short": (640, 800.0)}, "short: a positive"),
        ({"short": (640, 800), "long": 700}, "at least 800"),
        ({"long": None}, "got None"),
        ({"antialias": 1}, "antialias"),
    ],
)
def test_wrong_sides_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        ResizeSides(**fields)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("size", "grows"), [((60, 90), False), ((9, 13), True)])
def test_without_antialiasing_each_pixel_lies_between_the_four_nearest(size, grows, dtype):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(dtype)
    example = {"image": image, "name": "a"}
    rng = np.random.default_rng(0)
    plain = ResizeSides(30, 44, antialias=False)(example, rng)["image"]
    wanted = resize_bilinear(jnp.asarray(image, jnp.float32)[None], plain.shape[:2])[0]
    assert plain.dtype == dtype and max(plain.shape) == 43 + (size == (60, 90))
    np.testing.assert_allclose(plain, wanted, atol=0.501 if dtype != np.float32 else 1e-3)
    averaged = ResizeSides(30, 44)(example, rng)["image"]
    difference = abs(plain.astype(float) - averaged).max()
    assert difference <= 1 if grows else difference > 30
