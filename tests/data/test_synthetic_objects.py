"""Made-up discs and rectangles: exact objects, which overlap, from none to forty an image."""

import numpy as np
import pytest

from segjax.conformity import has_objects
from segjax.data.object_checks import check_objects
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.errors import InputError
from segjax.objects import ENTRIES, PanopticMap

ENTRIES_OF_ALL = ("image", "label", *ENTRIES)


def masks_of(example):
    return [(example["instances"] == i).any(-1) for i in example["instance_ids"]]


def test_an_example_depends_on_its_fields_and_index_alone():
    first, again = SyntheticObjects(size=48), SyntheticObjects(size=48)
    _ = again[5]
    for key in ENTRIES_OF_ALL:
        np.testing.assert_array_equal(first[3][key], again[3][key])
    others = (SyntheticObjects("val", 48), SyntheticObjects(size=48, seed=1))
    assert all((first[3]["image"] != other[3]["image"]).any() for other in others)
    assert len(SyntheticObjects("val")) == 64 and has_objects(first)


@pytest.mark.parametrize("panoptic", [False, True])
def test_images_have_from_no_to_forty_objects_with_boxes_around_their_masks(panoptic):
    data = SyntheticObjects("val", panoptic=panoptic)
    counts = []
    for example in data:
        check_objects(example, data.class_names, data.things)
        counts.append(len(example["boxes"]))
        for mask, box in zip(masks_of(example), example["boxes"], strict=True):
            rows, columns = np.nonzero(mask)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == edges
    assert min(counts) == 0 and max(counts) >= 38 and len(set(counts)) > 20
    assert data[0]["instances"].shape[-1] == 1 or not panoptic


def test_masks_overlap_and_half_of_each_stays_visible():
    overlapping = 0
    for example in SyntheticObjects("val", least=10):
        masks = masks_of(example)
        overlapping += example["instances"].shape[-1] > 1
        hidden = np.zeros(example["label"].shape, bool)
        for mask in reversed(masks):
            assert 2 * (mask & ~hidden).sum() >= mask.sum()
            hidden |= mask
        np.testing.assert_array_equal(example["label"] > 0, hidden)
    assert overlapping > 50


def test_a_panoptic_example_has_a_segment_at_each_pixel_and_visible_masks():
    data = SyntheticObjects("val", panoptic=True, count=8)
    plain = SyntheticObjects("val", count=8)
    for example, other in zip(data, plain, strict=True):
        whole = PanopticMap.of_example(example, data.things)
        assert (whole.ids > 0).all()
        assert {s.class_id for s in whole.segments} == {*np.unique(example["label"]).tolist()}
        np.testing.assert_array_equal(np.isin(example["label"], (2, 3)), other["label"] > 0)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"split": "test"}, "splits train and val, got 'test'"),
        ({"size": 8}, "need size >= 16 pixels, got 8"),
        ({"count": 0}, "needs count >= 1 or None, got 0"),
        ({"seed": -1}, "needs seed >= 0, got -1"),
        ({"least": 5, "most": 4}, "got least=5 and most=4"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(InputError) as error:
        SyntheticObjects(**fields)
    assert message in str(error.value)
    with pytest.raises(IndexError):
        SyntheticObjects(count=3)[3]
