"""The CRF as the last wrapper: on whole images, whatever they were predicted by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.crf.dense import Appearance, Smoothness, dense_crf
from segjax.errors import InputError
from segjax.evaluate.compiled import Compiled
from segjax.evaluate.crf import CRF
from segjax.evaluate.windows import SlidingWindow

WEIGHTS = {"w": np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)}


def by_pixel(variables, image):
    logits = jnp.einsum("bhwc,ck->bhwk", image.astype(jnp.float32) / 64 - 2, variables["w"])
    return jax.nn.softmax(logits)


def test_the_crf_refines_what_is_inside_it_and_none_of_its_rounds_change_nothing():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3)).astype(np.uint8)
    plain = Compiled(by_pixel)(WEIGHTS, images)
    kernels = dict(smoothness=Smoothness(2, 1.5), appearance=Appearance(3, 4, 20))
    expected = dense_crf(plain, images, iterations=3, **kernels)
    assert np.abs(expected - plain).max() > 0.05
    for inside in (by_pixel, SlidingWindow(7, 4)(by_pixel)):
        predict = CRF(iterations=3, **kernels)(inside)
        np.testing.assert_allclose(predict(WEIGHTS, images), expected, atol=1e-4)
        np.testing.assert_array_equal(
            predict.classes(WEIGHTS, images), np.argmax(predict(WEIGHTS, images), -1)
        )
    unchanged = CRF(iterations=0, **kernels)(by_pixel)
    np.testing.assert_allclose(unchanged(WEIGHTS, images), plain, atol=1e-5)


@pytest.mark.parametrize(
    "message, crf, channels",
    [
        ("Compatibilities of 2 classes .* got 4", CRF(appearance=Appearance((1, 2, 3, 4))), 3),
        ("srgb must be one width or 3, got .1, 2.", CRF(appearance=Appearance(srgb=(1, 2))), 3),
        (
            "srgb must be one width or 1, got .5, 5, 5.",
            CRF(appearance=Appearance(srgb=(5,) * 3)),
            1,
        ),
        ("srgb=1e-05 is too small", CRF(appearance=Appearance(srgb=1e-5)), 3),
        ("Compatibilities of 2 classes", CRF(smoothness=Smoothness(np.eye(3))), 3),
    ],
)
def test_a_crf_that_does_not_fit_the_data_is_refused_before_anything_runs(
    message, crf, channels
):
    by_mean = lambda variables, image: by_pixel(variables, image.mean(-1, keepdims=True))
    inside = by_mean if channels == 1 else by_pixel
    weights = {"w": WEIGHTS["w"][:channels]}
    images = jax.ShapeDtypeStruct((1, 4, 4, channels), np.uint8)
    with pytest.raises(InputError, match=message) as raised:
        crf(inside).check(weights, images)
    assert "\n" not in str(raised.value)


def test_what_the_crf_cannot_take_is_one_line():
    predict = CRF()(by_pixel)
    assert predict.check(WEIGHTS, jax.ShapeDtypeStruct((1, 4, 4, 3), np.uint8)) == 2
    with pytest.raises(InputError, match="the images are uint16; leave it out"):
        predict.check(WEIGHTS, jax.ShapeDtypeStruct((1, 4, 4, 3), np.uint16))
    for iterations in (-1, True):
        with pytest.raises(InputError, match=f"iterations .* whole number.* got {iterations}"):
            CRF(iterations=iterations)
