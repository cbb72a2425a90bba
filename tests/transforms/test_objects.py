"""A canvas of one size and a fixed number of objects: one program serves 0 to 100 objects."""

import pathlib
import runpy
import types

import jax
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.entries import Declare
from segjax.transforms.kinds import Nearest
from segjax.transforms.object_pixels import box_of, packed, pixels_of
from segjax.transforms.objects import Canvas, PackObjects

RNG = np.random.default_rng(0)
MADE = pathlib.Path(__file__).parents[1] / "made_objects.py"
made_objects = types.SimpleNamespace(**runpy.run_path(str(MADE)))


def unpacked(batch):
    width = batch["image"].shape[1]
    return np.unpackbits(batch["masks"], axis=-1, count=width).astype(bool)


@pytest.mark.parametrize("seed", range(5))
def test_the_pixels_of_objects_are_those_of_their_masks(seed):
    given = made_objects.example(9, seed=seed)
    masks = made_objects.masks_of(given)
    found = pixels_of(given["instances"], given["instance_ids"])
    for number, pixels in zip(given["instance_ids"].tolist(), found, strict=True):
        np.testing.assert_array_equal(np.sort(pixels), np.flatnonzero(masks[number]))
        np.testing.assert_array_equal(box_of(pixels, 50), made_objects.box(masks[number]))
        np.testing.assert_array_equal(packed(pixels, (40, 50)), np.packbits(masks[number], -1))
    assert [len(each) for each in pixels_of(given["instances"], [1, 2, 60000])] == [0, 0, 0]
    assert not packed(np.zeros(0, np.int64), (3, 9)).any()


@pytest.mark.parametrize("count", [0, 1, 40, 100])
def test_slots_hold_the_objects_in_their_order_and_nothing_behind_them(count):
    given = made_objects.example(count, size=(24, 37), seed=2)
    found = PackObjects(100)(given, RNG)
    assert found["objects"].tolist() == [True] * count + [False] * (100 - count)
    np.testing.assert_array_equal(found["boxes"][:count], given["boxes"])
    np.testing.assert_array_equal(found["classes"][:count], given["classes"])
    assert not found["boxes"][count:].any() and not found["classes"][count:].any()
    masks, truth = unpacked(found), made_objects.masks_of(given)
    for slot, number in enumerate(given["instance_ids"].tolist()):
        np.testing.assert_array_equal(masks[slot], truth[number])
    assert not masks[count:].any() and found["masks"].shape == (100, 24, 5)
    kinds = {key: str(found[key].dtype) for key in ("boxes", "classes", "objects", "masks")}
    assert kinds == {
        "boxes": "float32",
        "classes": "int32",
        "objects": "bool",
        "masks": "uint8",
    }
    assert not {"instance_ids", "crowd", "instances"} & found.keys()
    assert found["label"] is given["label"] and "masks" not in given


def test_crowds_get_no_slot():
    given = made_objects.example(7, crowds=2)
    given["crowd"] = np.array([False, True, False, False, True, False, False])
    found = PackObjects(8)(given, RNG)
    assert found["objects"].sum() == 5
    np.testing.assert_array_equal(found["boxes"][:5], given["boxes"][~given["crowd"]])
    full = PackObjects(5)(given, RNG)
    assert full["objects"].all()


def test_more_objects_than_slots_are_refused_or_the_largest_are_kept_in_order():
    given = made_objects.example(101, size=(24, 37))
    with pytest.raises(InputError, match=r"'made 0' has 101 objects for the 100 .*most=101\)"):
        PackObjects(100)(given, RNG)
    found = PackObjects(100, excess="largest")(given, RNG)
    area = np.prod(given["boxes"][:, 2:] - given["boxes"][:, :2], axis=-1)
    # Of equally small ones the last goes.
    least = len(area) - 1 - int(np.argmin(area[::-1]))
    np.testing.assert_array_equal(found["boxes"], np.delete(given["boxes"], least, axis=0))
    np.testing.assert_array_equal(found["classes"], np.delete(given["classes"], least))


def test_boxes_alone_need_no_masks():
    given = made_objects.example(3)
    found = PackObjects(4, masks=False)(given, RNG)
    assert "masks" not in found and found["objects"].sum() == 3
    alone = {key: given[key] for key in ("image", "label", "boxes", "classes", "name")}
    same = PackObjects(4, masks=False)(alone, RNG)
    np.testing.assert_array_equal(same["boxes"], found["boxes"])
    message = "'made 0' has no 'instance_ids', 'crowd', 'instances'.*masks=False"
    with pytest.raises(InputError, match=message):
        PackObjects(4)(alone, RNG)
    with pytest.raises(InputError, match="has no 'boxes'.*comes once"):
        PackObjects(4, masks=False)({"image": given["image"], "name": "a"}, RNG)
    with pytest.raises(InputError, match="PackObjects comes after PackObjects, .* last"):
        PackObjects(4)(PackObjects(4, masks=False)(given, RNG), RNG)


def test_a_canvas_has_the_example_at_its_upper_left_and_fill_around_it():
    given = made_objects.example(6)
    given["weight"] = np.ones((40, 50), np.float32)
    found = Canvas((64, 57), fill=9.0)(given, RNG)
    assert found["size"].tolist() == [40, 50] and found["size"].dtype == np.int32
    for key, outside in (("image", 9), ("label", 255), ("instances", 0), ("weight", 0)):
        np.testing.assert_array_equal(found[key][:40, :50], given[key])
        rest = found[key].copy()
        rest[:40, :50] = outside
        np.testing.assert_array_equal(rest, np.full_like(rest, outside))
    for key in ("boxes", "classes", "instance_ids", "crowd"):
        np.testing.assert_array_equal(found[key], given[key])
    assert (Canvas((64, 57))(given, RNG)["image"][-1, -1] == (124, 116, 104)).all()


@pytest.mark.parametrize(
    ("canvas", "size", "expected"),
    [
        (Canvas((32, 64)), (20, 30), (32, 64)),
        (Canvas((32, 64)), (30, 20), (64, 32)),
        (Canvas((64, 32)), (20, 30), (32, 64)),
        (Canvas((32, 64)), (30, 30), (32, 64)),
        (Canvas(64), (30, 20), (64, 64)),
        (Canvas(multiple=32), (33, 64), (64, 64)),
        (Canvas(multiple=1), (33, 65), (33, 65)),
    ],
)
def test_a_canvas_of_two_sides_turns_with_the_image(canvas, size, expected):
    found = canvas(made_objects.example(2, size=size), RNG)
    assert found["image"].shape[:2] == found["label"].shape == expected
    assert found["size"].tolist() == list(size)


def test_the_group_of_an_image_decides_where_resizing_made_it_a_square():
    given = {**made_objects.example(2, size=(30, 30)), "portrait": True}
    assert Canvas((32, 64))(given, RNG)["label"].shape == (64, 32)


def test_an_image_larger_than_its_canvas_is_refused_with_the_remedy():
    message = r"'made 0': the image of 40 x 50 .* canvas of 32 x 64: put ResizeSides\(32, 64\)"
    with pytest.raises(InputError, match=message):
        Canvas((32, 64))(made_objects.example(), RNG)


def test_a_box_outside_of_the_image_does_not_appear_in_the_padding():
    given = made_objects.example(2)
    alone = {key: given[key] for key in ("image", "label", "classes", "name")}
    alone["boxes"] = np.array([[45, 5, 60, 9], [52, 5, 60, 9]], np.float32)
    found = Canvas(64)(alone, RNG)
    np.testing.assert_array_equal(found["boxes"], [[45, 5, 50, 9]])
    np.testing.assert_array_equal(found["classes"], given["classes"][:1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Canvas(), "one of size and multiple"),
        (lambda: Canvas(3, multiple=4), "one of size and multiple"),
        (lambda: Canvas((3, 0)), "positive integer or"),
        (lambda: Canvas(multiple=0), "multiple >= 1"),
        (lambda: Canvas(8, fill="red"), "finite number"),
        (lambda: PackObjects(0), "most >= 1"),
        (lambda: PackObjects(masks=1), "True or False"),
        (lambda: PackObjects(excess="first"), "'refuse' or 'largest'"),
    ],
)
def test_wrong_fields_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_entries_of_no_kind_are_refused_and_declared_ones_move():
    given = {**made_objects.example(2), "depth": np.ones((40, 50), np.float32)}
    for transform in (Canvas(64), PackObjects(4)):
        with pytest.raises(InputError, match="how to move the entry 'depth'"):
            transform(given, RNG)
    given = Declare("depth", Nearest(fill=0))(given, RNG)
    found = PackObjects(4)(Canvas(64)(given, RNG), RNG)
    assert found["depth"].sum() == 2000


def test_one_compiled_program_serves_images_of_0_to_40_objects():
    traces = []

    @jax.jit
    def count(batch):
        traces.append(1)
        return batch["objects"].sum() + batch["masks"].sum() + batch["boxes"].sum()

    for number in range(41):
        size = (20 + number % 5, 40 - number % 7)
        found = made_objects.example(number, size=size, seed=number, crowds=number // 9)
        for transform in (Canvas((32, 48)), PackObjects(40)):
            found = transform(found, RNG)
        arrays = {k: v for k, v in found.items() if isinstance(v, np.ndarray)}
        assert found["objects"].sum() == number - number // 9
        count(arrays)
    assert len(traces) == count._cache_size() == 1
