"""A made-up example with objects goes through a detector's last transforms."""

import dataclasses
import pathlib

import pytest

from segjax import experiment as experiments
from segjax.train.stand_in import signature, stand_in
from segjax.transforms.geometric import RandomFlip
from segjax.transforms.objects import Canvas, PackObjects
from segjax.transforms.resize_sides import ResizeSides

FILE = pathlib.Path(__file__).parents[2] / "experiments" / "mask_rcnn_objects.py"


@pytest.mark.parametrize(
    ("canvas", "size"),
    [
        (Canvas((80, 134)), (80, 134)),
        (Canvas(134), (134, 134)),
        (Canvas(multiple=32), (96, 128)),
    ],
)
def test_a_made_up_example_has_the_shapes_of_a_batch_whether_its_canvas_turns_or_not(
    canvas, size
):
    last = (RandomFlip(), ResizeSides(80, 133), canvas, PackObjects(5))
    experiment = dataclasses.replace(experiments.load(FILE), transforms=last)
    made_up = stand_in(experiment)
    assert made_up is not None
    found = signature(made_up[0])
    assert found["image"] == ((*size, 3), "uint8") and found["size"] == ((2,), "int32")
    assert found["boxes"] == ((5, 4), "float32") and found["objects"] == ((5,), "bool")
    assert found["masks"] == ((5, size[0], -(-size[1] // 8)), "uint8")
    assert made_up[0]["objects"].sum() == 1
