"""Objects over an image: what is drawn where, and in which colour."""

import numpy as np
import pytest

from segjax.drawing import objects as drawing
from segjax.drawing.object_colours import (
    colours_of,
    distinct_colours,
    line_colour,
    object_colours,
)
from segjax.drawing.object_texts import object_text
from segjax.drawing.objects import DrawnObject, draw_objects, drawn, shrunk_mask
from segjax.objects import Objects, encoded

SIZE = (60, 80)
GREY = np.full((*SIZE, 3), 100, np.uint8)
RED, GREEN = (255, 0, 0), (0, 255, 0)
PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[1:4] = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def rectangle(y0, x0, y1, x1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def changed(picture):
    return (picture != GREY).any(-1)


def test_a_mask_is_tinted_inside_and_edged_in_its_colour():
    mask = rectangle(10, 20, 30, 50)
    picture = draw_objects(GREY, [DrawnObject(RED, mask)], opacity=0.4, line=2)
    np.testing.assert_array_equal(changed(picture), mask)
    assert picture[20, 30].tolist() == [162, 60, 60]
    assert picture[11, 21].tolist() == list(line_colour(RED)) != picture[12, 22].tolist()
    assert (GREY == 100).all()  # The image itself stays.


def test_a_dashed_contour_leaves_gaps_and_the_inside_as_it_is():
    mask = rectangle(10, 20, 30, 50)
    picture = draw_objects(GREY, [DrawnObject(GREEN, mask, dashed=True)])
    edge = drawing.contour(mask)
    assert not changed(picture)[~edge].any()
    assert 0.3 < changed(picture)[edge].mean() < 0.7


def test_small_objects_lie_above_large_ones_whatever_their_order():
    large, small = rectangle(0, 0, 40, 60), rectangle(10, 10, 20, 20)
    both = [DrawnObject(RED, large), DrawnObject(GREEN, small)]
    one = draw_objects(GREY, both, opacity=1)
    np.testing.assert_array_equal(one, draw_objects(GREY, both[::-1], opacity=1))
    assert one[15, 15].tolist() == list(GREEN) and one[30, 30].tolist() == list(RED)


def test_a_box_encloses_its_pixels():
    picture = draw_objects(GREY, [DrawnObject(RED, box=(5.2, 6.0, 15.0, 26.4))], line=1)
    rows, columns = np.nonzero(changed(picture))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (5, 14, 6, 25)
    assert not changed(picture)[8:24, 7:13].any()
    dashed = draw_objects(GREY, [DrawnObject(RED, box=(5, 6, 45, 46), dashed=True)], line=1)
    assert 0.3 < changed(dashed)[6, 5:45].mean() < 0.7


def test_an_object_without_pixels_draws_nothing():
    nothing = DrawnObject(RED, np.zeros(SIZE, bool), text="car")
    np.testing.assert_array_equal(draw_objects(GREY, [nothing]), GREY)
    with pytest.raises(ValueError, match=r"\(2, 2\) is not of the image's size \(60, 80\)"):
        draw_objects(GREY, [DrawnObject(RED, np.ones((2, 2), bool))])


def objects(classes, *, masks=True):
    found = [rectangle(5 * i, 5, 5 * i + 5, 30) for i in range(len(classes))]
    n = len(classes)
    boxes = np.array([[5, 5 * i, 30, 5 * i + 5] for i in range(n)], np.float32)
    return Objects(
        SIZE,
        boxes.reshape(-1, 4),
        np.array(classes, np.int32),
        np.linspace(0.2, 0.9, n).astype(np.float32),
        np.arange(n) == 1,
        tuple(map(encoded, found)) if masks else None,
    )


def test_objects_are_listed_by_score_with_name_score_and_crowd():
    names = ("background", "cell", "wall", "汽车")
    found = drawn(objects([1, 2, 3]), names, PALETTE)
    assert [each.text for each in found] == ["class 3 0.90", "wall 0.55 (crowd)", "cell 0.20"]
    assert [each.short_text for each in found] == ["0.90", "0.55", "0.20"]
    assert all(each.box is None for each in found)
    half = drawn(objects([1, 2], masks=False), names, PALETTE, size=(30, 40), scores=False)
    assert [each.text for each in half] == ["wall (crowd)", "cell"]
    assert half[1].box == (2.5, 0.0, 15.0, 2.5) and half[1].mask is None


def test_a_name_that_every_object_would_have_is_not_written():
    names = ("background", "nucleus")
    found = drawn(objects([1, 1]), names, PALETTE)
    assert [each.forms for each in found] == [("0.90 (crowd)",), ("0.20",)]
    truth = drawn(objects([1, 1]), names, PALETTE, scores=False)
    assert [each.forms for each in truth] == [("(crowd)",), ()]


def test_a_name_without_letters_here_becomes_a_number():
    assert object_text("Grün и λ", 2, score=0.5) == "Grün и λ 0.50"
    assert object_text("車", 7) == "class 7"


def test_colours_are_the_classs_first_and_then_shades_and_all_differ():
    colours = object_colours([1, 1, 2, 1, 0], PALETTE)
    assert colours[0] == (200, 30, 30) and colours[2] == (30, 200, 30)
    assert len({*colours}) == 5 and max(colours[4]) == 255  # Black would only darken.
    assert len({*object_colours([1] * 50, PALETTE)}) == 50
    assert len({*distinct_colours(300)}) == 300


def test_colours_tell_classes_apart_where_there_are_several_and_else_objects():
    same = objects([1, 1, 1])
    assert colours_of(same, PALETTE, ("background", "cell")) == distinct_colours(3)
    several = colours_of(same, PALETTE, ("background", "cell", "wall"))
    assert several == object_colours([1, 1, 1], PALETTE) and several[0] == (200, 30, 30)


@pytest.mark.parametrize("size", [(7, 9), (30, 40), (120, 160)])
def test_a_mask_at_another_size_keeps_its_share_and_never_vanishes(size):
    mask = rectangle(12, 16, 48, 64)
    assert shrunk_mask(mask, size).mean() == pytest.approx(mask.mean(), abs=0.05)
    assert shrunk_mask(rectangle(30, 40, 31, 41), size).any()
    assert not shrunk_mask(np.zeros(SIZE, bool), size).any()
    assert shrunk_mask(mask, SIZE) is mask
