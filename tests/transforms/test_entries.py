"""Every transform moves every kind of entry: one table of each, held against one another."""

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.affine import RandomAffine, RandomPerspective
from segjax.transforms.crops import BalancedCrop, ForegroundCrop
from segjax.transforms.cutout import Cutout
from segjax.transforms.elastic import RandomElastic
from segjax.transforms.entries import Declare
from segjax.transforms.geometric import (
    MirrorPad,
    RandomCrop,
    RandomFlip,
    RandomFlipVertical,
    RandomRotate90,
    RandomScale,
    Resize,
)
from segjax.transforms.kinds import Bilinear, Boxes, Fixed, Follows, Image, Nearest, Points
from segjax.transforms.resize_sides import ResizeLongSide, ResizeShortSide
from segjax.transforms.rotate import RandomRotate

REARRANGING = {
    "crop": RandomCrop((17, 19), fill=9.0),
    "crop and pad": RandomCrop((37, 19), fill=9.0),
    "pad": RandomCrop(50, fill=9.0),
    "flip": RandomFlip(1.0),
    "flip vertical": RandomFlipVertical(1.0),
    "rotate 90": RandomRotate90(),
    "balanced crop": BalancedCrop((17, 19), fill=9.0),
    "foreground crop": ForegroundCrop((17, 19), (100, 400, 700), probability=1.0, fill=9.0),
}
"""Each pixel of the result is one of the example, or filled; boxes stay exact."""

PLACING = {
    **REARRANGING,
    "scale": RandomScale(0.6, 2.5),
    "resize": Resize((41, 26)),
    "short side": ResizeShortSide(33),
    "long side": ResizeLongSide(47),
    "rotate": RandomRotate(60.0, probability=1.0, fill=9.0),
    "affine": RandomAffine(40.0, (0.8, 1.6), 0.1, 9.0, probability=1.0, fill=9.0),
    "perspective": RandomPerspective(0.4, probability=1.0, fill=9.0),
}
"""They know where points go, and boxes."""

ALL = {
    **PLACING,
    "elastic": RandomElastic(sigma=3.0),
    "mirror": MirrorPad(6),
    "rotate reflected": RandomRotate(60.0, probability=1.0, border="reflect"),
    "affine reflected": RandomAffine(40.0, probability=1.0, border="reflect"),
    "cutout": Cutout(7, holes=2, ignore=True, probability=1.0, fill=9.0),
}

REPEATING = ("mirror", "rotate reflected", "affine reflected")
"""They show parts of an example twice."""

READING = ("balanced crop", "foreground crop")
"""Where they cut depends on the label."""

FILLING = ("pad", "crop and pad", "rotate", "affine", "perspective", "cutout")
"""They may have pixels that are not from the example."""

DECLARED = (
    Declare("second", Image()),
    Declare("masks", Nearest()),
    Declare("depth", Nearest()),
    Declare("sensor", Bilinear(fill=-1.0)),
    Declare("clicks", Points()),
    Declare("positive", Follows("clicks")),
    Declare("parts", Boxes()),
    Declare("camera", Fixed()),
)

PLACES = ("points", "clicks", "boxes", "parts")
OF_PLACES = ("positive", "classes", "instance_ids")

H, W = 24, 30


def everything(seed=0):
    """The image's channels are x and y of its pixels' centres; labels number the pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W] + 0.5
    number = np.arange(H * W, dtype=np.int32).reshape(H, W)
    number[number == 255] = H * W
    instances, boxes = objects()
    example = {
        "image": np.stack([x, y], -1).astype(np.float32),
        "second": rng.integers(0, 255, (H, W, 3)).astype(np.uint8),
        "label": number,
        "masks": (rng.random((H, W, 3)) < 0.4).astype(np.uint8),
        "depth": number.astype(np.float32) / 7,
        "weight": rng.random((H, W), np.float32),
        "sensor": rng.random((H, W, 2), np.float32),
        "points": grid_of_points(),
        "clicks": rng.uniform(0, 24, (9, 2)),
        "positive": np.arange(9),
        "instances": instances,
        "boxes": boxes,
        "classes": np.arange(len(boxes)) * 3,
        "instance_ids": np.arange(1, len(boxes) + 1),
        "parts": boxes.astype(np.float64),
        "camera": np.eye(3),
        "count": 3,
        "name": "scan 7",
    }
    for declare in DECLARED:
        example = declare(example, rng)
    return example


def grid_of_points():
    """The centres of all pixels, row by row."""
    y, x = np.mgrid[:H, :W] + 0.5
    return np.stack([x.ravel(), y.ravel()], -1).astype(np.float32)


def objects():
    """(ids h w with six rectangles, their boxes)."""
    corners = [(1, 2, 7, 6), (9, 1, 20, 4), (22, 3, 29, 12), (2, 9, 5, 22), (8, 8, 19, 15)]
    corners.append((12, 18, 13, 19))
    instances = np.zeros((H, W), np.uint16)
    for index, (x0, y0, x1, y1) in enumerate(corners):
        instances[y0:y1, x0:x1] = index + 1
    return instances, np.array(corners, np.float32)


def without(example, *keys):
    return {key: value for key, value in example.items() if key not in keys}


def moved_by(name, seed, example=None):
    """(the example, what the transform makes of it): places only where it knows them."""
    given = everything(seed) if example is None else example
    if name == "elastic":
        given = without(given, "points", "clicks", "positive")
    if name == "elastic" or name in REPEATING:
        given = without(given, "boxes", "parts", "classes", "instance_ids")
    return given, ALL[name](given, np.random.default_rng(seed))


def sampled(ramps, points):
    """Bilinear values between pixels' centres, by hand."""
    x, y = (points - 0.5).T
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, down = (x - left)[:, None], (y - top)[:, None]
    upper = ramps[top, left] * (1 - right) + ramps[top, left + 1] * right
    lower = ramps[top + 1, left] * (1 - right) + ramps[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


each = pytest.mark.parametrize("name", ALL)
seeds = pytest.mark.parametrize("seed", range(6))


@each
@seeds
def test_every_entry_is_there_in_its_dtype_and_the_input_is_not_touched(name, seed):
    given, found = moved_by(name, seed)
    assert found is not given and found.keys() == given.keys()
    copy = everything(seed)
    h, w = found["image"].shape[:2]
    for key, value in given.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, copy[key])
            assert found[key].dtype == value.dtype and found[key].flags.c_contiguous
            if value.shape[:2] == (H, W):
                assert found[key].shape == (h, w, *value.shape[2:])


@each
@seeds
def test_what_is_declared_fixed_text_and_numbers_stay(name, seed):
    given, found = moved_by(name, seed)
    for key in ("camera", "count", "name", "kinds"):
        assert found[key] is given[key]


@pytest.mark.parametrize("name", [name for name in ALL if name not in READING])
@seeds
def test_planes_move_as_they_would_alone_and_a_second_entry_as_the_first(name, seed):
    given, found = moved_by(name, seed)
    for plane in range(3):
        alone = {**given, "label": given["masks"][..., plane]}
        label = moved_by(name, seed, alone)[1]["label"]
        np.testing.assert_array_equal(found["masks"][..., plane], label)
        alone = {**given, "weight": given["sensor"][..., plane % 2] + 1}
        weight = moved_by(name, seed, alone)[1]["weight"]
        np.testing.assert_allclose(found["sensor"][..., plane % 2] + 1, weight, atol=1e-5)
    as_label = moved_by(name, seed, {**given, "label": given["masks"]})[1]["label"]
    np.testing.assert_array_equal(found["masks"], as_label)
    as_weight = moved_by(name, seed, {**given, "weight": given["sensor"] + 1})[1]["weight"]
    np.testing.assert_allclose(found["sensor"] + 1, as_weight, atol=1e-5)
    same = {**given, "second": given["image"]}
    np.testing.assert_array_equal(found["image"], moved_by(name, seed, same)[1]["second"])


@each
@seeds
def test_floats_without_a_value_are_nan_where_ids_are_255(name, seed):
    _, found = moved_by(name, seed)
    outside = found["label"] == 255
    # A turn by a degree finds every pixel, and so may an enlarging map.
    assert outside.any() <= (name in FILLING)
    if name != "affine" and (name, seed) != ("rotate", 4):
        assert outside.any() == (name in FILLING)
    np.testing.assert_array_equal(np.isnan(found["depth"]), outside)
    np.testing.assert_array_equal((found["masks"] == 255).all(-1), outside)
    np.testing.assert_array_equal((found["sensor"] == -1).all(-1), outside)
    np.testing.assert_array_equal((found["image"] == 9).all(-1), outside)
    assert (found["instances"][outside] == 0).all() and (found["weight"][outside] == 0).all()
    inside = found["label"][~outside].astype(np.float32) / 7
    np.testing.assert_array_equal(found["depth"][~outside], inside)


@pytest.mark.parametrize("name", REARRANGING)
@seeds
def test_a_point_goes_to_the_pixel_that_carries_its_value(name, seed):
    given, found = moved_by(name, seed)
    x, y = np.floor(found["points"]).astype(int).T
    label = given["label"].ravel()
    # Those that are left are in the order of the pixels that they are the centres of.
    kept = np.isin(label, found["label"])
    np.testing.assert_array_equal(found["label"][y, x], label[kept])
    np.testing.assert_array_equal(found["points"] % 1, 0.5)
    assert len(found["points"]) == (found["label"] != 255).sum()


@pytest.mark.parametrize("name", [*PLACING, *REPEATING])
@seeds
def test_coordinates_drawn_into_the_image_lie_where_the_points_went(name, seed):
    # Off the border, where a pixel would be mixed with its fill.
    points = np.random.default_rng(seed).uniform(6, 18, (400, 2)).astype(np.float32)
    given = {**everything(seed), "points": points}
    given["clicks"], given["positive"] = points, np.arange(400)
    _, found = moved_by(name, seed, given)
    h, w = found["image"].shape[:2]
    clear = ((found["points"] > 2) & (found["points"] < (w - 2, h - 2))).all(-1)
    assert clear.sum() > 20
    places, left = found["points"][clear], found["positive"][clear]
    # Pillow's filter is not quite centred where it shrinks.
    shrinks = name in ("scale", "resize", "short side", "long side")
    atol = 0.1 if shrinks and min(h / H, w / W) < 1 else 2e-3
    if name == "perspective":  # It is not linear between two pixels.
        atol = 2e-2
    np.testing.assert_allclose(sampled(found["image"], places), points[left], atol=atol)
    np.testing.assert_array_equal(found["clicks"], found["points"])


@pytest.mark.parametrize("name", REARRANGING)
@seeds
def test_a_box_stays_the_smallest_around_its_object_and_goes_with_it(name, seed):
    _, found = moved_by(name, seed)
    ids, expected = [], []
    for number in range(1, 7):
        y, x = np.nonzero(found["instances"] == number)
        if len(y):
            ids.append(number)
            expected.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    np.testing.assert_array_equal(found["boxes"], np.reshape(expected, (-1, 4)))
    np.testing.assert_array_equal(found["instance_ids"], ids)
    np.testing.assert_array_equal(found["classes"], (np.array(ids, int) - 1) * 3)
    np.testing.assert_array_equal(found["parts"], found["boxes"])


def test_crops_drop_boxes_and_points_and_what_follows_them():
    left = [moved_by("crop", seed)[1] for seed in range(20)]
    assert {len(found["boxes"]) for found in left} > {4}
    assert min(len(found["clicks"]) for found in left) < 9
    for found in left:
        assert len(found["positive"]) == len(found["clicks"])


@seeds
def test_scaled_boxes_are_those_of_the_scaled_object_to_a_pixel(seed):
    for name in ("scale", "resize"):
        _, found = moved_by(name, seed)
        factor = np.array(found["label"].shape[::-1]) / (W, H)
        np.testing.assert_allclose(found["boxes"], objects()[1] * np.tile(factor, 2), rtol=1e-6)
        for box, number in zip(found["boxes"], found["instance_ids"], strict=True):
            y, x = np.nonzero(found["instances"] == number)
            if len(y):  # The smallest object may fall between the pixels.
                drawn = (x.min(), y.min(), x.max() + 1, y.max() + 1)
                np.testing.assert_allclose(drawn, box, atol=0.51)


@seeds
def test_a_turned_box_without_a_mask_is_the_smallest_upright_one_around_its_corners(seed):
    given, found = moved_by("rotate", seed, without(everything(seed), "instance_ids"))
    corners = given["boxes"][:, [[0, 1], [2, 1], [2, 3], [0, 3]]].reshape(-1, 2)
    as_points = {**without(given, "clicks", "positive"), "points": corners + np.float32(40)}
    # On a canvas so large that no corner is lost, turned about the same centre.
    for key, value in given.items():
        if isinstance(value, np.ndarray) and value.shape[:2] == (H, W):
            around = [(40, 40), (40, 40)] + [(0, 0)] * (value.ndim - 2)
            as_points[key] = np.pad(value, around)
    turned = moved_by("rotate", seed, as_points)[1]["points"].reshape(-1, 4, 2) - 40
    expected = np.concatenate([turned.min(1), turned.max(1)], -1).clip(0, (W, H, W, H))
    kept = found["classes"] // 3
    np.testing.assert_allclose(found["boxes"], expected[kept], atol=1e-4)
    for box, number in zip(found["boxes"], kept + 1, strict=True):
        y, x = np.nonzero(found["instances"] == number)
        inside = (x + 0.5 > box[0] - 0.01) & (x + 0.5 < box[2] + 0.01)
        assert (inside & (y + 0.5 > box[1] - 0.01) & (y + 0.5 < box[3] + 0.01)).all()


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("elastic", "points", "RandomElastic does not know where places go"),
        ("elastic", "boxes", "RandomElastic does not know where places go"),
        ("mirror", "boxes", "MirrorPad repeats parts of the image"),
        ("mirror", "parts", "MirrorPad repeats parts of the image"),
        ("rotate reflected", "boxes", "RandomRotate repeats parts of the image"),
        ("affine reflected", "boxes", "RandomAffine repeats parts of the image"),
    ],
)
def test_a_transform_that_cannot_move_places_refuses_by_name(name, key, words):
    given = without(everything(), *({*PLACES, *OF_PLACES} - {key}))
    with pytest.raises(InputError, match=f"^Example 'scan 7': '{key}': {words}"):
        ALL[name](given, np.random.default_rng(0))
    ALL[name](without(given, key), np.random.default_rng(0))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.float64])
def test_a_turn_keeps_ids_that_float32_cannot_hold(dtype):
    label = np.full((8, 8), 2**24 + 1, dtype)
    given = {"image": np.zeros((8, 8, 1), np.uint8), "label": label}
    found = RandomRotate(90.0, probability=1.0)(given, np.random.default_rng(1))["label"]
    assert (found[3:5, 3:5] == 2**24 + 1).all() and found.dtype == dtype


@pytest.mark.parametrize("dtype", [bool, np.int8])
@pytest.mark.parametrize("name", ["crop", "rotate"])
def test_a_label_whose_dtype_cannot_hold_255_is_refused_where_pixels_may_be_filled(name, dtype):
    given = {"image": np.zeros((H, W, 1), np.float32), "label": np.zeros((H, W), dtype)}
    message = f"'label' is {np.dtype(dtype)}, which cannot hold 255.*return it as uint8"
    with pytest.raises(InputError, match=message):
        ALL[name](given, np.random.default_rng(0))
    assert ALL["flip"](given, np.random.default_rng(0))["label"].dtype == dtype
