"""Window by window an image of any size gets the answers that it gets whole, within bounds."""

import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.evaluate.compiled import on_host, predictor
from segjax.evaluate.predictors import WholeImage
from segjax.evaluate.windowed import Windowed
from segjax.evaluate.windows import OverlapTile, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import UNIT
from segjax.models.unet import UNet

WEIGHTS = {"w": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)}
CHECKED = jax.ShapeDtypeStruct((1, 9, 9, 3), np.uint8)


def images(*size, b=1, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (b, *size, c)).astype(np.uint8)


def by_pixel(variables, image):
    """Sees one pixel at a time."""
    logits = jnp.einsum("bhwc,ck->bhwk", image.astype(jnp.float32) / 64 - 2, variables["w"])
    return jax.nn.softmax(logits)


def blurred(variables, image):
    """Sees 3 × 3 pixels, and zeros beyond the image."""
    x = nn.avg_pool(image.astype(jnp.float32), (3, 3), padding="SAME")
    return by_pixel(variables, x)


def columns_seen(variables, image):
    """Says of every pixel which column of the window it is in, from 0 to 1."""
    place = jnp.linspace(0, 1, image.shape[2])[None, None, :, None]
    place = jnp.broadcast_to(place, (*image.shape[:3], 1))
    return jnp.concatenate([place, 1 - place], axis=-1)


@pytest.mark.parametrize("blend", ["mean", "linear"])
@pytest.mark.parametrize("size", [(20, 33), (9, 9), (5, 31), (1, 1), (9, 4)], ids=str)
def test_windows_of_a_network_that_sees_single_pixels_change_nothing(size, blend):
    image = images(*size, b=2)
    windows = SlidingWindow(size=9, stride=5, blend=blend, batch_size=3)(by_pixel)
    plain = on_host(by_pixel)
    np.testing.assert_allclose(windows(WEIGHTS, image), plain(WEIGHTS, image), atol=1e-6)
    labels = windows.classes(WEIGHTS, image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, plain.classes(WEIGHTS, image))


@pytest.mark.parametrize("blend", ["mean", "linear"])
def test_a_window_as_large_as_the_image_is_the_identity(blend):
    image = images(17, 17)
    windows = SlidingWindow(size=17, blend=blend)(blurred)
    np.testing.assert_allclose(
        windows(WEIGHTS, image), blurred(WEIGHTS, jnp.asarray(image)), atol=1e-6
    )


def test_answers_far_enough_from_window_borders_are_those_of_the_whole_image():
    image, size, stride = images(26, 40), 11, 6
    found = SlidingWindow(size=size, stride=stride)(blurred)(WEIGHTS, image)
    expected = np.asarray(blurred(WEIGHTS, jnp.asarray(image)))
    inside = []
    for length in image.shape[1:3]:
        ends = [
            (s, s + size) for s in SlidingWindow(size=size, stride=stride).axis(length).first
        ]
        # A window's border shows in its outermost pixel, but where the image ends too.
        spoilt = {p for a, z in ends for p in (a, z - 1) if p not in (0, length - 1)}
        inside.append(np.array([p not in spoilt for p in range(length)]))
    mask = np.outer(*inside)
    assert 0.2 < mask.mean() < 0.9
    np.testing.assert_allclose(found[0][mask], expected[0][mask], atol=1e-6)
    assert np.abs(found[0][~mask] - expected[0][~mask]).max() > 1e-3


def test_linear_blending_has_no_seam_where_the_mean_has_one():
    image, steepest = images(64, 200), {}
    for blend in ("mean", "linear"):
        windows = SlidingWindow(size=64, stride=40, blend=blend)(columns_seen)
        row = windows(WEIGHTS, image)[0, 0, :, 0]
        steepest[blend] = np.abs(np.diff(row)).max()
    # Inside a window the answer changes by 1/63 a pixel; two windows differ by 40/63.
    assert steepest["mean"] > 0.3
    assert steepest["linear"] < 4 / 63


def test_a_window_ends_with_the_image_and_every_pixel_is_seen():
    axis = SlidingWindow(size=513).axis(2048)
    assert axis.first == (0, 342, 684, 1026, 1368, 1535)
    for length in (1, 5, 6, 7, 12, 13, 40):
        assert SlidingWindow(size=6).axis(length).total(np.ones(6, np.float32)).min() >= 1


def test_beyond_a_small_image_a_window_sees_its_mirror_image():
    image = images(3, 4)
    seen = []
    Windowed(
        _recording(seen), SlidingWindow(size=8).axis, weight=np.ones(8), batch_size=1, memory=1
    ).classes(WEIGHTS, image)
    (window,) = seen[0]
    np.testing.assert_array_equal(
        window, np.pad(image[0], ((2, 3), (2, 2), (0, 0)), mode="reflect")
    )


class _recording:
    """A predictor on the host of five classes that keeps the batches it is given."""

    def __init__(self, batches: list):
        self.batches = batches

    def __call__(self, variables, windows, /):
        self.batches.append(windows)
        return np.asarray(by_pixel(variables, jnp.asarray(windows)))

    def classes(self, variables, windows):
        raise AssertionError("Windows are averaged as probabilities.")

    def check(self, variables, windows):
        return 5


def test_a_batch_of_images_equals_them_one_by_one_and_shares_its_windows():
    image, batches = images(14, 9, b=3), []
    windows = SlidingWindow(size=9, stride=5, batch_size=4)(_recording(batches))
    together = windows(WEIGHTS, image)
    assert [len(batch) for batch in batches] == [4, 1, 1]
    for one, several in zip(image, together, strict=True):
        np.testing.assert_allclose(windows(WEIGHTS, one[None])[0], several, atol=1e-6)


@pytest.mark.parametrize("wrapper", [SlidingWindow(8, 5), OverlapTile(8)], ids=str)
def test_stripes_change_nothing_and_hold_no_more_than_the_bound(wrapper, monkeypatch):
    monkeypatch.setattr("segjax.evaluate.windowed.MIB", 1)
    model, variables = made_valid()
    tiles = isinstance(wrapper, OverlapTile)
    predict, variables = (WholeImage(model, UNIT), variables) if tiles else (by_pixel, WEIGHTS)
    one_window = wrapper(predict)._axis(1).answered ** 2 * (2 if tiles else 5) * 4
    image, labels, held = images(30, 61), np.zeros((30, 61), np.uint8), []
    narrow = dataclasses.replace(wrapper, memory=3 * one_window)(predict)
    for _, down, across, sums in narrow._strips(variables, image):
        held.append(sums.base.nbytes)
        labels[down, across] = sums.argmax(-1)
    assert one_window < max(held) <= 3 * one_window < 30 * 61 * 8
    whole = dataclasses.replace(wrapper, memory=10**9)(predict)
    np.testing.assert_array_equal(labels, whole.classes(variables, image)[0])


def test_a_bound_below_one_window_is_refused_with_what_it_needs():
    windows = SlidingWindow(size=512, memory=4)(by_pixel)
    with pytest.raises(InputError, match="memory=4 MiB .* 512² .* 5 classes; set memory=5"):
        windows.check(WEIGHTS, CHECKED)
    assert SlidingWindow(size=512, memory=5)(by_pixel).check(WEIGHTS, CHECKED) == 5


@functools.cache
def made_valid(depth=1):
    model = UNet(num_classes=2, depth=depth, features=4, valid=True)
    image = jnp.zeros((1, *model.canvas(8, 8), 3))
    return model, jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()


@pytest.mark.parametrize(
    ("depth", "tile", "size"), [(1, 8, (23, 40)), (2, 7, (23, 37)), (2, 1, (6, 9))]
)
def test_overlap_tile_answers_as_the_valid_unet_does_of_the_whole_image(depth, tile, size):
    model, variables = made_valid(depth)
    image = images(*size, b=2)
    whole, tiles = (
        predictor(model, UNIT, wrappers=wrappers) for wrappers in ((), (OverlapTile(tile),))
    )
    np.testing.assert_allclose(tiles(variables, image), whole(variables, image), atol=1e-6)


def test_tiles_of_the_papers_size_are_whole_pooling_windows_apart():
    network = WholeImage(UNet(num_classes=2, valid=True), UNIT)
    axis = OverlapTile(388)(network)._axis(2000)
    assert (axis.seen, axis.answered) == (572, 388)
    assert set(np.diff(axis.first)) == {384}


def test_overlap_tile_stands_first_and_is_for_valid_convolutions():
    model, _ = made_valid()
    with pytest.raises(InputError, match="OverlapTile .* make it the first wrapper"):
        predictor(model, UNIT, wrappers=(Flip(), OverlapTile(8)))
    padded = model.clone(valid=False)
    with pytest.raises(InputError, match="UNet returns scores of its whole input: use Sliding"):
        predictor(padded, UNIT, wrappers=(OverlapTile(8),))


class _EveryFourthPixel(nn.Module):
    """Scores of two classes: the image's own at every fourth pixel."""

    label_stride: int = 4

    def __call__(self, image, *, train):
        return image[:, ::4, ::4] * 9.0


@pytest.mark.parametrize(
    "wrappers",
    [
        (SlidingWindow(17, 12),),
        (MultiScale((1.0,)), SlidingWindow(17, 12, batch_size=1), MultiScale((1.0,))),
    ],
    ids=str,
)
def test_windows_on_the_grid_of_a_label_stride_agree_with_the_whole_image(wrappers):
    image = np.random.default_rng(2).uniform(size=(2, 29, 53, 2)).astype(np.float32)
    plain, windows = (predictor(_EveryFourthPixel(), UNIT, wrappers=w) for w in ((), wrappers))
    np.testing.assert_allclose(windows({}, image), plain({}, image), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(size=20, stride=21), "stride=21 leaves gaps between windows of size=20"),
        (dict(size=0), "size=0 must be a whole number, at least 1"),
        (dict(stride=0), "stride=0 must be"),
        (dict(batch_size=0), "batch_size=0 must be"),
        (dict(memory=0), "memory=0 must be"),
        (dict(blend="none"), "blend='none' must be 'mean' or 'linear'"),
    ],
)
def test_a_window_that_cannot_be_is_one_line(fields, message):
    with pytest.raises(InputError, match=re.escape(message)):
        SlidingWindow(**fields)
