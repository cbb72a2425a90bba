import numpy as np
import pytest

from segjax.convert.annotated import IGNORED, Annotated, ClassMap, Region, Size
from segjax.convert.classes import Choice, Classes, chosen
from segjax.convert.painting import paint
from segjax.errors import InputError

SIZE = Size(6, 8)
ALL = chosen(("a", "b"), background="background", choice=Choice())


def box(name, top, left, bottom, right, **more) -> Region:
    def draw(size):
        mask = np.zeros(size, bool)
        mask[top:bottom, left:right] = True
        return mask

    return Region(name, draw, **more)


def painted(*regions, classes: Classes = ALL, class_map=None, **options):
    image = Annotated("x.png", "x", regions, class_map=class_map, where="x.json")
    return paint(image, SIZE, classes, **options)


LARGE = box("a", 0, 0, 6, 6, instance=1)
SMALL = box("b", 1, 1, 3, 3, instance=2)


def test_a_later_region_covers_the_earlier_ones():
    first = painted(SMALL, LARGE)
    assert first.label[1, 1] == 1 and (first.label == 1).sum() == 36
    last = painted(LARGE, SMALL)
    assert last.label[1, 1] == 2 and (last.label == 2).sum() == 4
    assert last.shared == first.shared == 4


def test_a_smaller_object_may_cover_a_larger_one_wherever_it_stands():
    for regions in ((SMALL, LARGE), (LARGE, SMALL)):
        label = painted(*regions, overlap="smaller").label
        assert label[1, 1] == 2 and (label == 1).sum() == 32


def test_an_ignored_crowd_covers_no_object_however_small_it_is():
    crowd = box(IGNORED, 0, 0, 2, 2, is_crowd=True)
    for overlap in ("order", "smaller"):
        found = painted(crowd, LARGE, overlap=overlap)
        assert found.label[0, 0] == 1 and found.instances[0, 0] == 1


def test_the_size_of_an_object_is_that_of_all_its_parts():
    parts = [box("b", 0, 0, 2, 2, instance=2), box("b", 0, 4, 6, 8, instance=2)]
    between = box("a", 1, 0, 3, 5, instance=1)
    label = painted(*parts, between, overlap="smaller").label
    assert label[1, 1] == 1  # 10 pixels of "a" against 28 of "b".


def test_pixels_of_two_objects_may_be_ignored():
    found = painted(LARGE, SMALL, overlap="ignore")
    expected = np.zeros(SIZE, int)
    expected[:, :6] = 1
    expected[1:3, 1:3] = 255
    np.testing.assert_array_equal(found.label, expected)
    assert not found.instances[1:3, 1:3].any()


def test_parts_of_one_object_do_not_overlap_each_other():
    parts = [box("a", 0, 0, 3, 3, instance=1), box("a", 2, 2, 5, 5, instance=1)]
    found = painted(*parts, overlap="ignore")
    assert found.shared == 0 and (found.label == 1).sum() == 17
    (one,) = found.objects
    assert one.mask(SIZE).sum() == 17


def test_the_instance_map_shows_visible_pixels_and_objects_keep_their_full_masks():
    stuff = box("a", 0, 7, 6, 8)
    found = painted(LARGE, SMALL, stuff)
    assert found.instances.dtype == np.uint16
    assert [(found.instances == number).sum() for number in (0, 1, 2)] == [12, 32, 4]
    assert [each.mask(SIZE).sum() for each in found.objects] == [36, 4]


def test_an_ignored_region_hides_objects_and_is_none():
    found = painted(LARGE, box(IGNORED, 0, 0, 6, 2, instance=5))
    assert (found.label == 255).sum() == 12 and len(found.objects) == 1
    assert not found.instances[:, :2].any()


def test_regions_that_are_not_chosen_are_not_drawn():
    classes = chosen(("a", "b"), background="background", choice=Choice(classes=("a",)))
    found = painted(LARGE, SMALL, classes=classes)
    assert found.label[1, 1] == 1 and found.shared == 0 and len(found.objects) == 1


def test_a_class_map_lies_below_all_regions():
    ids = np.zeros(SIZE, np.int32)
    ids[0], ids[5] = 70_000, 3
    class_map = ClassMap(lambda: ids, {0: "background", 3: "b", 70_000: IGNORED}, "x.png")
    found = painted(SMALL, class_map=class_map)
    assert (found.label[0] == 255).all() and (found.label[5] == 2).all()
    assert found.label[1, 1] == 2 and found.label[4, 4] == 0


def test_ids_without_a_class_are_named():
    class_map = ClassMap(lambda: np.full(SIZE, 9), {0: "a"}, "x.png")
    with pytest.raises(InputError, match=r"x\.png has ids \[9\], and no class has them"):
        painted(class_map=class_map)


def test_maps_and_masks_of_another_size_are_named():
    class_map = ClassMap(lambda: np.zeros((3, 4), int), {0: "a"}, "x.png")
    with pytest.raises(InputError, match=r"x\.png has 4x3 pixels, and the image has 8x6"):
        painted(class_map=class_map)
    region = Region("a", lambda size: np.ones((3, 4), bool), where="annotation 7")
    with pytest.raises(InputError, match=r"x\.json: annotation 7 has a mask of 4x3 pixels"):
        painted(region)


def test_planes_keep_classes_that_overlap():
    classes = chosen(("a", "b"), background="background", choice=Choice(), planes=True)
    ignored = box(IGNORED, 5, 0, 6, 8)
    label = painted(LARGE, SMALL, ignored, classes=classes, planes=True).label
    assert label.shape == (6, 8, 2)
    assert label[1, 1].tolist() == [1, 1] and label[4, 4].tolist() == [1, 0]
    assert (label[5] == 255).all()


def test_regions_out_of_the_image_are_counted():
    outside = box("a", 9, 9, 9, 9, bounds=(20.0, 2.0, 30.0, 4.0))
    partly = box("a", 0, 0, 2, 2, bounds=(-5.0, 0.0, 1.0, 1.0))
    at_border = box("a", 0, 0, 6, 8, bounds=(-0.5, 0.0, 8.0, 6.0))
    found = painted(outside, partly, at_border)
    assert (found.empty, found.clipped) == (1, 2)


def test_a_name_that_is_no_class_of_the_source_is_named():
    with pytest.raises(InputError, match=r"x\.json: annotation 3 has the class 'c'"):
        painted(box("c", 0, 0, 1, 1, where="annotation 3"))
