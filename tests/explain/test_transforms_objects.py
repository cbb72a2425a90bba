"""`explain transforms` on examples with objects: counts, colours, contours and boxes."""

import dataclasses
import pathlib

import numpy as np

from segjax.data.synthetic_objects import SyntheticObjects
from segjax.drawing.object_colours import distinct_colours, line_colour
from segjax.drawing.objects import contour
from segjax.experiment import load
from segjax.explain.transforms import explain_transforms
from segjax.explain.transforms_objects import drawn_objects, object_numbers, same_objects
from segjax.transforms.geometric import RandomCrop, RandomFlip
from segjax.transforms.objects import PackObjects

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
DATA = SyntheticObjects(size=64, most=6, count=12)
STEPS = (RandomFlip(1.0), RandomCrop(40), PackObjects(8))


def steps(index: int) -> list[dict]:
    """An example at the start and after each of `STEPS`."""
    rng, found = np.random.default_rng(0), [DATA[index]]
    for transform in STEPS:
        found.append(transform(found[-1], rng))
    return found


def test_an_object_keeps_its_number_in_all_steps_packed_or_not():
    lost = 0
    for index in range(12):
        given, flipped, cropped, packed = steps(index)
        numbers = object_numbers([given, flipped, cropped, packed])
        assert numbers[0] == numbers[1] == list(range(len(given["boxes"])))
        own = [given["instance_ids"].tolist().index(i) for i in cropped["instance_ids"]]
        assert numbers[2] == numbers[3][: len(own)] == own
        lost += len(numbers[0]) - len(own)
    assert lost > 0  # So that places and numbers differ.


def test_packed_objects_are_drawn_as_they_were_before():
    *_, cropped, packed = steps(3)
    numbers = object_numbers(steps(3))
    before, after = (
        drawn_objects(example, own, size=(40, 40))
        for example, own in ((cropped, numbers[2]), (packed, numbers[3]))
    )
    assert len(before) == len(after) == packed["objects"].sum() > 0
    for one, other in zip(before, after, strict=True):
        assert one.colour == other.colour and one.box == other.box
        np.testing.assert_array_equal(one.mask, other.mask)
    assert not same_objects(cropped, packed) and same_objects(packed, steps(3)[3])


def test_boxes_alone_are_drawn_without_masks_and_crowds_are_dashed():
    given = DATA[3]
    crowd = np.arange(len(given["boxes"])) == 0
    number = list(range(len(crowd)))
    drawn = drawn_objects({**given, "crowd": crowd}, number, size=(32, 32))
    assert [each.dashed for each in drawn] == crowd.tolist()
    assert drawn[0].box == tuple((given["boxes"][0] / 2).tolist())
    boxes = PackObjects(8, masks=False)(given, np.random.default_rng(0))
    alone = drawn_objects(boxes, object_numbers([given, boxes])[1], size=(64, 64))
    assert len(alone) == len(crowd) and all(each.mask is None for each in alone)


def test_the_figure_has_contours_and_boxes_and_the_text_counts():
    experiment = dataclasses.replace(
        load(EXPERIMENTS / "mask_rcnn_objects.py"), train_data=DATA, transforms=STEPS
    )
    found = explain_transforms(experiment, index=3, draws=1)
    count = len(DATA[3]["boxes"])
    told = [step["draws"][0]["objects"] for step in found["steps"]]
    assert told[:2] == [count] * 2 and told[2] == told[3] <= count
    assert [step["changed"] for step in found["steps"]] == [0, 1, 1, 1]
    assert f"\n   objects: {count}\n" in str(found)
    figure = found.figure()
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    image, label = pictures[:2]
    example = steps(3)[0]
    colours = distinct_colours(count)
    for place, number in enumerate(example["instance_ids"]):
        edge = contour((example["instances"] == number).any(-1))
        assert (label[edge] == line_colour(colours[place])).all(-1).mean() > 0.2
        assert not (image[edge] == line_colour(colours[place])).all(-1).any()
    assert any("with objects" in text.get_text() for text in figure.texts)
