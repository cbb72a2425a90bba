"""Whether an example is refused, and what is cut off, does not hang on a random number."""

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.affine import RandomAffine, RandomPerspective
from segjax.transforms.blur import RandomBlur
from segjax.transforms.clahe import RandomCLAHE
from segjax.transforms.color import ColorJitter
from segjax.transforms.cutout import Cutout
from segjax.transforms.degrade import RandomJPEG, RandomNoise
from segjax.transforms.elastic import RandomElastic
from segjax.transforms.entries import Declare
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomFlipVertical
from segjax.transforms.kinds import Bilinear, Image, Nearest
from segjax.transforms.rotate import RandomRotate
from segjax.transforms.tone import RandomGamma, RandomGrey

RNG = np.random.default_rng(0)
MAYBE = {
    "flip": lambda p: RandomFlip(p),
    "flip vertical": lambda p: RandomFlipVertical(p),
    "elastic": lambda p: RandomElastic(1.0, probability=p),
    "rotate": lambda p: RandomRotate(0.0, p),
    "rotate with two fills": lambda p: RandomRotate(0.0, p, fill=(1.0, 2.0)),
    "rotate reflected": lambda p: RandomRotate(0.0, p, border="reflect"),
    "affine": lambda p: RandomAffine(0.0, (1.0, 1.0), 0.0, 0.0, p),
    "affine reflected": lambda p: RandomAffine(0.0, (1.0, 1.0), 0.0, 0.0, p, border="reflect"),
    "perspective": lambda p: RandomPerspective(0.0, p),
    "perspective with two fills": lambda p: RandomPerspective(0.0, p, fill=(1.0, 2.0)),
    "cutout": lambda p: Cutout(3, probability=p),
    "cutout with ignore": lambda p: Cutout(3, ignore=True, probability=p),
    "cutout with two fills": lambda p: Cutout(3, probability=p, fill=(1.0, 2.0)),
    "blur": lambda p: RandomBlur(probability=p),
    "grey": lambda p: RandomGrey(p),
    "gamma": lambda p: RandomGamma(probability=p),
    "noise": lambda p: RandomNoise(probability=p),
    "jpeg": lambda p: RandomJPEG(probability=p),
    "clahe": lambda p: RandomCLAHE(tiles=(2, 2), probability=p),
}
PLAIN = {
    "image": np.zeros((6, 8, 3), np.uint8),
    "label": np.zeros((6, 8), np.uint8),
    "name": "scan 7",
}
BOXES = np.array([[0, 0, 0, 4], [-5, -5, -1, -1], [2, 2, 4, 4], [-1, 1, 3, 9]], np.float32)
CHANGED = {
    "as it should be": {},
    "boxes": {"boxes": BOXES, "classes": np.arange(4)},
    "points": {"points": np.array([[9.0, 1.0], [2.0, 3.0], [8.0, 6.0]])},
    "a label without 255": {"label": np.zeros((6, 8), np.int8)},
    "a boolean label": {"label": np.zeros((6, 8), bool)},
    "an image that is a list": {"image": [[1]]},
    "another image of one channel": {
        "second": np.zeros((6, 8, 1), np.uint8),
        "kinds": {"second": Image()},
    },
    "another image without channels": {
        "second": np.zeros((6, 8), np.uint8),
        "kinds": {"second": Image()},
    },
    "a map that cannot hold its fill": {
        "depth": np.zeros((6, 8), np.uint8),
        "kinds": {"depth": Nearest(fill=-1)},
    },
}


def outcome(transform, example):
    """What is refused, or how many of each entry are left."""
    try:
        found = transform(example, np.random.default_rng(0))
    except InputError as error:
        return str(error)
    return {key: len(found[key]) for key in ("boxes", "classes", "points") if key in found}


@pytest.mark.parametrize("name", MAYBE)
@pytest.mark.parametrize("what", CHANGED)
def test_a_transform_refuses_and_drops_the_same_whether_it_moves_the_example_or_not(name, what):
    example = {**PLAIN, **CHANGED[what]}
    assert outcome(MAYBE[name](0.0), example) == outcome(MAYBE[name](1.0), example)


def test_boxes_outside_and_empty_ones_go_even_where_no_pixel_moves():
    found = RandomFlip(0.0)({**PLAIN, **CHANGED["boxes"]}, RNG)
    np.testing.assert_array_equal(found["boxes"], [[2, 2, 4, 4], [0, 1, 3, 6]])
    assert found["classes"].tolist() == [2, 3]


def test_boxes_are_refused_by_an_elastic_transform_that_would_not_move_them_this_time():
    with pytest.raises(InputError, match="'boxes': RandomElastic does not know where places"):
        RandomElastic(probability=0.0)({**PLAIN, "boxes": BOXES}, RNG)


def test_an_example_that_is_not_moved_keeps_every_pixel_and_is_a_new_one():
    depth = np.arange(48.0).reshape(6, 8)
    example = Declare("depth", Bilinear())({**PLAIN, "depth": depth}, RNG)
    found = RandomRotate(90.0, 0.0)(example, RNG)
    assert found is not example and found.keys() == example.keys()
    np.testing.assert_array_equal(found["depth"], depth)
    assert found["image"] is example["image"]


@pytest.mark.parametrize(
    "second", [[[1]], np.zeros((6, 8), np.uint8), np.full((6, 8, 3), None)]
)
@pytest.mark.parametrize("transform", [RandomBlur(), ColorJitter(0.1)])
def test_colours_of_what_is_no_image_are_not_changed_but_refused(transform, second):
    example = Declare("second", Image())({**PLAIN, "second": second}, RNG)
    with pytest.raises(InputError, match="^Example 'scan 7': 'second' (must be|has shape)"):
        transform(example, RNG)


@pytest.mark.parametrize("fill", ["x", None, (1, "x"), (), np.zeros(3)])
@pytest.mark.parametrize("made", [RandomCrop, RandomRotate])
def test_a_fill_that_is_no_number_is_refused_where_it_is_written(made, fill):
    with pytest.raises(
        InputError, match=f"^{made.__name__} has fill=.*: give one finite number, or a"
    ):
        made(4, fill=fill)


@pytest.mark.parametrize("kind", [Nearest, Bilinear])
def test_the_fill_of_a_kind_is_one_number(kind):
    assert np.isnan(kind(fill=float("nan")).fill) and kind(fill=np.float32(2)).fill == 2
    with pytest.raises(
        InputError, match=f"^{kind.__name__} has fill='x', which must be one nu"
    ):
        kind(fill="x")


def test_an_array_of_one_number_stays_as_it_is():
    example = {**PLAIN, "depth": np.array(3)}
    assert RandomFlip(1.0)(example, RNG)["depth"] is example["depth"]
    with pytest.raises(InputError, match="does not know how to move the entry 'depth'"):
        RandomFlip(1.0)({**PLAIN, "depth": np.zeros(1)}, RNG)


@pytest.mark.parametrize(
    "given", [{"points": np.zeros(3)}, {"boxes": "a"}, {"classes": np.arange(2)}]
)
def test_what_is_called_points_boxes_or_classes_and_is_not_may_be_declared(given):
    (key,) = given
    with pytest.raises(InputError, match=rf"or Declare\('{key}', Fixed\(\)\) if it is anoth"):
        RandomFlip()({**PLAIN, **given}, RNG)


def test_no_dataset_declares_that_its_image_is_something_else():
    with pytest.raises(
        InputError, match="^Example 'scan 7': 'kinds' cannot change what 'image'"
    ):
        RandomFlip()({**PLAIN, "kinds": {"image": Nearest()}}, RNG)
