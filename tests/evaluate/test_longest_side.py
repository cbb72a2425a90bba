"""Long images are predicted smaller, and what is said of them is of their own size."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError, RunError
from segjax.evaluate.compiled import on_host
from segjax.evaluate.longest_side import LongestSide, enlarged, smaller, within
from segjax.ops.resize import resize_bilinear

RNG = np.random.default_rng(0)
WEIGHTS = {"w": RNG.normal(size=(3, 5)).astype(np.float32)}


def by_pixel(variables, image):
    logits = jnp.einsum("bhwc,ck->bhwk", image.astype(jnp.float32) / 64 - 2, variables["w"])
    return jax.nn.softmax(logits)


def images(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


def test_images_within_the_side_are_predicted_as_they_are():
    image, predict = images(2, 20, 31, 3), LongestSide(31)(by_pixel)
    plain = on_host(by_pixel)
    np.testing.assert_array_equal(predict(WEIGHTS, image), plain(WEIGHTS, image))
    np.testing.assert_array_equal(
        predict.classes(WEIGHTS, image), plain.classes(WEIGHTS, image)
    )


def test_longer_ones_have_the_enlarged_probabilities_of_the_smaller_image():
    image, predict = images(2, 150, 70, 3), LongestSide(40)(by_pixel)
    inner = on_host(by_pixel)(WEIGHTS, smaller(image, (40, 19)))
    found = predict(WEIGHTS, image)
    expected = resize_bilinear(jnp.asarray(inner), (150, 70))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(predict.classes(WEIGHTS, image), found.argmax(-1))


@pytest.mark.parametrize("size", [(7, 9), (20, 13), (1, 1), (37, 50)], ids=str)
def test_smaller_images_are_pillows_up_to_its_rounding(size):
    image = images(1, 37, 50, 3)
    expected = Image.fromarray(image[0]).resize(size[::-1], Image.Resampling.BILINEAR)
    found = smaller(image, size)
    assert found.dtype == np.uint8
    assert np.abs(found[0].astype(int) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_stay_of_their_type(dtype):
    image = (images(1, 12, 9, 1).astype(np.float32) * 200).astype(dtype)
    found = smaller(image, (4, 3))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.mean(), image.mean(), rtol=0.1)


def test_a_uniform_image_stays_uniform_at_any_size():
    for size in ((1, 1), (3, 16), (20, 1)):
        assert (smaller(np.full((1, 21, 17, 1), 113, np.uint8), size) == 113).all()


def test_bands_of_rows_make_the_whole_and_are_no_taller_than_they_may_be():
    maps = RNG.dirichlet(np.ones(3), (1, 5, 4)).astype(np.float32)
    bands = [*enlarged(maps, (150, 9))]
    assert [band.shape[1] for band in bands] == [64, 64, 22]
    whole = np.concatenate(bands, axis=1)
    np.testing.assert_allclose(whole, resize_bilinear(jnp.asarray(maps), (150, 9)), atol=1e-6)


def test_scores_that_are_not_numbers_are_an_error_also_where_they_are_enlarged():
    broken = lambda variables, image: by_pixel(variables, image).at[0, 2, 3, 4].set(jnp.nan)
    with pytest.raises(RunError, match="not numbers"):
        LongestSide(10)(broken).classes(WEIGHTS, images(1, 30, 20, 3))


def test_a_size_keeps_its_shape_and_no_side_vanishes():
    assert within((600, 800), 400) == (300, 400)
    assert within((1, 9000), 100) == (1, 100)
    assert within((3000, 4000), None) == (3000, 4000)


def test_what_the_network_sees_is_what_is_checked():
    seen = []

    def recording(variables, image):
        seen.append(image.shape)
        return by_pixel(variables, image)

    shape = jax.ShapeDtypeStruct((1, 90, 60, 3), np.uint8)
    assert LongestSide(30)(recording).check(WEIGHTS, shape) == 5
    assert seen == [(1, 30, 20, 3)]


@pytest.mark.parametrize("side", [0, -3, True])
def test_a_side_that_cannot_be_is_one_line(side):
    with pytest.raises(InputError, match=re.escape(f"side={side!r} must be a whole number")):
        LongestSide(side)
