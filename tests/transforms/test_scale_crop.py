"""One resampling of a window equals scaling the whole example and cropping it."""

import math

import numpy as np
import pytest

from segjax.contracts import full_scale
from segjax.errors import InputError
from segjax.transforms.geometric import RandomCrop, RandomScale
from segjax.transforms.scale_crop import RandomScaleCrop


def example_of(dtype=np.uint8, channels=3, planes=(), h=37, w=50):
    rng = np.random.default_rng(1)
    image = rng.random((h, w, channels)) * full_scale(dtype)
    corner = rng.uniform(-4, (w - 8, h - 8), (40, 2))
    return {
        "image": image.astype(dtype),
        "label": rng.integers(0, 9, (h, w, *planes)).astype(np.uint8),
        "weight": rng.random((h, w)).astype(np.float32),
        "points": rng.uniform(-3, (w + 3, h + 3), (40, 2)),
        "boxes": np.concatenate([corner, corner + rng.uniform(1, 12, (40, 2))], 1),
        "classes": np.arange(40),
        "name": "one",
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("dtype", "channels", "planes", "step"),
    [(np.uint8, 3, (), None), (np.uint16, 1, (4,), 0.25), (np.float32, 2, (), None)],
)
@pytest.mark.parametrize("size", [(24, 30), 64])
def test_the_window_is_that_of_scale_and_crop(seed, dtype, channels, planes, step, size):
    example = example_of(dtype, channels, planes)
    in_turn, rng = example, np.random.default_rng(seed)
    for transform in (RandomScale(0.5, 2.0, step), RandomCrop(size)):
        in_turn = transform(in_turn, rng)
    ours = np.random.default_rng(seed)
    at_once = RandomScaleCrop(size, step=step)(example, ours)
    assert list(at_once) == list(in_turn) and ours.random() == rng.random()
    np.testing.assert_array_equal(at_once["label"], in_turn["label"])
    gap = np.abs(at_once["image"].astype(np.float64) - in_turn["image"].astype(np.float64))
    # Pillow keeps the place of a box in single precision, and rounds 8 bits twice.
    assert gap.max() <= (2 if dtype == np.uint8 else 1e-4 * full_scale(dtype))
    assert at_once["image"].dtype == dtype
    np.testing.assert_allclose(at_once["weight"], in_turn["weight"], atol=1e-4)
    np.testing.assert_array_equal(at_once["classes"], in_turn["classes"])
    for places in ("points", "boxes"):
        np.testing.assert_allclose(at_once[places], in_turn[places], atol=1e-4)


def test_scale_one_and_a_window_as_large_as_the_example_change_nothing():
    example = example_of()
    got = RandomScaleCrop((37, 50), 1.0, 1.0)(example, np.random.default_rng(0))
    for name in ("image", "label", "weight"):
        np.testing.assert_array_equal(got[name], example[name])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: RandomScaleCrop(0), "RandomScaleCrop needs size"),
        (lambda: RandomScaleCrop(3, 2, 1), "^RandomScaleCrop needs 0 < minimum <= maximum"),
        (lambda: RandomScaleCrop(3, "a"), "^RandomScaleCrop .*got 'a' and 2.0"),  # type: ignore
        (lambda: RandomScaleCrop(3, maximum=math.inf), "got 0.5 and inf"),
        (lambda: RandomScaleCrop(3, step="a"), "needs step > 0 or None, got 'a'"),  # type: ignore
        (lambda: RandomScaleCrop(True), "RandomScaleCrop needs size.*got True"),
        (lambda: RandomScaleCrop(3, fill=math.nan), "fill=nan: give one finite number"),
        (lambda: RandomScaleCrop(3, step=0), "^RandomScaleCrop needs step > 0"),
        (lambda: RandomScaleCrop(3, fill="x"), "fill='x'"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_setting_is_one_line(make, line):
    with pytest.raises(InputError, match=line):
        make()
