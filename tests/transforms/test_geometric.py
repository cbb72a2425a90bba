import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.evaluate.longest_side import within
from segjax.transforms.geometric import (
    MirrorPad,
    RandomCrop,
    RandomFlip,
    RandomFlipVertical,
    RandomRotate90,
    RandomScale,
    Resize,
    ShrinkTo,
    resize_nearest,
    resize_with_pillow,
)
from segjax.transforms.rotate import RandomRotate

ALL = (
    RandomScale(),
    Resize((5, 9)),
    ShrinkTo(6),
    RandomCrop((5, 12), fill=0),
    MirrorPad(3),
    RandomFlip(),
    RandomFlipVertical(),
    RandomRotate90(),
)


def example(h=8, w=10, c=3, dtype=np.uint8, seed=0):
    """Image, label and weight that all hold the pixel's own number, so that they must agree."""
    number = np.arange(h * w).reshape(h, w)
    image = np.repeat(number[..., None], c, axis=-1).astype(dtype)
    label, weight = number.astype(np.uint8), number.astype(np.float32)
    return {"image": image, "label": label, "weight": weight, "name": "a", "extra": 1.5}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(1, np.uint8), (2, np.uint16), (3, np.uint8), (4, np.float32)],
    ids=str,
)
def test_dtypes_channels_and_other_keys_are_kept_and_the_input_is_not_touched(
    transform, channels, dtype
):
    given = example(c=channels, dtype=dtype)
    copy = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in given.items()}
    for seed in range(4):
        found = transform(given, rng(seed))
        assert found is not given and found.keys() == given.keys()
        assert found["extra"] is given["extra"] and found["name"] == "a"
        assert found["image"].shape == (*found["label"].shape, channels)
        assert found["weight"].shape == found["label"].shape
        for key in ("image", "label", "weight"):
            assert found[key].dtype == given[key].dtype and found[key].flags.c_contiguous
            np.testing.assert_array_equal(given[key], copy[key])


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_the_same_generator_gives_the_same_result(transform):
    first, again = transform(example(), rng(5)), transform(example(), rng(5))
    for key in ("image", "label", "weight"):
        np.testing.assert_array_equal(first[key], again[key])


@pytest.mark.parametrize(
    "transform", [RandomFlip(), RandomFlipVertical(), RandomRotate90()], ids=str
)
def test_image_label_and_weight_move_together(transform):
    for seed in range(8):
        found = transform(example(), rng(seed))
        np.testing.assert_array_equal(found["image"][..., 1], found["label"])
        np.testing.assert_array_equal(found["weight"], found["label"])


def test_a_flip_with_probability_one_mirrors_and_with_zero_does_nothing():
    given = example()
    for transform, mirrored in (
        (RandomFlip, given["label"][:, ::-1]),
        (RandomFlipVertical, given["label"][::-1]),
    ):
        np.testing.assert_array_equal(transform(1.0)(given, rng())["label"], mirrored)
        np.testing.assert_array_equal(transform(0.0)(given, rng())["label"], given["label"])
    flipped = [
        not np.array_equal(RandomFlip()(given, rng(s))["label"], given["label"])
        for s in range(200)
    ]
    assert 70 < sum(flipped) < 130


def test_all_four_quarter_turns_occur():
    given = example()
    generator = rng()
    found = {RandomRotate90()(given, generator)["label"].tobytes() for _ in range(60)}
    assert found == {np.rot90(given["label"], k).tobytes() for k in range(4)}


def test_a_crop_is_a_window_of_the_example_and_reaches_every_place():
    given, generator = example(), rng()
    corners = set()
    for _ in range(300):
        found = RandomCrop((6, 7))(given, generator)
        corner = int(found["label"][0, 0])
        top, left = divmod(corner, 10)
        corners.add((top, left))
        window = (slice(top, top + 6), slice(left, left + 7))
        for key in ("image", "label", "weight"):
            np.testing.assert_array_equal(found[key], given[key][window])
    assert corners == {(top, left) for top in range(3) for left in range(4)}


def test_a_window_larger_than_the_example_holds_it_whole_amid_fill_255_and_weight_0():
    given, generator = example(), rng()
    places = set()
    for _ in range(300):
        found = RandomCrop((9, 12), fill=(1, 2, 3))(given, generator)
        (top,), (left,) = (set(axis) for axis in np.nonzero(found["label"] == 0))
        places.add((int(top), int(left)))
        inside = np.zeros((9, 12), bool)
        inside[top : top + 8, left : left + 10] = True
        np.testing.assert_array_equal(found["label"][inside], given["label"].ravel())
        assert (found["label"][~inside] == 255).all() and (found["weight"][~inside] == 0).all()
        assert (found["image"][~inside] == (1, 2, 3)).all()
    assert places == {(top, left) for top in range(2) for left in range(3)}


def test_a_crop_may_cut_one_side_and_pad_the_other():
    found = RandomCrop((4, 12))(example(), rng())
    assert found["image"].shape == (4, 12, 3)
    assert (found["label"] == 255).sum() == 4 * 2


def test_a_fill_that_does_not_fit_the_channels_is_named():
    with pytest.raises(InputError, match=r"RandomCrop fills with 3 numbers \(1, 2, 3\), but"):
        RandomCrop(4, fill=(1, 2, 3))(example(c=1), rng())
    assert RandomCrop(20, fill=7)(example(c=1), rng())["image"].max() >= 7


@pytest.mark.parametrize(
    ("dtype", "c", "filled"),
    [
        (np.uint8, 3, [124, 116, 104]),
        (np.uint8, 1, [117]),
        (np.uint8, 2, [117, 117]),
        (np.uint8, 4, [117] * 4),
        (np.uint16, 3, [31868, 29812, 26728]),
        (np.uint16, 1, [30069]),
        (np.float32, 3, [124 / 255, 116 / 255, 104 / 255]),
        (np.float32, 5, [117 / 255] * 5),
    ],
)
@pytest.mark.parametrize("transform", [RandomCrop(60), RandomRotate(180.0, probability=1.0)])
def test_the_default_fill_is_imagenets_mean_in_any_channels_and_units(
    transform, dtype, c, filled
):
    given = {**example(c=c, h=40, w=12), "image": np.zeros((40, 12, c), dtype)}
    found = transform(given, rng(3))
    outside = found["image"][found["label"] == 255]
    np.testing.assert_allclose(outside.max(0), filled, rtol=1e-6)


def test_scales_are_uniform_over_the_interval_or_over_its_steps():
    given, generator = example(100, 60), rng()
    sizes = [RandomScale(0.5, 2.0)(given, generator)["label"].shape for _ in range(300)]
    heights = np.array(sizes)[:, 0]
    assert heights.min() < 60 and heights.max() > 190 and 115 < heights.mean() < 135
    assert all(abs(h * 0.6 - w) <= 1 for h, w in sizes)
    steps = {RandomScale(0.5, 2.0, 0.25)(given, generator)["label"].shape for _ in range(200)}
    assert steps == {(h, round(h * 0.6)) for h in (50, 75, 100, 125, 150, 175, 200)}


def test_a_scaled_image_still_lies_over_its_label():
    step = np.zeros((40, 40), np.uint8)
    step[13:, 21:] = 200
    given = {"image": step[..., None], "label": (step > 0).astype(np.uint8), "name": "a"}
    for factor in (0.5, 0.8, 1.3, 2.0):
        found = RandomScale(factor, factor)(given, rng())
        disagree = (found["image"][..., 0] >= 100) != (found["label"] > 0)
        # Half a pixel of rounding along two edges.
        assert disagree.mean() < 1.1 / found["label"].shape[0]


def test_resizing_to_the_same_size_changes_nothing_and_labels_gain_no_ids():
    given = example()
    same = Resize((8, 10))(given, rng())
    for key in ("image", "label", "weight"):
        np.testing.assert_array_equal(same[key], given[key])
    label = np.where(np.arange(70).reshape(7, 10) % 3, 0, 255).astype(np.uint8)
    for h, w in ((3, 5), (13, 21)):
        assert set(np.unique(resize_nearest(label, h, w))) == {0, 255}


@pytest.mark.parametrize("size", [(4, 5), (8, 10), (18, 32), (9, 15), (1, 1)])
def test_nearest_agrees_with_pillow(size):
    # Odd sides: no centre falls between two pixels, where Pillow's sums of fractions decide.
    label = rng().integers(0, 256, (9, 15), np.uint8)
    expected = Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_nearest(label, *size), np.asarray(expected))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_channel_is_resized_alone_even_the_fourth(dtype):
    image = rng().integers(0, 255, (6, 7, 4)).astype(dtype)
    image[..., 3] = 0
    found = resize_with_pillow(image, 11, 5)
    for channel in range(4):
        alone = resize_with_pillow(image[..., channel : channel + 1], 11, 5)[..., 0]
        np.testing.assert_array_equal(found[..., channel], alone, strict=True)
    assert found[..., 0].max() > 100


def test_bilinear_keeps_a_ramp():
    ramp = np.tile(np.arange(16, dtype=np.float32) * 1001, (4, 1))[..., None]
    doubled = resize_with_pillow(ramp, 4, 32)[0, :, 0]
    np.testing.assert_allclose(doubled[1:-1], (np.arange(1, 31) - 0.5) * 500.5, rtol=1e-6)
    sixteen_bits = resize_with_pillow(ramp.astype(np.uint16), 4, 32)[0, :, 0]
    np.testing.assert_array_equal(sixteen_bits, np.rint(doubled).astype(np.uint16))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomScale(0, 1), "got 0 and 1"),
        (lambda: RandomScale(2, 1), "got 2 and 1"),
        (lambda: RandomScale(step=0), "step > 0"),
        (lambda: RandomCrop(0), "got 0"),
        (lambda: RandomCrop((1, 2, 3)), r"got \(1, 2, 3\)"),
        (lambda: RandomCrop("a"), "got 'a'"),
        (lambda: RandomCrop(3.5), "got 3.5"),
        (lambda: Resize(-1), "got -1"),
        (lambda: RandomFlip(1.5), "RandomFlip needs probability in 0 ... 1, got 1.5"),
        (lambda: RandomFlipVertical(-1), "got -1"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_transforms_print_as_what_makes_them():
    for transform in ALL:
        assert eval(repr(transform)) == transform


def test_mirrored_surroundings_repeat_no_border_pixel_and_may_be_wider_than_the_image():
    given = example(h=3, w=4)
    found = MirrorPad(5)(given, rng())
    rows = [abs((y + 5 * 4) % 4 - 0) for y in range(-5, 8)]
    rows = [y if y < 3 else 4 - y for y in rows]
    columns = [(x + 6 * 5) % 6 for x in range(-5, 9)]
    columns = [x if x < 4 else 6 - x for x in columns]
    np.testing.assert_array_equal(found["label"], given["label"][np.ix_(rows, columns)])
    np.testing.assert_array_equal(found["image"][..., 0], found["label"])
    np.testing.assert_array_equal(found["weight"], found["label"])
    with pytest.raises(InputError, match="pixels >= 0, got -1"):
        MirrorPad(-1)


@pytest.mark.parametrize("size", [(30, 40), (40, 30), (41, 23), (99, 1), (100, 3), (7, 31)])
@pytest.mark.parametrize("side", [1, 10, 31])
def test_examples_shrink_to_the_size_at_which_the_predictor_sees_them(size, side):
    found = ShrinkTo(side)(example(*size), rng())
    assert found["label"].shape == within(size, side)


def test_examples_that_are_small_enough_stay_as_they_are():
    given = example(5, 6)
    found = ShrinkTo(6)(given, rng())
    assert all(found[key] is given[key] for key in ("image", "label", "weight"))


@pytest.mark.parametrize("side", [0, -1, 1.5, True, (3, 4)])
def test_a_side_that_is_no_number_of_pixels_is_refused(side):
    with pytest.raises(InputError, match="ShrinkTo needs a whole number of pixels"):
        ShrinkTo(side)
