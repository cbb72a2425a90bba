"""Objects of mixed examples: boxes, layers, classes and ids are those of the pixels seen."""

import pathlib
import runpy
import types
from itertools import islice

import numpy as np
import pytest

from segjax.data.loader import batches
from segjax.data.object_checks import check_objects
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.errors import InputError
from segjax.transforms.geometric import RandomCrop, RandomFlip, RandomScale
from segjax.transforms.mix import CopyPaste, CutMix, Mosaic
from segjax.transforms.mixed_objects import chosen_objects, mixed_objects
from segjax.transforms.objects import Canvas, PackObjects

MADE = pathlib.Path(__file__).parents[1] / "made_objects.py"
made = types.SimpleNamespace(**runpy.run_path(str(MADE)))

SIZE = (24, 30)
EVERY = {
    "cutmix": CutMix(probability=1.0),
    "mosaic": Mosaic(probability=1.0),
    "copy-paste": CopyPaste(made.THINGS, share=0.7, probability=1.0),
}
each = pytest.mark.parametrize("name", EVERY)


def example(number, count=5, **options):
    """Made objects on an image whose every pixel has the example's number."""
    found = made.example(count, seed=number, name=f"n{number}", **{"size": SIZE, **options})
    return {**found, "image": np.full_like(found["image"], number)}


def mixed(name, seed, **options):
    given, *partners = (
        example(number, **options) for number in range(10 * seed, 10 * seed + 4)
    )
    return given, partners, EVERY[name](given, np.random.default_rng(seed), partners)


@each
@pytest.mark.parametrize("seed", range(6))
def test_objects_are_those_whose_pixels_are_seen_and_boxes_fit_what_is_left(name, seed):
    given, partners, found = mixed(name, seed)
    check_objects(found, made.NAMES, made.THINGS)
    source = found["image"][..., 0]
    sources = {number["image"].flat[0]: number for number in (given, *partners)}
    masks, seen = made.masks_of(found), 0
    for place, number in enumerate(found["instance_ids"].tolist()):
        mask, box = masks[number], found["boxes"][place]
        (of,) = np.unique(source[mask])
        whole = made.masks_of(sources[of])
        # One object of that example has this class and, where its pixels are seen, this mask.
        fits = [
            at
            for at, old in enumerate(sources[of]["instance_ids"].tolist())
            if sources[of]["classes"][at] == found["classes"][place]
            and (name == "mosaic" or not (mask & ~whole[old]).any())
        ]
        assert fits
        assert (np.array(made.box(mask)) == box).all()
        seen += of != given["image"].flat[0]
    assert len(masks) == len(found["boxes"])
    assert seen or name == "cutmix"


def test_a_covered_object_shrinks_one_that_is_hidden_goes_and_others_keep_loose_boxes():
    below = flat([((0, 0, 4, 4), 7), ((5, 5, 7, 7), 3), ((10, 0, 12, 3), 9)])
    below["boxes"][2] = 9.5, 0, 12.5, 3.5
    above = flat([((2, 0, 8, 8), 7)], classes=2)
    mask = above["instances"][..., 0] == 7
    found = mixed_objects(below, above, mask, ["classes", "crowd"])
    assert found["boxes"].tolist() == [[0, 0, 2, 4], [9.5, 0, 12.5, 3.5], [2, 0, 8, 8]]
    assert found["instance_ids"].tolist() == [7, 9, 1] and found["classes"].tolist() == [
        1,
        1,
        2,
    ]
    layers = found["instances"][..., 0]
    assert (layers[mask] == 1).all() and {*np.unique(layers)} == {0, 1, 7, 9}
    assert below["instance_ids"].tolist() == [7, 3, 9] and below["boxes"][0].tolist() == [
        0,
        0,
        4,
        4,
    ]


def test_objects_that_overlap_in_the_partner_stay_in_layers_of_their_own():
    below, above = flat([((0, 0, 2, 2), 1)]), made.example(6, size=(14, 14), seed=4)
    assert above["instances"].shape[-1] > 1
    found = mixed_objects(below, above, np.ones((14, 14), bool), ["classes", "crowd"])
    assert found["instances"].shape == above["instances"].shape and len(found["boxes"]) == 6
    np.testing.assert_array_equal(found["boxes"], above["boxes"])
    for new, old in zip(found["instance_ids"], above["instance_ids"], strict=True):
        np.testing.assert_array_equal(found["instances"] == new, above["instances"] == old)


def test_of_overlapping_objects_only_the_chosen_ones_are_copied_and_no_crowd():
    partner = example(4, 8, crowds=2)
    chosen = (partner["classes"] == 2) & ~partner["crowd"]
    assert 0 < chosen.sum() < (partner["classes"] == 2).sum()
    copy = CopyPaste((2,), share=1.0, probability=1.0)
    found = copy(example(1, 2), np.random.default_rng(1), [partner])
    assert (found["classes"][-chosen.sum() :] == 2).all() and not found["crowd"].any()
    _, mask = chosen_objects(partner, chosen, ["classes", "crowd"])
    np.testing.assert_array_equal(found["image"][..., 0] == 4, mask)
    check_objects(found, made.NAMES, made.THINGS)


@each
def test_no_objects_in_one_or_both_and_stated_areas_in_one_alone(name):
    for counts in ((0, 0), (0, 4), (4, 0)):
        given, partner = (example(i, count) for i, count in enumerate(counts))
        given["areas"] = np.ones(counts[0])
        found = EVERY[name](given, np.random.default_rng(0), [partner] * 3)
        check_objects(found, made.NAMES, made.THINGS)
        assert "areas" not in found and found["boxes"].dtype == np.float32


@each
def test_partners_of_other_sizes_give_a_window_with_its_objects(name):
    for size in ((10, 50), (40, 12), (60, 60)):
        given, partner = example(0), example(1, size=size)
        found = EVERY[name](given, np.random.default_rng(2), [partner] * 3)
        assert found["image"].shape[:2] == SIZE
        check_objects(found, made.NAMES, made.THINGS)


@each
def test_boxes_without_masks_and_a_canvas_before_are_refused_with_the_remedy(name):
    transform, rng = EVERY[name], np.random.default_rng(0)
    alone = {key: value for key, value in example(0).items() if key != "instances"}
    with pytest.raises(InputError, match=r"know which 'boxes' .* masks of its boxes"):
        transform(alone, rng, [alone] * 3)
    padded = Canvas(40)(example(0), rng)
    with pytest.raises(InputError, match=r"comes after Canvas.* before Canvas\.$"):
        transform(padded, rng, [padded] * 3)


def test_copied_objects_need_classes():
    partial = {key: value for key, value in example(0).items() if key != "classes"}
    with pytest.raises(InputError, match="has boxes, but no 'classes'"):
        EVERY["copy-paste"](partial, np.random.default_rng(0), [partial])


def test_the_recipe_of_the_paper_makes_batches_that_do_not_depend_on_threads():
    data = SyntheticObjects(size=64, count=6)
    paste = CopyPaste(data.things, probability=0.9)
    recipe = (RandomScale(0.5, 1.5), RandomFlip(), RandomCrop(48), paste, PackObjects(120))
    one, other = (
        list(islice(batches(data, recipe, batch_size=3, seed=5, threads=n), 3)) for n in (0, 3)
    )
    for a, b in zip(one, other, strict=True):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
    plain = next(batches(data, (*recipe[:3], recipe[-1]), batch_size=3, seed=5, threads=0))
    assert sum(b["objects"].sum() for b in one) > plain["objects"].sum()


def flat(rectangles, classes=1, size=(14, 14)):
    """Objects (x0, y0, x1, y1) with their numbers, in one layer."""
    layers = np.zeros((*size, 1), np.uint16)
    for (x0, y0, x1, y1), number in rectangles:
        layers[y0:y1, x0:x1] = number
    n = len(rectangles)
    return {
        "image": np.zeros((*size, 3), np.uint8),
        "boxes": np.array([box for box, _ in rectangles], np.float32),
        "classes": np.full(n, classes, np.int32),
        "instance_ids": np.array([number for _, number in rectangles], np.int32),
        "crowd": np.zeros(n, bool),
        "instances": layers,
    }
