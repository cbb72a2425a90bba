"""Objects of an image: layers, run lengths, true segments."""

import numpy as np
import pytest

from segjax.objects import ENTRIES, Objects, PanopticMap, decoded, encoded, layered

SIZE = (6, 9)


def rectangle(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


MASKS = [rectangle(0, 0, 3, 4), rectangle(2, 2, 5, 6), rectangle(4, 7, 6, 9)]


def example(masks, ids=(1, 2, 3)) -> dict:
    boxes = np.array([[0, 0, 4, 3], [2, 2, 6, 5], [7, 4, 9, 6]], np.float32)
    return {
        "image": np.zeros((*SIZE, 3), np.uint8),
        "label": np.full(SIZE, 2, np.uint8),
        "boxes": boxes[: len(masks)],
        "classes": np.array([1, 1, 0], np.int32)[: len(masks)],
        "instance_ids": np.array(ids, np.int32)[: len(masks)],
        "crowd": np.array([False, True, False])[: len(masks)],
        "instances": layered(masks, ids[: len(masks)], SIZE),
    }


def test_run_lengths_give_the_mask_back():
    for mask in (*MASKS, np.zeros(SIZE, bool), np.ones(SIZE, bool)):
        np.testing.assert_array_equal(decoded(encoded(mask)), mask)


def test_masks_that_overlap_take_a_layer_more_and_come_back_whole():
    layers = layered(MASKS, (5, 300, 7), SIZE)
    assert layers.shape == (*SIZE, 2) and layers.dtype == np.uint16
    for mask, number in zip(MASKS, (5, 300, 7), strict=True):
        np.testing.assert_array_equal((layers == number).any(-1), mask)
    assert layered(MASKS[::2], (1, 2), SIZE).shape == (*SIZE, 1)
    assert layered([], (), SIZE).shape == (*SIZE, 1)


def test_objects_of_an_example_are_its_entries():
    given = example(MASKS)
    assert set(ENTRIES) < given.keys()
    objects = Objects.of_example(given)
    assert len(objects) == 3 and objects.size == SIZE
    for place, mask in enumerate(MASKS):
        np.testing.assert_array_equal(objects.mask(place), mask)
    chosen = objects.chosen(objects.classes == 1)
    assert len(chosen) == 2 and chosen.crowd.tolist() == [False, True]
    np.testing.assert_array_equal(chosen.mask(1), MASKS[1])
    assert len(objects.chosen([])) == 0


def test_boxes_alone_have_no_masks():
    objects = Objects.of_example(example(MASKS))
    alone = Objects(SIZE, objects.boxes, objects.classes, objects.scores, objects.crowd)
    assert alone.chosen([1]).masks is None
    with pytest.raises(ValueError, match="without masks"):
        alone.mask(0)


def test_true_segments_are_the_objects_and_each_class_of_stuff():
    masks = [MASKS[0], MASKS[2]]
    given = example(masks)
    given["label"][masks[0]] = 1
    given["label"][masks[1]] = 1
    given["label"][0, 8] = 255
    given["label"][5, 0] = 1  # Of a thing's class, but of no object.
    given["label"][3, 0] = 0
    true = PanopticMap.of_example(given, things=(1,))
    about = [(s.class_id, s.is_thing, s.is_crowd) for s in true.segments]
    assert about == [(1, True, False), (1, True, True), (0, False, False), (2, False, False)]
    for segment, mask in zip(true.segments, masks, strict=False):
        np.testing.assert_array_equal(true.ids == segment.id, mask)
    assert true.ids[0, 8] == true.ids[5, 0] == 0
    stuff = true.segments[-1].id
    np.testing.assert_array_equal(true.ids == stuff, given["label"] == 2)
