"""Whatever is wrong with an object is said in one line, with its example and its id."""

import pathlib
import runpy
import types

import numpy as np
import pytest

from segjax.data.object_checks import check_objects
from segjax.errors import InputError

MADE = pathlib.Path(__file__).parents[1] / "made_objects.py"
made_objects = types.SimpleNamespace(**runpy.run_path(str(MADE)))

NAMES, THINGS = made_objects.NAMES, made_objects.THINGS


def good():
    """Three objects: 3 (x 1 … 4), 5 (one pixel) and 9, a crowd that covers part of 3."""
    layers = np.zeros((10, 12, 2), np.uint16)
    layers[2:5, 1:4, 0], layers[8, 11, 0], layers[4:7, 2:9, 1] = 3, 5, 9
    return {
        "image": np.zeros((10, 12, 3), np.uint8),
        "label": np.zeros((10, 12), np.uint8),
        "boxes": np.array([[1, 2, 4, 5], [11, 8, 12, 9], [2, 4, 9, 7]], np.float32),
        "classes": np.array([1, 2, 2], np.int32),
        "instance_ids": np.array([3, 5, 9], np.int32),
        "crowd": np.array([False, False, True]),
        "instances": layers,
        "name": "scan 7",
    }


def packed():
    slots = {
        "boxes": np.array([[1, 2, 4, 5], [0, 0, 0, 0]], np.float32),
        "classes": np.array([1, 0], np.int32),
        "objects": np.array([True, False]),
        "masks": np.zeros((2, 10, 2), np.uint8),
        "size": np.array([9, 11], np.int32),
    }
    plain = {key: good()[key] for key in ("image", "label", "name")}
    return {**plain, **slots}


def put(key, place, value):
    def change(example):
        example[key] = example[key].copy()
        example[key][place] = value
        return example

    return change


def cast(key, dtype):
    return lambda example: {**example, key: example[key].astype(dtype)}


def lacks(key):
    return lambda example: {k: v for k, v in example.items() if k != key}


FAULTS = [
    (lacks("crowd"), "has no 'crowd': let the dataset give"),
    (lambda e: {**e, "boxes": e["boxes"].tolist()}, "has no 'boxes'"),
    (cast("boxes", np.float64), r"'boxes' must be float32 of shape \(3, 4\), got float64"),
    (lambda e: {**e, "boxes": e["boxes"][:2]}, r"'classes' must be int32 of shape \(2,\)"),
    (cast("classes", np.int64), "'classes' must be int32"),
    (cast("instance_ids", np.uint16), "'instance_ids' must be int32"),
    (cast("crowd", np.uint8), r"'crowd' must be bool of shape \(3,\), got uint8"),
    (cast("instances", np.int32), r"'instances' must be uint16 of shape \(10, 12, 2\)"),
    (lambda e: {**e, "instances": e["instances"][..., 0]}, r"of shape \(10, 12, 1\)"),
    (lambda e: {**e, "instances": e["instances"][1:]}, r"shape \(10, 12, 2\), got .* \(9, "),
    (put("instance_ids", 0, 0), r"lists the object 0 1 time\(s\): number its objects from 1"),
    (put("instance_ids", 0, 5), r"lists the object 5 2 time\(s\)"),
    (put("instances", (8, 11, 0), 0), "object 5 has no pixel in 'instances': leave it out"),
    (put("instances", (0, 0, 1), 8), r"'instances' has 1 pixel\(s\) of the object 8, which"),
    (
        put("boxes", (1, 2), np.nan),
        r"the box \[11.0, 8.0, nan, 9.0\] of object 5 is not finite",
    ),
    (put("boxes", (0, 2), 1), r"the box \[1.0, 2.0, 1.0, 5.0\] of object 3 has no area"),
    (put("boxes", (2, 3), 3), "of object 9 has no area: mend it"),
    (put("boxes", (1, 2), 12.5), "of object 5 is not inside of the image of 10 x 12 pixels"),
    (put("boxes", (1, 0), -1), "of object 5 is not inside"),
    (put("classes", 1, 3), r"object 5 has the class 3 \(wall\), which is not one of the .* 2 "),
    (put("classes", 2, 0), r"object 9 has the class 0 \(background\)"),
    (put("classes", 2, 7), "object 9 has the class 7, which is not"),
]

SLOT_FAULTS = [
    (lacks("classes"), "'classes' must be int32 of shape .* got NoneType"),
    (cast("objects", np.int32), r"'objects' must be bool of shape \(2,\)"),
    (
        lambda e: {**e, "masks": e["masks"][..., :1]},
        r"'masks' must be uint8 of shape \(2, 10, 2",
    ),
    (put("boxes", (0, 2), 11.5), r"slot 0 is not inside of the image of 9 x 11 pixels"),
    (put("objects", 1, True), "slot 1 has no area"),
    (put("classes", 0, 3), "slot 0 has the class 3"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_what_is_wrong_with_an_object_is_one_line_with_example_and_id(change, message):
    check_objects(good(), NAMES, THINGS)
    with pytest.raises(InputError, match=f"^Example 'scan 7'.*{message}") as error:
        check_objects(change(good()), NAMES, THINGS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("change", "message"), SLOT_FAULTS)
def test_what_is_wrong_with_a_slot_is_one_line_with_example_and_slot(change, message):
    check_objects(packed(), NAMES, THINGS, transformed=True)
    with pytest.raises(InputError, match=f"^Example 'scan 7' after its tr.*{message}") as error:
        check_objects(change(packed()), NAMES, THINGS, transformed=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_any_number_of_objects_passes(count):
    check_objects(made_objects.example(count, crowds=count // 3), NAMES, THINGS)


def test_slots_may_have_no_masks():
    check_objects(lacks("masks")(packed()), NAMES, THINGS)


NEAR = np.float32(1e-4)


@pytest.mark.parametrize(
    "box",
    [
        [-NEAR, 2, 4, 5],
        [1, 2, 12 + NEAR, 10 + NEAR],
        [3.25, 2.25, 3.75, 2.75],
        [11.5, 9.5, 12, 10],
        [0, 0, 1e-6, 10],
    ],
)
def test_boxes_that_touch_the_border_up_to_rounding_or_are_smaller_than_a_pixel_pass(box):
    check_objects(put("boxes", 0, box)(good()), NAMES, THINGS)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([-0.01, 2, 4, 5], "is not inside"),
        ([1, 2, 12.01, 5], "is not inside"),
        ([12, 2, 12 + NEAR, 5], "is not inside"),
        ([1, -NEAR, 4, 0], "is not inside"),
        ([4, 2, 4, 5], "has no area"),
        ([np.float32(4.1), 2, np.float32(4.1) + 1e-9, 5], "has no area"),
    ],
)
def test_boxes_beyond_the_border_or_without_area_are_refused_however_close(box, message):
    with pytest.raises(InputError, match=f"of object 3 {message}"):
        check_objects(put("boxes", 0, box)(good()), NAMES, THINGS)


@pytest.mark.parametrize(("beyond", "passes"), [(2**-7, True), (2**-4, False)])
def test_the_border_of_a_wide_image_is_as_exact_as_float32(beyond, passes):
    """Beyond 2¹⁶ the numbers of float32 lie 2⁻⁷ apart."""
    example = good()
    layers = np.zeros((2, 70_000, 1), np.uint16)
    layers[:, -3:] = 3
    example |= {
        "image": np.zeros((2, 70_000, 3), np.uint8),
        "instances": layers,
        "boxes": np.array([[69_997, 0, 70_000 + beyond, 2]], np.float32),
        **{key: example[key][:1] for key in ("classes", "instance_ids", "crowd")},
    }
    if passes:
        check_objects(example, NAMES, THINGS)
    else:
        with pytest.raises(InputError, match="is not inside of the image of 2 x 70000"):
            check_objects(example, NAMES, THINGS)
