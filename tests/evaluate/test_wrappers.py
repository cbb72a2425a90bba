"""Wrappers average what they say they average, in any order, traced or on the host."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.evaluate.compiled import Compiled, HostPredictor, on_host, predictor
from segjax.evaluate.windows import OverlapTile, PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import UNIT, Evaluation
from segjax.models.unet import UNet
from segjax.ops.resize import resize_bilinear

WEIGHTS = {"w": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)}


def images(*size, b=1, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (b, *size, c)).astype(np.uint8)


def lopsided(variables, image):
    """Sees each pixel and the one to its left."""
    x = image.astype(jnp.float32)
    x = x + 0.5 * jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    return jax.nn.softmax(jnp.einsum("bhwc,ck->bhwk", x / 64 - 2, variables["w"]))


def on_the_host(predict):
    """The same predictor where wrappers meet NumPy's arrays."""
    return Compiled(predict)


@pytest.mark.parametrize("made", [lambda p: p, on_the_host], ids=["traced", "host"])
def test_flip_averages_image_and_mirror_image_and_so_commutes_with_flips(made):
    image = images(7, 10)
    flipped = Flip()(made(lopsided))
    found = flipped(WEIGHTS, image)
    mirrored = flipped(WEIGHTS, image[:, :, ::-1])
    np.testing.assert_allclose(mirrored[:, :, ::-1], found, atol=1e-6)
    expected = np.mean(
        [lopsided(WEIGHTS, image), lopsided(WEIGHTS, image[:, :, ::-1])[:, :, ::-1]], axis=0
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(lopsided(WEIGHTS, image) - expected).max() > 0.01


def test_one_scale_of_one_is_the_identity():
    image = jnp.asarray(images(7, 10))
    for combine in ("mean", "max"):
        found = MultiScale((1.0,), combine)(lopsided)(WEIGHTS, image)
        np.testing.assert_allclose(found, lopsided(WEIGHTS, image), rtol=1e-6)


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_scales_are_predicted_resized_back_and_combined(combine):
    image = images(8, 11).astype(np.float32)
    maps = []
    for scale, size in ((0.5, (4, 6)), (1.25, (10, 14))):
        assert tuple(round(n * scale) for n in (8, 11)) == size
        resized = resize_bilinear(jnp.asarray(image), size)
        maps.append(resize_bilinear(lopsided(WEIGHTS, resized), (8, 11)))
    expected = np.mean(maps, axis=0) if combine == "mean" else np.max(maps, axis=0)
    expected = expected / expected.sum(-1, keepdims=True)
    for predict in (lopsided, on_the_host(lopsided)):
        found = MultiScale((0.5, 1.25), combine)(predict)(WEIGHTS, image)
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_image_stays_of_its_type_at_every_scale_and_is_rounded(dtype):
    image, seen = images(6, 7).astype(dtype), []

    def noting(variables, image):
        seen.append(image)
        return lopsided(variables, image)

    for given in (image, jnp.asarray(image)):
        MultiScale((0.6, 1.3))(noting)(WEIGHTS, given)
    assert [type(x) is np.ndarray for x in seen] == [True, True, False, False]
    for x in seen:
        expected = resize_bilinear(jnp.asarray(image, jnp.float32), x.shape[1:3])
        assert x.dtype == dtype
        off = np.abs(np.asarray(x, np.float32) - expected).max()
        assert off < 1e-4 if dtype is np.float32 else 0.3 < off < 0.501


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 1)], ids=str)
def test_the_smallest_images_have_scales_and_multiples_too(size):
    image = images(*size)
    for predict in (lopsided, on_the_host(lopsided)):
        found = MultiScale((0.25, 1.5))(predict)(WEIGHTS, image)
        assert found.shape == (1, *size, 5)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    padded = PadToMultiple(8)(lopsided)
    np.testing.assert_allclose(
        padded(WEIGHTS, image), lopsided(WEIGHTS, jnp.asarray(image)), atol=1e-6
    )


def test_padding_mirrors_below_and_on_the_right_and_is_cropped():
    image, seen = images(7, 10), []

    class Noting(Compiled):
        def __call__(self, variables, images, /):
            seen.append(images)
            return super().__call__(variables, images)

        def classes(self, variables, images):
            seen.append(images)
            return super().classes(variables, images)

    padded = PadToMultiple(8)(Noting(lopsided))
    found, labels = padded(WEIGHTS, image), padded.classes(WEIGHTS, image)
    expected = np.pad(image, ((0, 0), (0, 1), (0, 6), (0, 0)), mode="reflect")
    for canvas in seen:
        np.testing.assert_array_equal(canvas, expected)
    np.testing.assert_allclose(found, lopsided(WEIGHTS, jnp.asarray(image)), atol=1e-6)
    np.testing.assert_array_equal(labels, np.argmax(found, -1))


ORDERS = [
    (),
    (Flip(),),
    (MultiScale((0.5, 1.0)), Flip()),
    (Flip(), MultiScale((0.5, 1.0))),
    (Flip(), SlidingWindow(9, 6)),
    (SlidingWindow(9, 6), Flip()),
    (Flip(), SlidingWindow(9, 6), MultiScale((1.0, 1.5), "max")),
    (MultiScale((0.5, 1.0)), PadToMultiple(8), Flip()),
    (PadToMultiple(4), SlidingWindow(10, 5)),
]


class _EveryFourthPixel(nn.Module):
    """Scores of two classes that lie four pixels apart, as DeepLab v1's and v2's do."""

    label_stride: int = 4

    @nn.compact
    def __call__(self, image, *, train):
        return nn.Dense(2, kernel_init=nn.initializers.normal(4.0), name="scores")(image)[
            :, ::4, ::4
        ]


@pytest.mark.parametrize("wrappers", ORDERS, ids=str)
def test_every_order_answers_for_a_batch_of_grey_images_as_for_each_alone(wrappers):
    image, model = images(13, 21, b=2, c=1), _EveryFourthPixel()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)), train=False)
    predict = predictor(model, UNIT, wrappers=wrappers)
    together = predict(variables, image)
    assert isinstance(predict, HostPredictor) and together.shape == (2, 13, 21, 2)
    assert together.std() > 0.1
    np.testing.assert_allclose(together.sum(-1), 1, rtol=1e-5)
    for one, several in zip(image, together, strict=True):
        np.testing.assert_allclose(predict(variables, one[None])[0], several, atol=1e-6)
    sure = np.abs(together[..., 0] - together[..., 1]) > 1e-5
    labels = predict.classes(variables, image)
    np.testing.assert_array_equal(labels[sure], np.argmax(together, -1)[sure])
    assert predict.check(variables, jax.ShapeDtypeStruct(image.shape, image.dtype)) == 2


def test_the_first_wrapper_is_the_nearest_to_the_network():
    image, found = images(9, 13), {}
    for wrappers in ((Flip(), SlidingWindow(9, 4)), (SlidingWindow(9, 4), Flip())):
        predict = lopsided
        for wrapper in wrappers:
            predict = wrapper(predict)
        found[wrappers] = predict(WEIGHTS, image)
    inner, outer = found.values()
    windows = SlidingWindow(9, 4)(Flip()(lopsided))(WEIGHTS, image)
    np.testing.assert_allclose(inner, windows, atol=1e-6)
    whole = SlidingWindow(9, 4)(lopsided)
    mirrored = whole(WEIGHTS, image[:, :, ::-1])[:, :, ::-1]
    np.testing.assert_allclose(outer, (whole(WEIGHTS, image) + mirrored) / 2, atol=1e-6)


def test_a_valid_unet_is_averaged_over_tiles_of_image_and_mirror_image():
    model = UNet(num_classes=2, depth=1, features=4, valid=True)
    given = jnp.zeros((1, *model.canvas(8, 8), 3))
    variables = jax.jit(lambda: model.init(jax.random.key(0), given, train=False))()
    image = images(11, 14)
    whole = predictor(model, UNIT, wrappers=(Flip(),))
    tiles = predictor(model, UNIT, wrappers=(OverlapTile(8), Flip()))
    np.testing.assert_allclose(tiles(variables, image), whole(variables, image), atol=1e-6)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: MultiScale(()), "scales=() must be a tuple such as (0.5, 1.0, 1.5)"),
        (lambda: MultiScale((1.0, 0.0)), "must be numbers above 0, got 0.0"),
        (lambda: MultiScale((-0.5,)), "must be numbers above 0, got -0.5"),
        (lambda: MultiScale((float("nan"),)), "must be numbers above 0, got nan"),
        (lambda: MultiScale((1.0,), "sum"), "combine='sum' must be 'mean' or 'max'"),
        (lambda: PadToMultiple(0), "multiple=0 must be a whole number, at least 1"),
        (lambda: OverlapTile(0), "size=0 must be a whole number"),
        (lambda: Evaluation(predictor=Flip), "Flip is a class; write Flip()"),
    ],
)
def test_a_wrapper_that_cannot_be_is_one_line(made, message):
    with pytest.raises(InputError, match=re.escape(message)):
        made()


def test_what_works_on_the_host_is_not_compiled_again():
    host = Compiled(lopsided)
    assert on_host(host) is host and isinstance(on_host(lopsided), Compiled)
