import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.cutout import Cutout
from segjax.transforms.kinds import Image


def rng(seed=0):
    return np.random.default_rng(seed)


def plain():
    return {
        "image": np.ones((30, 40, 3), np.uint8),
        "label": np.ones((30, 40), np.uint8),
        "weight": np.ones((30, 40), np.float32),
        "second": np.ones((30, 40, 1), np.float32),
        "points": np.array([[20.0, 15.0]]),
        "boxes": np.array([[0, 0, 40, 30]], np.float32),
        "kinds": {"second": Image()},
        "name": "a",
    }


def test_the_rectangle_is_filled_in_all_images_and_labels_are_kept_by_default():
    given = plain()
    for seed in range(20):
        found = Cutout((8, 6), probability=1.0, fill=0)(given, rng(seed))
        hidden = found["image"][..., 0] == 0
        rows, columns = np.nonzero(hidden)
        assert 0 < hidden.sum() <= 48 and hidden[rows.min() : rows.max() + 1].any(1).all()
        assert hidden.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        np.testing.assert_array_equal(found["second"][..., 0] == 0, hidden)
        for key in ("label", "weight", "points", "boxes"):
            assert found[key] is given[key]


def test_with_ignore_the_label_is_255_and_the_weight_0_there():
    found = Cutout(9, holes=3, ignore=True, probability=1.0, fill=0)(plain(), rng(1))
    hidden = found["image"][..., 0] == 0
    assert 81 < hidden.sum() <= 243
    np.testing.assert_array_equal(found["label"] == 255, hidden)
    np.testing.assert_array_equal(found["weight"] == 0, hidden)
    assert len(found["points"]) == len(found["boxes"]) == 1


def test_centres_reach_every_pixel_and_the_probability_is_that_of_a_change():
    given, generator = plain(), rng()
    covered, changed = np.zeros((30, 40), int), 0
    for _ in range(3000):
        hidden = Cutout(1, probability=0.5, fill=0)(given, generator)["image"][..., 0] == 0
        covered += hidden
        changed += hidden.any()
    assert 1400 < changed < 1600 and (covered > 0).mean() > 0.65 and covered.max() < 12


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_what_is_refused_does_not_depend_on_a_random_number(ignore, probability):
    cutout = Cutout(5, ignore=ignore, probability=probability, fill=(1, 2))
    with pytest.raises(InputError, match="Cutout fills with 2 numbers"):
        cutout(plain(), rng())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cutout(0), "Cutout needs size"),
        (lambda: Cutout(True), "Cutout needs size.*got True"),
        (lambda: Cutout(4, ignore="x"), "needs ignore, True or False, got 'x'"),  # type: ignore
        (lambda: Cutout(4, fill=(0, float("nan"), 0)), "Cutout has fill=.*finite"),
        (lambda: Cutout(4, holes=0), "Cutout needs a whole number holes >= 1, got 0"),
        (lambda: Cutout(4, probability=-1), "got -1"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
