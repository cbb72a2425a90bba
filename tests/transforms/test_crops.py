import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.crops import BalancedCrop, ForegroundCrop
from segjax.transforms.resize_sides import ResizeLongSide, ResizeShortSide


def rng(seed=0):
    return np.random.default_rng(seed)


def example(label):
    image = np.arange(label.shape[0] * label.shape[1]).reshape(*label.shape[:2], 1)
    return {"image": image.astype(np.float32), "label": label, "name": "scan 7"}


def halves():
    """Left of the middle class 1, elsewhere class 0; rows 0 and 1 are ignored."""
    label = np.zeros((20, 40), np.uint8)
    label[:, :20] = 1
    label[:2] = 255
    return label


def test_a_balanced_crop_has_two_classes_and_none_above_the_ratio():
    given, generator = example(halves()), rng()
    shares = []
    for _ in range(100):
        label = BalancedCrop(10, 0.6, tries=200)(given, generator)["label"]
        counts = np.bincount(label[label != 255], minlength=2)
        shares.append(counts.max() / counts.sum())
    assert max(shares) < 0.6


def test_a_balanced_crop_gives_up_after_its_tries():
    drawn, stream = 0, rng(3)
    given = example(np.ones((20, 40), np.uint8))

    class Counting:
        def integers(self, *arguments):
            nonlocal drawn
            drawn += 1
            return stream.integers(*arguments)

    found = BalancedCrop(10, tries=4)(given, Counting())
    assert found["label"].shape == (10, 10) and drawn == 2 * (4 + 1)


def test_ignored_pixels_are_no_class_of_a_balanced_crop():
    label = np.full((20, 40), 255, np.uint8)
    label[:, 30:] = 1
    crop, stream = BalancedCrop(10, tries=3), rng()
    corners = {float(crop(example(label), stream)["image"][0, 0, 0]) for _ in range(30)}
    assert len(corners) > 10  # No window counts as balanced, and all go through.


def test_a_balanced_crop_refuses_planes():
    label = np.zeros((20, 40, 2), np.uint8)
    with pytest.raises(InputError, match="^Example 'scan 7': BalancedCrop counts .*Foreground"):
        BalancedCrop(10)(example(label), rng())


def test_the_centre_of_a_foreground_crop_is_a_pixel_of_the_class_away_from_the_border():
    label = np.zeros((40, 50), np.uint8)
    label[20, 15], label[25, 30] = 3, 4
    given, generator, found = example(label), rng(), []
    for _ in range(60):
        window = ForegroundCrop((10, 12), (3, 4, 5), probability=1.0)(given, generator)["label"]
        found.append(int(window[5, 6]))
    assert set(found) == {3, 4} and 15 < found.count(3) < 45


def test_classes_are_equally_likely_however_many_pixels_they_have():
    label = np.zeros((40, 50), np.uint8)
    label[:, :20], label[35, 45] = 1, 2
    given, generator = example(label), rng()
    crop = ForegroundCrop(6, (1, 2), probability=1.0)
    rare = sum((crop(given, generator)["label"] == 2).any() for _ in range(100))
    assert 35 < rare < 65


@pytest.mark.parametrize("size", [(10, 12), (60, 12), (60, 70)])
def test_at_the_border_a_foreground_crop_wastes_no_pixel_and_holds_its_pixel(size):
    label = np.zeros((40, 50), np.uint8)
    label[0, 49] = 3
    for seed in range(5):
        found = ForegroundCrop(size, (3,), probability=1.0)(example(label), rng(seed))["label"]
        assert (found == 3).sum() == 1
        assert (found != 255).sum() == min(40, size[0]) * min(50, size[1])


def test_a_share_of_the_crops_looks_for_the_class_and_the_rest_is_random():
    label = np.zeros((100, 100), np.uint8)
    label[50, 50] = 1
    given, generator = example(label), rng()
    crop = ForegroundCrop(5, (1,), probability=0.4)
    assert 60 < sum(crop(given, generator)["label"][2, 2] == 1 for _ in range(200)) < 105


def test_planes_have_foreground_too():
    label = np.zeros((40, 50, 2), np.uint8)
    label[20, 15, 1] = 1
    found = ForegroundCrop(7, (1, 9), probability=1.0)(example(label), rng())
    assert found["label"][3, 3].tolist() == [0, 1]


def test_without_the_classes_the_crop_is_a_random_window():
    given = example(halves())
    corners = {
        float(ForegroundCrop(10, (7,), probability=1.0)(given, rng(s))["image"][0, 0, 0])
        for s in range(30)
    }
    assert len(corners) > 20


@pytest.mark.parametrize(
    ("transform", "which"), [(ResizeShortSide, min), (ResizeLongSide, max)]
)
def test_the_chosen_side_has_its_length_and_the_other_keeps_the_ratio(transform, which):
    for h, w in ((20, 31), (31, 20), (7, 100), (24, 24)):
        found = transform(48)(example(np.zeros((h, w), np.uint8)), rng())
        size = found["label"].shape
        assert found["image"].shape[:2] == size and which(size) == 48
        scale = 48 / which(h, w)
        assert size == (round(h * scale), round(w * scale))


def test_a_range_of_sides_is_drawn_from_with_both_ends():
    given, generator = example(np.zeros((5, 8), np.uint8)), rng()
    found = {min(ResizeShortSide((4, 7))(given, generator)["label"].shape) for _ in range(60)}
    assert found == {4, 5, 6, 7}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BalancedCrop(0), "BalancedCrop needs size"),
        (lambda: BalancedCrop(8, 1.5), "cat_max_ratio in 0 ... 1, got 1.5"),
        (lambda: BalancedCrop(8, tries=0), "whole number tries >= 1, got 0"),
        (lambda: ForegroundCrop(8, ()), r"classes, a tuple of class ids .* got \(\)"),
        (lambda: ForegroundCrop(8, 1), "classes, a tuple of class ids .* got 1"),
        (lambda: ForegroundCrop(8, (-1,)), r"got \(-1,\)"),
        (lambda: ForegroundCrop(8, (1,), 2), "probability in 0 ... 1, got 2"),
        (lambda: ResizeShortSide(0), "ResizeShortSide needs side: .* got 0"),
        (lambda: ResizeLongSide((5, 4)), r"ResizeLongSide needs side: .* got \(5, 4\)"),
        (lambda: ResizeLongSide(2.5), "got 2.5"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
