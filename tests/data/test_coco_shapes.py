"""COCO's segmentations, held against pycocotools' rasterisation."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from segjax.data.coco_shapes import bounds, check_segmentation, draw, is_empty
from segjax.errors import InputError

# pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def drawn(segmentation, height=9, width=12):
    return draw(segmentation, height=height, width=width, where="a.json, annotation 7")


def by_pycocotools(segmentation, height=9, width=12):
    runs = coco_mask.frPyObjects(segmentation, height, width)
    merged = coco_mask.merge(runs) if isinstance(runs, list) else runs
    return coco_mask.decode(merged) == 1


def random_polygons(seed):
    """One to three polygons of 3 to 8 points, some crossing themselves or the border."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(-4, 16, 2 * rng.integers(3, 9)).round(2).tolist()
        for _ in range(rng.integers(1, 4))
    ]


def test_polygons_of_several_parts_are_drawn_as_pycocotools_draws_them():
    for polygons in map(random_polygons, range(60)):
        np.testing.assert_array_equal(drawn(polygons), by_pycocotools(polygons))


def test_runs_are_the_same_as_numbers_and_as_text():
    for seed in range(30):
        mask = np.random.default_rng(seed).random((9, 12)) < (0.1, 0.5, 0.97)[seed % 3]
        text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        down = mask.T.ravel()
        edges = [0, *(np.flatnonzero(down[1:] != down[:-1]) + 1).tolist(), down.size]
        counts = [0] * int(down[0]) + np.diff(edges).tolist()
        for form in (text["counts"], text["counts"].decode(), counts):
            np.testing.assert_array_equal(drawn({"size": [9, 12], "counts": form}), mask)


def test_long_runs_and_a_polygon_that_is_not_in_a_list_are_drawn_too():
    mask = np.zeros((700, 900), bool)
    mask[:, 300:] = True
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = {"size": [700, 900], "counts": text["counts"].decode()}
    np.testing.assert_array_equal(drawn(runs, 700, 900), mask)
    triangle = [1.0, 1, 8, 1, 1, 8]
    np.testing.assert_array_equal(drawn(triangle), by_pycocotools([triangle]))


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 1, 5, 5]], "has 4 numbers, but three points"),
        ([[1, 1, 5, 5, 1, 1, 7]], "has 7 numbers, but three points"),
        ([[1, 1, 5, float("nan"), 1, 1]], "coordinate nan, which is not a place"),
        ([[1, 1, 5, float("inf"), 1, 1]], "coordinate inf"),
        ([[1, 1, 1e12, 5, 1, 1]], r"coordinate 1000000000000\.0"),  # Takes all memory.
        ([[1, 1, "5", 5, 1, 1]], "coordinate '5'"),
        ("polygon", "neither a list of polygons nor run lengths"),
        ({"counts": [5]}, "need `size`"),
        ({"size": [9, 12]}, "need `size`"),
        ({"size": [9, 12], "counts": [5, 7]}, "do not add up to the 108 pixels"),
        ({"size": [9, 12], "counts": [-1, 109]}, "do not add up"),
        ({"size": [9, 12], "counts": "zz\u20ac"}, "do not add up"),
        ({"size": [9, 12], "counts": "\x7f" * 40}, "do not add up"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_named_with_its_annotation(segmentation, words):
    for refusing in (drawn, lambda s: check_segmentation(s, where="a.json, annotation 7")):
        with pytest.raises(InputError, match=rf"^a\.json, annotation 7: .*{words}"):
            refusing(segmentation)


def test_runs_of_another_size_than_the_image_are_named():
    with pytest.raises(InputError, match="runs are of 9x12 pixels, but its image is 12x9"):
        drawn({"size": [12, 9], "counts": [108]})


def test_an_object_may_have_no_outline_and_polygons_have_bounds():
    assert all(map(is_empty, (None, [], [[]])))
    assert not is_empty([[1, 2, 3, 4, 5, 6]]) and not is_empty({"size": [1, 1], "counts": [1]})
    assert bounds([[1, 2, 3, 4, 5, 0], [-1, 9, 0, 0, 0, 0]]) == (-1, 0, 5, 9)
    assert bounds([1, 2, 3, 4, 5, 0]) == (1, 0, 5, 4)
    assert bounds({"size": [1, 1], "counts": [1]}) is None
