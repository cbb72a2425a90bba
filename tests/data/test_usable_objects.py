"""Objects of files: which have a fault, and what of their boxes lies in the image."""

import pathlib

import numpy as np
import pytest

from segjax.data.drawn_objects import DrawnObject, ObjectRule
from segjax.data.object_records import object_entries
from segjax.data.usable_objects import usable_objects
from segjax.errors import InputError

FILE = pathlib.Path("a.json")


def drawn(box, *, size=(6, 8), corner=(0, 0)) -> DrawnObject:
    mask = np.ones((2, 2), bool)
    return DrawnObject(1, 1, 1, mask, corner, "a.json, object 1", box=box)


def usable(box, size, **options):
    rule = ObjectRule((1,), **options)
    return usable_objects([drawn(box, size=size)], size, rule, file=FILE)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((-1e-5, 0.0, 8.00001, 6.0), (0, 0, 8, 6)),
        ((7.5, 5.5, 8.0, 6.0), (7.5, 5.5, 8, 6)),
        ((3.25, 2.25, 3.75, 2.75), (3.25, 2.25, 3.75, 2.75)),
        ((0.1 + 0.2, 0.0, 0.3 + 7.7, 5.1 + 0.9), (np.float32(0.3), 0, 8, 6)),
        (None, (0, 0, 2, 2)),
    ],
)
def test_boxes_on_the_border_and_of_half_a_pixel_are_used(box, kept):
    objects, lines = usable(box, (6, 8))
    assert len(objects) == 1 and lines == []
    np.testing.assert_array_equal(object_entries(objects, (6, 8))["boxes"], [kept])


@pytest.mark.parametrize(
    ("box", "size", "fault"),
    [
        ((8.0, 0.0, 9.0, 2.0), (6, 8), "lies outside of its image of 8x6 pixels"),
        ((-2.0, 0.0, 0.0, 2.0), (6, 8), "lies outside of its image"),
        ((3.0, 0.0, 3.0, 2.0), (6, 8), "has a box without area (x 3 to 3 and y 0 to 2)"),
        # 1/500 of a pixel: two numbers in a file, but one in float32.
        (
            (70_000.001, 0.0, 70_000.003, 2.0),
            (6, 80_000),
            "has a box that is too narrow for float32 (x 70000.001 to 70000.003 and y 0 to 2)",
        ),
        # All that lies in the image is a line.
        ((7.99999999, 0.0, 9.0, 2.0), (6, 8), "has a box that is too narrow for float32"),
    ],
)
def test_boxes_without_an_area_in_the_image_are_named_or_dropped(box, size, fault):
    with pytest.raises(InputError) as error:
        usable(box, size)
    assert f"object 1 {fault}" in str(error.value)
    objects, (line,) = usable(box, size, broken="drop")
    assert objects == [] and fault in line
