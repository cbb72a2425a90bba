"""The merge of objects and stuff against a slow loop over pixels, and by hand."""

import numpy as np
import pytest

from segjax.detection.panoptic_merge import merge_panoptic
from segjax.objects import Objects, encoded

SIZE = (14, 17)
THING = 255


def _objects(masks, scores, classes=None):
    n = len(masks)
    boxes = np.zeros((n, 4), np.float32)
    classes = np.zeros(n, np.int32) if classes is None else np.asarray(classes, np.int32)
    rles = tuple(encoded(np.asarray(mask, bool)) for mask in masks)
    return Objects(SIZE, boxes, classes, np.asarray(scores, float), np.zeros(n, bool), rles)


def _slow(objects, stuff, *, score, overlap, stuff_area):
    """Returns {pixel: segment} and the classes of segments, pixel by pixel."""
    taken, classes = {}, []
    todo = [i for i in range(len(objects)) if objects.scores[i] >= score]
    for i in sorted(todo, key=lambda i: (-objects.scores[i], i)):
        pixels = {(int(y), int(x)) for y, x in np.argwhere(objects.mask(i))}
        clash = [pixel for pixel in pixels if pixel in taken]
        if pixels and len(clash) / len(pixels) <= overlap:
            classes.append(int(objects.classes[i]))
            taken |= {pixel: len(classes) for pixel in pixels if pixel not in taken}
    for class_id in range(THING):
        pixels = [tuple(p) for p in np.argwhere(stuff == class_id).tolist()]
        free = [pixel for pixel in pixels if pixel not in taken]
        if free and len(free) >= stuff_area:
            classes.append(class_id)
            taken |= {pixel: len(classes) for pixel in free}
    return taken, classes


def _rectangle(rng):
    mask = np.zeros(SIZE, bool)
    y, x = (rng.integers(0, side) for side in SIZE)
    mask[y : y + rng.integers(0, 9), x : x + rng.integers(0, 9)] = True
    return mask


@pytest.mark.parametrize("bounds", [(0.5, 0.5, 20), (0.0, 0.2, 1), (0.7, 1.0, 60)], ids=str)
def test_random_scenes_are_merged_as_the_slow_loop_merges_them(bounds):
    options = dict(zip(("score", "overlap", "stuff_area"), bounds, strict=True))
    rng = np.random.default_rng(0)
    skipped = 0
    for _ in range(60):
        masks = [_rectangle(rng) for _ in range(rng.integers(0, 9))]
        scores = rng.integers(0, 11, len(masks)) / 10  # With ties, and some at the bound.
        objects = _objects(masks, scores, rng.integers(0, 3, len(masks)))
        stuff = rng.choice([3, 4, 5, THING], SIZE)
        stuff[:7] = 4
        found = merge_panoptic(objects, stuff, **options)
        taken, classes = _slow(objects, stuff, **options)
        expected = np.zeros(SIZE, int)
        for pixel, number in taken.items():
            expected[pixel] = number
        np.testing.assert_array_equal(found.ids, expected)
        assert [each.class_id for each in found.segments] == classes
        assert [each.id for each in found.segments] == [*range(1, len(classes) + 1)]
        skipped += len(masks) - sum(each.is_thing for each in found.segments)
    assert skipped > 20


def test_half_of_a_mask_may_be_taken_and_more_may_not():
    first, half, more = (np.zeros(SIZE, bool) for _ in range(3))
    first[0:4, 0:4] = True
    half[0:4, 2:6] = True  # 8 of 16 pixels are taken.
    more[8:12, 0:4] = True
    more[0, 0:4] = True  # 4 of 20 pixels are taken.
    more[2:4, 0:7] = True  # 12 more of 14, so 16 of 34.
    nothing = np.full(SIZE, THING)
    objects = _objects([first, half, first, more], [0.9, 0.8, 0.7, 0.6], [1, 2, 3, 4])
    found = merge_panoptic(objects, nothing)
    assert [each.class_id for each in found.segments] == [1, 2, 4]
    assert [(found.ids == i).sum() for i in (1, 2, 3)] == [16, 8, 18]
    found = merge_panoptic(objects, nothing, overlap=15 / 34)
    assert [each.class_id for each in found.segments] == [1, 4]


def test_objects_below_the_least_score_leave_their_pixels_to_stuff():
    mask = np.ones(SIZE, bool)
    stuff = np.full(SIZE, 7)
    found = merge_panoptic(_objects([mask], [0.49]), stuff, stuff_area=1)
    assert [(each.class_id, each.is_thing) for each in found.segments] == [(7, False)]
    found = merge_panoptic(_objects([mask], [0.5]), stuff, stuff_area=1)
    assert [(each.score, each.is_thing) for each in found.segments] == [(0.5, True)]


def test_stuff_counts_the_pixels_that_objects_leave_to_it():
    mask = np.zeros(SIZE, bool)
    mask[0] = True
    stuff = np.full(SIZE, 7)
    rest = SIZE[0] * SIZE[1] - SIZE[1]
    for area, classes in ((rest, [0, 7]), (rest + 1, [0])):
        found = merge_panoptic(_objects([mask], [1.0]), stuff, stuff_area=area)
        assert [each.class_id for each in found.segments] == classes


def test_the_class_thing_is_never_written():
    found = merge_panoptic(_objects([], []), np.full(SIZE, THING), stuff_area=1)
    assert found.segments == () and not found.ids.any()
