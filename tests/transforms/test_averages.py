"""Averages of booleans and integers are rounded; what float32 cannot hold is refused."""

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.elastic import RandomElastic
from segjax.transforms.entries import Declare
from segjax.transforms.geometric import RandomFlip, Resize, resize_with_pillow
from segjax.transforms.kinds import Bilinear
from segjax.transforms.rotate import RandomRotate

AVERAGING = {
    "smaller": Resize((8, 8)),
    "larger": Resize((37, 37)),
    "elastic": RandomElastic(3.0),
    "rotate": RandomRotate(40.0, 1.0, fill=0.0),
}


def example(**entries):
    """A square that covers a quarter, as two declared maps and as the weight."""
    rng = np.random.default_rng(0)
    square = np.zeros((16, 16), bool)
    square[4:12, 4:12] = True
    maps = {
        "mask": square,
        "numbers": square.astype(np.uint16),
        "weight": square.copy(),
        **entries,
    }
    found = {"image": np.zeros((16, 16, 3), np.uint8), "name": "a", **maps}
    for key in maps:
        found = Declare(key, Bilinear())(found, rng)
    return found


@pytest.mark.parametrize("name", AVERAGING)
def test_a_boolean_map_is_averaged_as_zeros_and_ones_are(name):
    found = AVERAGING[name](example(), np.random.default_rng(0))
    assert found["mask"].dtype == bool and 0.15 < found["mask"].mean() < 0.35
    np.testing.assert_array_equal(found["mask"], found["numbers"] == 1)
    np.testing.assert_array_equal(found["weight"], found["mask"])


@pytest.mark.parametrize("name", [*AVERAGING, "flip"])
@pytest.mark.parametrize("key", ["depth", "weight"])
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**24 + 1, np.int32),
        (-(2**24) - 1, np.int64),
        (2**31 - 1, np.int32),
        (2**63, np.uint64),
        (1e40, np.float64),
    ],
)
def test_a_number_that_an_average_would_change_is_refused_by_name(name, key, value, dtype):
    transform = {**AVERAGING, "flip": RandomFlip(0.0)}[name]
    depth = np.zeros((16, 16), dtype)
    depth[7, 7] = value
    message = f"^Example 'a': '{key}' is {np.dtype(dtype)} and holds .*, which float32 cannot"
    with pytest.raises(InputError, match=message):
        transform(example(**{key: depth}), np.random.default_rng(0))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("name", AVERAGING)
def test_numbers_up_to_there_are_kept(name, dtype):
    given = example(depth=np.full((16, 16), 2**24, dtype))
    found = AVERAGING[name](given, np.random.default_rng(0))["depth"]
    middle = found[len(found) // 2, len(found) // 2]
    # The weights of two pixels need not add up to 1 in floats.
    np.testing.assert_allclose(middle, 2**24, rtol=0 if found.dtype.kind in "iu" else 1e-6)
    assert found.dtype == dtype


def test_values_that_are_not_finite_may_be_in_a_float_map():
    depth = np.full((16, 16), np.nan)
    depth[:, 8:] = np.inf
    found = Resize((16, 16))(example(depth=depth), np.random.default_rng(0))["depth"]
    np.testing.assert_array_equal(found, depth)


def test_a_boolean_image_is_rounded_too():
    image = np.array([[True, True, False, False]])[..., None]
    assert resize_with_pillow(image, 1, 2)[0, :, 0].tolist() == [True, False]
