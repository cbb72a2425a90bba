"""Outlines as masks, against the definition at pixel centres and against pycocotools."""

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from segjax.convert.annotated import Size
from segjax.convert.outlines import box, ellipse, numbers, pasted, polygon
from segjax.errors import InputError

SIZE = Size(40, 60)
CENTRES = np.stack(np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5), axis=-1)


def inside(points):
    """Even-odd rule at the centre of each pixel, edge by edge."""
    found = np.zeros(SIZE, bool)
    x, y = CENTRES[..., 0], CENTRES[..., 1]
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
        found ^= ((y0 > y) != (y1 > y)) & (x < crossing)
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("seed", range(3))
def test_a_polygon_covers_the_centres_inside_it_but_for_a_pixel_at_its_border(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(8, 18, 9)
    points = np.stack([30 + radii * np.cos(angles), 20 + radii * np.sin(angles)], axis=-1)
    mask = polygon(points.ravel().tolist(), where="polygon 1").draw(SIZE)
    expected = inside(points)
    (runs,) = coco_mask.frPyObjects([points.ravel().tolist()], *SIZE)
    np.testing.assert_array_equal(mask, coco_mask.decode(runs))
    differing = np.argwhere(mask != expected)
    edges = np.stack([points, np.roll(points, -1, axis=0)], axis=1)
    assert all(min(_distance(*edge, p[::-1] + 0.5) for edge in edges) < 1 for p in differing)
    assert expected.sum() > 200


def _distance(start, end, point):
    along = np.clip((point - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    return np.linalg.norm(start + along * (end - start) - point)


def test_a_box_with_whole_corners_is_exact():
    mask = box(2, 3, 7, 5, where="box 1").draw(SIZE)
    assert mask.sum() == 10 and mask[3:5, 2:7].all()


def test_a_box_turns_clockwise_about_its_centre():
    quarter = box(10, 10, 20, 14, degrees=90, where="box 1")
    np.testing.assert_allclose(quarter.bounds, (13, 7, 17, 17))
    assert quarter.draw(SIZE)[7:17, 13:17].all() and quarter.draw(SIZE).sum() == 40
    # At 45 degrees the right end of a lying box is below its left end.
    slanted = box(10, 18, 50, 20, degrees=45, where="box 1").draw(SIZE)
    assert slanted[30, 40:44].any() and not slanted[8, 40:44].any()


def test_an_ellipse_covers_the_pixels_whose_centres_lie_inside():
    x, y = CENTRES[..., 0] - 30.2, CENTRES[..., 1] - 20.4
    expected = (x / 12) ** 2 + (y / 7) ** 2 <= 1
    np.testing.assert_array_equal(
        ellipse(30.2, 20.4, 12, 7, where="ellipse 1").draw(SIZE), expected
    )
    turned = ellipse(30.2, 20.4, 12, 7, degrees=30, where="ellipse 1")
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    expected = ((x * cos + y * sin) / 12) ** 2 + ((y * cos - x * sin) / 7) ** 2 <= 1
    np.testing.assert_array_equal(turned.draw(SIZE), expected)
    rows, columns = np.nonzero(expected)
    left, top, right, bottom = turned.bounds
    assert left <= columns.min() + 0.5 and columns.max() + 0.5 <= right
    assert top <= rows.min() + 0.5 and rows.max() + 0.5 <= bottom
    assert right - left < columns.max() - columns.min() + 2


def test_what_leaves_the_image_is_cut_off():
    assert polygon([-10, -10, 5, -10, 5, 5, -10, 5], where="").draw(SIZE).sum() == 25
    assert not polygon([70, 1, 80, 1, 80, 9], where="").draw(SIZE).any()
    assert not ellipse(-20, 5, 4, 4, where="").draw(SIZE).any()


@pytest.mark.parametrize(
    ("left", "top", "pixels"), [(1, 2, 6), (-1, 0, 4), (58, 39, 2), (70, 0, 0), (-9, -9, 0)]
)
def test_a_small_mask_is_pasted_and_cut_off(left, top, pixels):
    outline = pasted(np.ones((2, 3), bool), left=left, top=top)
    assert outline.draw(SIZE).sum() == pixels
    assert outline.bounds == (left, top, left + 3, top + 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: polygon([1, 2, 3, 4], where="a.xml, polygon 3"), "3 is a polygon of 2 points"),
        (lambda: polygon([1, 2, 3, 4, 5], where="a.xml, polygon 3"), "5 coordinates"),
        (lambda: ellipse(1, 1, 2, 0, where="a.xml, ellipse 1"), "radius 0, which is not pos"),
        (lambda: numbers(["1", "nan"], where="a.xml, polygon 3"), "'nan', which is not a fin"),
        (lambda: numbers(["x"], where="a.xml, polygon 3"), "polygon 3 has the coordinate 'x'"),
        (lambda: numbers([None], where="a.xml"), "None, which is not"),
        (lambda: numbers(["1e300"], where="a.xml"), "1e\\+300, far outside of any image"),
    ],
)
def test_what_cannot_be_drawn_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
