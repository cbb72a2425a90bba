import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.rotate import RandomRotate, rotate


def example(h=9, w=12, c=3, dtype=np.uint8):
    """Image, label and weight that all hold the pixel's own number + 1."""
    number = 1 + np.arange(h * w).reshape(h, w)
    image = np.repeat(number[..., None], c, axis=-1).astype(dtype)
    label, weight = number.astype(np.uint8), number.astype(np.float32)
    return {"image": image, "label": label, "weight": weight, "name": "a"}


def rng(seed=0):
    return np.random.default_rng(seed)


def source(h, w, degrees):
    """Where each pixel's centre comes from: its rows and columns in the example, in pixels."""
    y, x = np.mgrid[:h, :w] + 0.5 - np.array([h, w])[:, None, None] / 2
    turn = np.deg2rad(degrees)
    rows = np.sin(turn) * x + np.cos(turn) * y + h / 2
    return rows, np.cos(turn) * x - np.sin(turn) * y + w / 2


@pytest.mark.parametrize("degrees", [-37.0, 10.0, 170.0])
def test_a_label_is_the_one_where_the_pixel_comes_from_and_255_outside(degrees):
    given = example()
    rows, columns = source(9, 12, degrees)
    inside = (rows >= 0) & (rows < 9) & (columns >= 0) & (columns < 12)
    y, x = (np.floor(axis).astype(int) for axis in (rows, columns))
    expected = np.where(inside, given["label"][y.clip(0, 8), x.clip(0, 11)], 255)
    found = rotate(given, degrees)["label"]
    # Pillow reckons in 1/65536 of a pixel: what falls on an edge may go either way.
    clear = np.minimum(abs(rows - np.rint(rows)), abs(columns - np.rint(columns))) > 1e-3
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert clear.mean() > 0.9 and 0 < (found == 255).sum() < found.size / 2


def test_a_ramp_in_the_image_is_bilinear_in_the_place_where_a_pixel_comes_from():
    given = example(dtype=np.float32)
    rows, columns = source(9, 12, 10.0)
    middle = (slice(3, 6), slice(3, 9))
    expected = (1 + (rows - 0.5) * 12 + columns - 0.5)[middle]
    found = rotate(given, 10.0)
    np.testing.assert_allclose(found["image"][middle][..., 1], expected, atol=1e-3)
    np.testing.assert_allclose(found["weight"][middle], expected, atol=1e-3)


def test_a_quarter_turn_is_counter_clockwise():
    given = example(h=8, w=8)
    np.testing.assert_array_equal(rotate(given, 90)["label"], np.rot90(given["label"]))


def test_the_same_pixels_come_from_outside_in_image_label_and_weight():
    for degrees in np.linspace(-44, 44, 23):
        found = rotate(example(), float(degrees), fill=(200, 0, 0))
        outside = found["label"] == 255
        np.testing.assert_array_equal((found["image"] == (200, 0, 0)).all(-1), outside)
        np.testing.assert_array_equal(found["weight"] == 0, outside)


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(1, np.uint8), (2, np.uint16), (3, np.uint8), (4, np.float32), (4, np.uint8)],
    ids=str,
)
def test_dtypes_and_channels_are_kept_each_channel_turned_alone_and_the_input_not_touched(
    channels, dtype
):
    given = example(c=channels, dtype=dtype)
    given["image"][..., 0] += 7
    before = given["image"].copy()
    found = rotate(given, 12.0, fill=3)
    np.testing.assert_array_equal(given["image"], before)
    assert found["image"].dtype == dtype and found["label"].dtype == np.uint8
    for channel in range(channels):
        alone = rotate({**given, "image": before[..., channel : channel + 1]}, 12.0, fill=3)
        np.testing.assert_array_equal(found["image"][..., channel], alone["image"][..., 0])
    assert found["name"] == "a"


def test_angles_are_uniform_up_to_degrees_and_half_of_the_examples_stay():
    line = np.zeros((101, 101), np.uint8)
    line[50, 51:] = 1
    given = {"image": line[..., None], "label": line}
    generator, angles, stayed = rng(), [], 0
    for _ in range(600):
        label = RandomRotate(10.0, fill=0)(given, generator)["label"]
        stayed += np.array_equal(label, line)
        y, x = np.nonzero(label == 1)
        angles.append(np.rad2deg(np.arctan2(50 - y.mean(), x.mean() - 50)))
    turned = [angle for angle in angles if abs(angle) > 0.6]
    assert 250 < stayed < 350
    assert -10.5 < min(turned) < -9 and 9 < max(turned) < 10.5
    assert abs(np.mean(turned)) < 1.2 and 4.5 < np.mean(np.abs(turned)) < 6


def test_fields_and_fills_that_cannot_work_are_named():
    with pytest.raises(InputError, match="RandomRotate needs degrees in 0 ... 180, got -1"):
        RandomRotate(-1)
    with pytest.raises(InputError, match="RandomRotate needs probability in 0 ... 1, got 2"):
        RandomRotate(probability=2)
    with pytest.raises(InputError, match="degrees in 0 ... 180, got 'a'"):
        RandomRotate("a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"RandomRotate fills with 3 numbers \(1, 2, 3\), but"):
        RandomRotate(fill=(1, 2, 3))(example(c=1), rng())
