"""Texts beside objects: where they stand, how large they are, and which are left out."""

import numpy as np
import pytest

from segjax.drawing import object_texts as writing
from segjax.drawing.objects import DrawnObject, draw_objects
from segjax.drawing.text_places import Places, Region, around, region_of_mask, within

SIZE = (120, 160)
GREY = np.full((*SIZE, 3), 100, np.uint8)
RED, GREEN = (255, 0, 0), (0, 255, 0)


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def texts_of(*objects: DrawnObject, **options) -> np.ndarray:
    """The pixels that the texts change."""
    bare = [DrawnObject(each.colour, each.mask, each.box, "") for each in objects]
    plain = draw_objects(GREY, bare, **options)
    return (draw_objects(GREY, objects, **options) != plain).any(-1)


def scene(seed: int, count: int) -> list[DrawnObject]:
    """Small discs at random places, which may overlap."""
    rng = np.random.default_rng(seed)
    return [
        DrawnObject(
            RED, disc(*rng.uniform((0, 0), SIZE), rng.uniform(3, 12)), None, "cell 0.93", False,
            "0.93",
        )
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [3, 30, 100])
def test_texts_hide_little_of_any_object_however_many_there_are(count):
    for seed in range(3):
        objects = scene(seed, count)
        texts = texts_of(*objects)
        assert texts.any()
        hidden = [texts[each.mask].mean() for each in objects if each.mask.any()]
        assert max(hidden) < 0.25 and np.mean(hidden) < 0.05


def test_the_same_objects_give_the_same_picture():
    one, other = (draw_objects(GREY, scene(7, 40)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def neighbours(outside: int) -> list[DrawnObject]:
    """Narrow columns of objects, further left and right of the middle than `outside`."""
    columns = np.indices(SIZE)[1]
    far = abs(columns - 80) >= outside
    return [DrawnObject(GREEN, far & (columns // 5 == n)) for n in range(32)]


def test_a_text_without_room_becomes_shorter_and_then_is_left_out():
    cell = DrawnObject(RED, disc(60, 80, 8), None, "cell 0.93", False, "0.93")

    def width(outside: int) -> int:
        columns = np.flatnonzero(texts_of(*neighbours(outside), cell, letters=11).any(0))
        return int(np.ptp(columns)) + 1 if columns.size else 0

    long, short, none = width(60), width(20), width(9)
    assert long > 1.5 * short > 0 == none


def test_an_object_smaller_than_the_smallest_letters_has_no_text():
    dot = DrawnObject(RED, disc(60, 80, 3), None, "0.93")
    assert not texts_of(dot).any()
    assert texts_of(DrawnObject(RED, disc(60, 80, 6), None, "0.93")).any()


def test_letters_shrink_with_their_object_but_stay_readable():
    def height(radius: float) -> int:
        shown = texts_of(DrawnObject(RED, disc(60, 80, radius), None, "0.93"), letters=16)
        return int(np.ptp(np.nonzero(shown.any(1))[0])) + 1

    large, middle, small = height(30), height(15), height(6)
    assert large > middle > small >= writing.SMALLEST


def test_texts_stay_inside_the_image_and_do_not_cover_one_another():
    corner = DrawnObject(RED, box=(140, 0, 160, 14), text="car 0.93")
    over_it = DrawnObject(GREEN, box=(138, 1, 160, 15), text="bus 0.50")
    picture = draw_objects(GREY, [corner, over_it], letters=11)
    place = lambda colour: np.nonzero((picture == colour).all(-1))
    red, green = place(RED), place(GREEN)
    assert red[1].min() < 125 and green[1].min() < 125  # Both have one, further left.
    letters = draw_objects(GREY, [corner], letters=11)[:, :130]
    own = (letters != 100).any(-1)
    assert not (picture[:, :130][own] == GREEN).all(-1).any()


def test_a_place_is_free_if_the_shares_of_what_it_hides_are_small():
    small, large = (
        Region((slice(0, 10), slice(0, 10))),
        Region((slice(20, 60), slice(0, 50))),
    )
    places = Places(SIZE, [small, large])
    assert places.take([(5, 5)], 10, 10, hidden=0.1) is None  # A quarter of the small one.
    assert places.take([(-1, 0), (5, 155), (9, 5)], 10, 10, hidden=0.1) == (9, 5)
    assert places.take([(15, 5)], 10, 10, hidden=0.1) is None  # Taken.
    assert places.take([(30, 10)], 10, 15, hidden=0.1) == (30, 10)
    assert places.take([(45, 10)], 10, 25, hidden=0.1) is None


def test_places_are_around_the_object_and_moved_into_the_picture():
    region = Region((slice(50, 70), slice(150, 158)))
    places = list(around(region, 10, 30, SIZE))
    assert places[0] == (40, 130) and places[3] == (70, 130)
    assert (55, 120) in places and places[-1] == (50, 130)


def test_the_place_within_is_the_widest_part_if_the_text_fits():
    mask = disc(60, 40, 25) | (np.indices(SIZE)[0] == 60)
    region = region_of_mask(mask)
    assert region is not None and region.sides == (49, 160)
    ((y, x),) = within(region, 10, 20)
    assert abs(y + 5 - 60) <= 2 and abs(x + 10 - 40) <= 2
    assert not list(within(region, 30, 60))
    assert region_of_mask(np.zeros(SIZE, bool)) is None
