import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from segjax.convert.annotated import Size
from segjax.convert.formats.shapes import checked_points, drawn
from segjax.errors import InputError

SIZE = Size(40, 50)


def labelme_mask(kind, points, line_width=10, point_size=5):
    """`labelme.utils.shape_to_mask` of Labelme 6.3.1 in its own terms, for one shape."""
    image = Image.fromarray(np.zeros(SIZE, np.uint8))
    draw = ImageDraw.Draw(image)
    xy = [tuple(point) for point in points]
    if kind == "circle":
        (cx, cy), (px, py) = xy
        d = math.sqrt((cx - px) ** 2 + (cy - py) ** 2)
        draw.ellipse(((cx - d, cy - d), (cx + d, cy + d)), outline=1, fill=1)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = xy
        corners = ((min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1)))
        draw.rectangle(corners, outline=1, fill=1)
    elif kind in ("line", "linestrip"):
        draw.line(xy=xy, fill=1, width=line_width)
    elif kind == "point":
        ((cx, cy),) = xy
        r = point_size
        draw.ellipse(((cx - r, cy - r), (cx + r, cy + r)), outline=1, fill=1)
    else:
        draw.polygon(xy=xy, outline=1, fill=1)
    return np.array(image, dtype=bool)


COUNTS = {"rectangle": 2, "oriented_rectangle": 4, "circle": 2, "line": 2, "point": 1}


@pytest.mark.parametrize("kind", [*COUNTS, "polygon", "linestrip"])
def test_shapes_are_drawn_as_labelme_draws_them(kind):
    rng = np.random.default_rng(0)
    for _ in range(40):
        count = COUNTS.get(kind, int(rng.integers(3, 9)))
        points = checked_points(rng.uniform(-10, 60, (count, 2)).tolist(), kind, "here")
        np.testing.assert_array_equal(drawn(SIZE, kind, points), labelme_mask(kind, points))


def test_a_circle_far_larger_than_its_image_is_drawn_at_once():
    assert drawn(SIZE, "circle", [(5.0, 5.0), (1e6, 1e6)]).all()
    assert not drawn(SIZE, "circle", [(-1e6, 20.0), (-10.0, 20.0)]).any()
    to_column_25 = drawn(SIZE, "circle", [(-1e6, 20.0), (25.0, 20.0)])
    assert to_column_25[:, :25].all() and not to_column_25[:, 27:].any()


@pytest.mark.parametrize("radius", [400.0, 20_000.0])
def test_where_pillow_stops_drawing_circles_only_their_edge_may_differ(radius, monkeypatch):
    x, y = 20 - 0.6 * radius, 20 - 0.8 * radius
    points = [(x, y), (x + radius, y)]
    pillow = drawn(SIZE, "circle", points)
    monkeypatch.setitem(drawn.__globals__, "LARGEST_CIRCLE", 0)
    ours = drawn(SIZE, "circle", points)
    assert 0 < pillow.sum() < pillow.size and (ours != pillow).sum() <= 50


def test_several_points_are_the_discs_of_each():
    points = [(5.0, 6.0), (30.0, 20.0)]
    expected = labelme_mask("point", points[:1]) | labelme_mask("point", points[1:])
    np.testing.assert_array_equal(drawn(SIZE, "points", points), expected)


def test_what_lies_out_of_the_image_is_cut_off():
    inside = drawn(SIZE, "polygon", [(-20.0, -20.0), (10.0, -20.0), (10.0, 9.0), (-20.0, 9.0)])
    assert inside[:10, :11].all() and inside.sum() == 110


def test_a_polygon_that_crosses_itself_is_two_triangles():
    bow = drawn(SIZE, "polygon", [(5.0, 5.0), (35.0, 35.0), (35.0, 5.0), (5.0, 35.0)])
    assert bow[20, 8] and bow[20, 32] and not bow[8, 20] and not bow[32, 20]


@pytest.mark.parametrize(
    ("kind", "points", "message"),
    [
        ("polygon", [[1, 2], [3, 4]], "a polygon needs at least 3 points and this has 2"),
        ("rectangle", [[1, 2]], "a rectangle needs 2 points and this has 1"),
        ("circle", [[1, 2]] * 3, "a circle needs 2 points and this has 3"),
        ("polygon", [[1, 2], [3, float("nan")], [5, 6]], r"the point \[3, nan\] has a coord"),
        ("polygon", [[1, 2], [3, float("inf")], [5, 6]], r"the point \[3, inf\] has a coord"),
        ("polygon", [[1, 2], [3, 1e12], [5, 6]], "lies far outside of any image"),
        ("polygon", [[1, 2], [3, None], [5, 6]], r"\[3, None\] is not a pair of numbers"),
        ("polygon", [[1, 2], ["3", "4"], [5, 6]], "is not a pair of numbers"),
        ("polygon", [[1, 2], 3, [5, 6]], "the point 3 is not a pair of numbers"),
        ("polygon", None, "its points are None, not a list"),
        ("blob", [[1, 2]], "the shape 'blob' is not known; known shapes are polygon"),
    ],
)
def test_wrong_points_are_named_with_the_remedy(kind, points, message):
    with pytest.raises(InputError, match=message) as caught:
        checked_points(points, kind, "a.json, shape 3")
    assert str(caught.value).startswith("a.json, shape 3: ")
