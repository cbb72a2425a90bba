"""Panoptic maps over an image: tints, lines and names."""

import numpy as np
import pytest

from segjax.drawing.object_colours import segment_colours
from segjax.drawing.panoptic import draw_panoptic
from segjax.objects import PanopticMap, Segment

SIZE = (60, 80)
GREY = np.full((*SIZE, 3), 100, np.uint8)
RED = (255, 0, 0)
PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[1:4] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
NAMES = ("sky", "car", "road", "line")


def test_segments_are_tinted_with_lines_between_them():
    ids = np.zeros(SIZE, np.int32)
    ids[:30, :40], ids[30:, :40] = 7, 300
    panoptic = PanopticMap(ids, (Segment(7, 1, True), Segment(300, 1, True)))
    colours = segment_colours(panoptic, PALETTE)
    assert colours[7] == (200, 30, 30) != colours[300]
    picture = draw_panoptic(GREY, panoptic, PALETTE, opacity=1)
    assert picture[10, 10].tolist() == [200, 30, 30]
    assert tuple(picture[50, 10].tolist()) == colours[300]
    np.testing.assert_array_equal(picture[:, 40:], GREY[:, 40:])  # Of no segment.
    assert (picture[29, :40] == 255).all()
    chosen = draw_panoptic(GREY, panoptic, PALETTE, colours={300: RED})
    np.testing.assert_array_equal(chosen[:29], GREY[:29])
    with pytest.raises(ValueError, match="not of the image's size"):
        draw_panoptic(GREY[1:], panoptic, PALETTE)


def drawn_map(ids, *segments: Segment, names=NAMES):
    """The texts' pixels of a panoptic map, by what they change."""
    panoptic = PanopticMap(ids, segments)
    plain = draw_panoptic(np.full((*ids.shape, 3), 100, np.uint8), panoptic, PALETTE)
    named = draw_panoptic(
        np.full((*ids.shape, 3), 100, np.uint8), panoptic, PALETTE, class_names=names
    )
    return (plain != named).any(-1)


def test_the_name_of_a_segment_stands_in_its_widest_part():
    ids = np.full((100, 160), 1, np.int32)
    ids[60:] = 2
    ids[10:90, 4:10] = 2  # A narrow arm, which is no place for the name.
    texts = drawn_map(ids, Segment(1, 0, False), Segment(2, 2, False))
    assert texts[:60].any() and texts[60:].any()
    rows, columns = np.nonzero(texts)
    assert columns.min() >= 10 and not texts[55:65].any()
    assert np.ptp(rows[rows < 60]) < 16  # One line of letters.


def test_a_stuff_without_room_has_no_name_and_a_thing_has_it_beside():
    ids = np.full((100, 160), 1, np.int32)
    ids[50:53] = 2
    ids[70:84, 60:70] = 3
    sky = Segment(1, 0, False)
    line = drawn_map(ids, sky, Segment(2, 3, False))
    alone = drawn_map(np.where(ids == 1, 1, 0), sky)
    np.testing.assert_array_equal(line, alone)
    assert drawn_map(ids, sky, Segment(3, 1, True)).sum() > alone.sum()


def test_no_names_are_written_where_one_class_is_all():
    ids = np.full((100, 160), 1, np.int32)
    ids[20:80, 40:120] = 2
    found = Segment(1, 0, False), Segment(2, 1, True)
    assert not drawn_map(ids, *found, names=("background", "cell")).any()
    assert drawn_map(ids, *found).any()
