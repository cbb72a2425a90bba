"""Boxes, masks, ids, classes and crowds of objects move together, whatever moves them."""

import pathlib
import runpy
import types

import numpy as np
import pytest

from segjax.data.object_checks import check_objects
from segjax.errors import InputError
from segjax.transforms.albumentations import Albumentations
from segjax.transforms.crops import ForegroundCrop
from segjax.transforms.cutout import Cutout
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale, Resize, ShrinkTo
from segjax.transforms.objects import Canvas
from segjax.transforms.rand_augment import RandAugment
from segjax.transforms.resize_sides import ResizeSides
from segjax.transforms.scale_crop import RandomScaleCrop

TESTS = pathlib.Path(__file__).parents[1]
made_objects = types.SimpleNamespace(**runpy.run_path(str(TESTS / "made_objects.py")))
ENTRIES = runpy.run_path(str(TESTS / "transforms" / "test_entries.py"))

MOVING = {
    **{name: each for name, each in ENTRIES["ALL"].items() if name not in ENTRIES["REPEATING"]},
    "foreground crop": ForegroundCrop((17, 19), (1, 2), probability=1.0),
    "half": RandomScale(0.4, 0.6),
    "shrink": ShrinkTo(20),
    "short and long side": ResizeSides((15, 21), 30),
    "scale and crop": RandomScaleCrop((21, 25)),
    "canvas": Canvas((32, 64)),
    "cutout, label kept": Cutout(9, probability=1.0),
    "some operations": RandAugment(3, 9.0),
}
"""Every transform that takes boxes and moves pixels."""

each = pytest.mark.parametrize("name", MOVING)
seeds = pytest.mark.parametrize("seed", range(8))


def moved(name, seed):
    given = made_objects.example(9, size=(24, 30), seed=seed, crowds=2)
    return given, MOVING[name](given, np.random.default_rng(seed))


@each
@seeds
def test_each_box_encloses_its_moved_mask_and_nothing_remains_of_dropped_objects(name, seed):
    given, found = moved(name, seed)
    check_objects(found, made_objects.NAMES, made_objects.THINGS, transformed=True)
    masks = made_objects.masks_of(found)
    assert sorted(found["instance_ids"].tolist()) == sorted(masks)
    for box, number in zip(found["boxes"], found["instance_ids"].tolist(), strict=True):
        x0, y0, x1, y1 = made_objects.box(masks[number])
        assert (box[:2] <= np.array([x0, y0]) + 1).all(), (number, box)
        assert (box[2:] >= np.array([x1, y1]) - 1).all(), (number, box)
    # What is said of an object goes with it, in the order of the file.
    ids = given["instance_ids"].tolist()
    left = [ids.index(number) for number in found["instance_ids"].tolist()]
    assert left == sorted(left)
    for key in ("classes", "crowd"):
        np.testing.assert_array_equal(found[key], given[key][left])


@pytest.mark.parametrize("name", ["crop", "half", "cutout", "rotate", "scale and crop"])
def test_some_objects_go_and_others_stay(name):
    found = [len(moved(name, seed)[1]["boxes"]) for seed in range(8)]
    assert min(found) < 9 and max(found) > 0


def with_square_hole():
    """An L, whose box a crop cuts to a part without any of its pixels, and a free square."""
    given = made_objects.example(0, size=(20, 20))
    layers = np.zeros((20, 20, 1), np.uint16)
    layers[2:18, 2:4, 0] = layers[16:18, 2:18, 0] = 7
    layers[5:9, 10:14, 0] = 4
    return {
        **given,
        "instances": layers,
        "boxes": np.array([[9.5, 4.5, 14.5, 9.5], [2, 2, 18, 18]], np.float32),
        "classes": np.array([2, 1], np.int32),
        "instance_ids": np.array([4, 7], np.int32),
        "crowd": np.array([False, True]),
    }


def cut(given, top, left, size):
    """The window through a crop whose only place it is."""
    h, w = given["label"].shape
    inner = {
        k: v[top : min(top + size[0], h), left : min(left + size[1], w)]
        if k in ("image", "label", "instances")
        else v
        for k, v in given.items()
    }
    inner["boxes"] = given["boxes"] - np.array([left, top, left, top], np.float32)
    return RandomCrop(size)(inner, np.random.default_rng(0))


def test_an_object_whose_box_has_area_but_no_pixel_in_the_crop_is_dropped():
    found = cut(with_square_hole(), 4, 6, (8, 10))
    assert found["instance_ids"].tolist() == [4] and found["classes"].tolist() == [2]
    assert found["crowd"].tolist() == [False]
    # Whole, so it keeps the box that was drawn.
    np.testing.assert_array_equal(found["boxes"], [[3.5, 0.5, 8.5, 5.5]])


def test_a_box_that_the_border_cuts_becomes_the_smallest_around_what_is_left():
    found = cut(with_square_hole(), 6, 0, (14, 12))
    assert found["instance_ids"].tolist() == [4, 7]
    np.testing.assert_array_equal(found["boxes"], [[10, 0, 12, 3], [2, 0, 12, 12]])


@pytest.mark.parametrize(
    "transform", [RandomFlip(1.0), Resize((40, 30)), RandomFlip(0.0), Canvas(32)]
)
def test_a_whole_upright_box_keeps_what_was_drawn(transform):
    given = with_square_hole()
    found = transform(given, np.random.default_rng(0))
    x0, y0, x1, y1 = given["boxes"][0]
    expected = {
        RandomFlip(1.0): (20 - x1, y0, 20 - x0, y1),
        Resize((40, 30)): (1.5 * x0, 2 * y0, 1.5 * x1, 2 * y1),
    }.get(transform, (x0, y0, x1, y1))
    np.testing.assert_allclose(found["boxes"][0], expected, rtol=1e-6)


def test_a_one_pixel_object_that_falls_between_pixels_is_dropped():
    given = made_objects.example(0, size=(8, 8))
    given["instances"][3, 3], given["instances"][4, 4] = 5, 6
    given |= {
        "boxes": np.array([[3, 3, 4, 4], [4, 4, 5, 5]], np.float32),
        "classes": np.array([1, 2], np.int32),
        "instance_ids": np.array([5, 6], np.int32),
        "crowd": np.zeros(2, bool),
    }
    found = Resize(4)(given, np.random.default_rng(0))
    number = int(found["instances"].max())
    assert found["instance_ids"].tolist() == [number] and len(found["boxes"]) == 1
    assert found["classes"].tolist() == [number - 4]


def test_a_hidden_object_stays_unless_its_label_is_ignored():
    given = with_square_hole()
    kept = Cutout(100, probability=1.0)(given, np.random.default_rng(0))
    assert kept["instance_ids"].tolist() == [4, 7]
    gone = Cutout(100, ignore=True, probability=1.0)(given, np.random.default_rng(0))
    assert gone["boxes"].shape == (0, 4) and not gone["instances"].any()


def test_layers_without_listed_ids_and_boxes_without_masks_move_as_before():
    given = with_square_hole()
    alone = {k: v for k, v in given.items() if k != "instance_ids"}
    found = cut(alone, 4, 6, (8, 10))
    np.testing.assert_array_equal(found["boxes"], [[3.5, 0.5, 8.5, 5.5], [0, 0, 10, 8]])


def test_a_deformation_moves_objects_by_their_masks_and_refuses_boxes_alone():
    _, found = moved("elastic", 3)
    masks = made_objects.masks_of(found)
    boxes = [made_objects.box(masks[number]) for number in found["instance_ids"].tolist()]
    np.testing.assert_array_equal(found["boxes"], boxes)
    given = made_objects.example(3, size=(24, 30))
    alone = {k: v for k, v in given.items() if k not in ("instances", "instance_ids")}
    with pytest.raises(InputError, match="RandomElastic does not know where places go"):
        MOVING["elastic"](alone, np.random.default_rng(0))


@pytest.mark.parametrize("name", ENTRIES["REPEATING"])
def test_a_mirrored_border_is_refused_as_its_objects_would_be_two(name):
    given = made_objects.example(3, size=(24, 30))
    with pytest.raises(InputError, match="'boxes': .* repeats parts of the image"):
        ENTRIES["ALL"][name](given, np.random.default_rng(0))


def test_a_pipeline_of_albumentations_moves_objects_by_their_masks():
    pytest.importorskip("albumentations")
    import albumentations

    given = made_objects.example(6, size=(24, 30))
    flip = Albumentations(albumentations.HorizontalFlip(p=1.0))
    found, same = (t(given, np.random.default_rng(0)) for t in (flip, RandomFlip(1.0)))
    for key in ("boxes", "classes", "instance_ids", "crowd", "instances"):
        np.testing.assert_array_equal(found[key], same[key])


def one_object(size, columns, box):
    """An example of one object that fills some columns."""
    given = made_objects.example(0, size=size)
    given["instances"][:, slice(*columns)] = 3
    return {
        **given,
        "boxes": np.array([box], np.float32),
        "classes": np.array([1], np.int32),
        "instance_ids": np.array([3], np.int32),
        "crowd": np.zeros(1, bool),
    }


@pytest.mark.parametrize("beyond", [-1e-5, 0.0, 1e-5])
@pytest.mark.parametrize("size", [(7, 9), (13, 31), (40, 50)])
def test_a_box_that_touches_the_border_up_to_rounding_stays_what_was_drawn(size, beyond):
    """Its mask is smaller, so a box around the mask would be another one."""
    given = one_object((20, 25), (10, 20), [6, -beyond, 25 + beyond, 20 + beyond])
    found = Resize(size)(given, np.random.default_rng(0))
    h, w = size
    np.testing.assert_allclose(found["boxes"], [[6 * w / 25, 0, w, h]], atol=2e-5)
    check_objects(found, made_objects.NAMES, made_objects.THINGS, transformed=True)
    x0, y0, x1, y1 = found["boxes"][0]
    assert x0 >= 0 and y0 >= 0 and x1 <= w and y1 <= h


def test_a_box_that_the_border_cuts_by_more_than_rounding_follows_its_mask():
    given = one_object((20, 25), (10, 20), [6, 0, 25.01, 20])
    found = Resize((40, 50))(given, np.random.default_rng(0))
    np.testing.assert_array_equal(found["boxes"], [[20, 0, 40, 40]])


@pytest.mark.parametrize("seed", range(6))
def test_boxes_of_images_wider_than_65536_pixels_stay_in_them(seed):
    rng = np.random.default_rng(seed)
    w = int(rng.integers(66_000, 80_000))
    given = one_object((2, w), (w - 7, w - 2), [w - 8.5, 0, w, 2])
    new = int(rng.integers(66_000, 80_000))
    found = Resize((2, new))(given, rng)
    check_objects(found, made_objects.NAMES, made_objects.THINGS, transformed=True)
    np.testing.assert_allclose(found["boxes"], [[new - 8.5 * new / w, 0, new, 2]], atol=0.02)
    flipped = RandomFlip(1.0)(found, rng)
    check_objects(flipped, made_objects.NAMES, made_objects.THINGS, transformed=True)
    np.testing.assert_allclose(flipped["boxes"], [[0, 0, 8.5 * new / w, 2]], atol=0.02)


def test_a_box_that_float32_makes_a_line_follows_its_mask():
    given = one_object((2, 70_000), (10, 12), [10.25, 0, 10.251, 2])
    shifted = RandomFlip(1.0)(given, np.random.default_rng(0))
    np.testing.assert_array_equal(shifted["boxes"], [[69_988, 0, 69_990, 2]])
    check_objects(shifted, made_objects.NAMES, made_objects.THINGS, transformed=True)


def test_of_boxes_alone_a_part_no_wider_than_rounding_errors_is_dropped():
    given = one_object((20, 20), (4, 6), [4, 0, 10 + 1e-5, 20])
    alone = {k: v for k, v in given.items() if k not in ("instances", "instance_ids")}
    assert len(cut_alone(alone, 10)["boxes"]) == 0
    np.testing.assert_allclose(cut_alone(alone, 9)["boxes"], [[0, 0, 1, 20]], atol=2e-5)
    # A box that is so narrow in the file is not cut, and stays.
    alone["boxes"][0] = 12, 0, 12.0005, 20
    assert len(cut_alone(alone, 10)["boxes"]) == 1


def cut_alone(given, left):
    inner = {k: v[:, left:] if k in ("image", "label") else v for k, v in given.items()}
    inner["boxes"] = given["boxes"] - np.array([left, 0, left, 0], np.float32)
    size = inner["label"].shape
    return RandomCrop(size)(inner, np.random.default_rng(0))
