"""Rand and warping errors equal brute force over pairs of pixels and over orders of flips."""

import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.scores.extra_metric import ScoredImage
from segjax.scores.rand import RandError, rand_sums
from segjax.scores.segments import regions
from segjax.scores.warping import WarpingError, simple_points, warped

MADE = runpy.run_path(str(Path(__file__).parent / "images.py"))
total, blobs = MADE["total"], MADE["blobs"]


def binary(seed: int, shape=(9, 11)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = blobs(rng, shape, 2)
    return truth, np.where(rng.random(shape) < 0.8, truth, blobs(rng, shape, 2))


def pairs(truth: np.ndarray, prediction: np.ndarray) -> tuple[int, int, int]:
    """Ordered pairs of pixels in true segments, together in both, the truth, the prediction."""
    inside = np.argwhere(truth > 0)
    both = true = said = 0
    for a, b in itertools.product(map(tuple, inside), repeat=2):
        in_truth = truth[a] == truth[b]
        in_prediction = a == b or (prediction[a] == prediction[b] and prediction[a] > 0)
        both += in_truth and in_prediction
        true += in_truth
        said += in_prediction
    return both, true, said


@pytest.mark.parametrize("seed", range(4))
def test_rand_sums_equal_a_count_of_all_pairs_of_pixels(seed):
    truth, prediction = (regions(each == 1) for each in binary(seed))
    assert tuple(rand_sums(truth, prediction)) == pairs(truth, prediction)


def test_the_rand_error_is_one_less_the_mean_f_score_over_images():
    images = [binary(seed) for seed in range(3)]
    f_scores = []
    for truth, said in images:
        both, true, predicted = pairs(regions(truth == 1), regions(said == 1))
        f_scores.append(2 * both / (true + predicted))
    scored = [ScoredImage(t, s, t < 2, ("membrane", "cell")) for t, s in images]
    found = total(RandError(), scored)
    assert found["rand_error"] == pytest.approx(1 - np.mean(f_scores))
    assert found["rand_f_score"] == pytest.approx(np.mean(f_scores))


def test_a_merge_lowers_the_merge_score_alone_and_a_split_the_split_score_alone():
    two, one = np.ones((6, 11), int), np.ones((6, 11), int)
    two[:, 5] = 0
    names = ("membrane", "cell")
    merged = total(RandError(), [ScoredImage(two, one, two < 2, names)])
    assert merged["rand_split"] == 1 and merged["rand_merge"] == pytest.approx(0.5)
    split = total(RandError(), [ScoredImage(one, two, two < 2, names)])
    assert split["rand_merge"] == 1 and split["rand_split"] < 0.6


def test_the_maximal_rand_score_is_that_of_the_best_threshold_over_all_images():
    thresholds = (0.2, 0.5, 0.8)
    images = []
    for seed in range(3):
        one = MADE["planes"](seed, k=1)
        images.append(
            ScoredImage(one.label, one.prediction, one.counted, ("cell",), one.probabilities)
        )
    by_hand = []
    for t in thresholds:
        at = [
            ScoredImage(i.label, (i.probabilities >= t).astype(int), i.counted, ("cell",))
            for i in images
        ]
        by_hand.append(total(RandError(), at)["rand_error"])
    found = total(RandError(thresholds=thresholds), images)
    assert found["rand_error"] == min(by_hand)
    assert found["rand_threshold"] == thresholds[int(np.argmin(by_hand))]
    assert RandError(thresholds=thresholds).needs_probabilities
    assert not RandError().needs_probabilities


def topology(mask: np.ndarray) -> tuple[int, int]:
    """The number of segments, and that of regions of border with what is outside."""
    from scipy import ndimage

    padded = np.pad(mask, 1)
    return ndimage.label(padded)[1], ndimage.label(~padded, np.ones((3, 3)))[1]


def test_a_simple_point_is_one_whose_flip_keeps_the_numbers_of_regions_nearby():
    from scipy import ndimage

    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    for number, is_simple in enumerate(simple_points()):
        counts = []
        for centre in (0, 1):
            patch = np.zeros((3, 3), bool)
            for bit, place in enumerate(ring):
                patch[place] = number >> bit & 1
            patch[1, 1] = centre
            inside, _ = ndimage.label(patch)
            outside, _ = ndimage.label(~patch, np.ones((3, 3)))
            sides = [(0, 1), (1, 2), (2, 1), (1, 0)]
            # Regions of segments that a side reaches, or the centre itself.
            reached = {inside[p] for p in [*sides, (1, 1)]} - {0}
            counts.append((len(reached), outside.max()))
        assert is_simple == (counts[0] == counts[1]), f"{number:08b}"


@pytest.mark.parametrize("seed", range(6))
def test_warping_keeps_the_topology_of_the_truth_and_stops_where_no_flip_does(seed):
    truth, said = (each == 1 for each in binary(seed, (14, 13)))
    found = warped(truth, said)
    assert topology(found) == topology(truth)
    assert ((found == truth) | (found == said)).all()
    simple = simple_points()
    padded = np.pad(found, 1)
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    for i, j in np.argwhere(found != said):
        code = sum(int(padded[i + r, j + c]) << bit for bit, (r, c) in enumerate(ring))
        assert not simple[code]


def best_warp(truth: np.ndarray, said: np.ndarray) -> int:
    """The fewest errors over all orders of flips, by trying every mask that can be reached."""
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    seen, stack, fewest = set(), [truth.tobytes()], truth.size
    while stack:
        key = stack.pop()
        if key in seen:
            continue
        seen.add(key)
        mask = np.frombuffer(key, bool).reshape(truth.shape).copy()
        fewest = min(fewest, int((mask != said).sum()))
        padded = np.pad(mask, 1)
        for i, j in np.argwhere(mask != said):
            code = sum(int(padded[i + r, j + c]) << bit for bit, (r, c) in enumerate(ring))
            if simple_points()[code]:
                mask[i, j] ^= True
                stack.append(mask.tobytes())
                mask[i, j] ^= True
    return fewest


def test_the_greedy_warp_is_never_better_than_the_best_order_and_mostly_as_good():
    gaps = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth, said = rng.random((2, 3, 4)) < 0.6
        greedy = int((warped(truth, said) != said).sum())
        gaps.append(greedy - best_warp(truth, said))
    assert min(gaps) == 0 and sum(gap > 0 for gap in gaps) <= 6


def test_a_shifted_border_is_no_warping_error_and_a_gap_in_it_is_one_of_one_pixel():
    truth, shifted = np.ones((10, 12), int), np.ones((10, 12), int)
    truth[:, 4:7] = shifted[:, 6:9] = 0
    names = ("membrane", "cell")
    score = lambda said: total(WarpingError(), [ScoredImage(truth, said, truth < 2, names)])
    assert score(shifted) == {"warping_error": 0}
    gap = truth.copy()
    gap[4, 4:7] = 1
    assert score(gap) == {"warping_error": 1 / 120}


def test_ignored_pixels_are_no_warping_errors():
    truth = np.ones((10, 12), int)
    truth[:, 5] = 0
    gap = truth.copy()
    gap[4, 5] = 1
    counted = np.ones(truth.shape, bool)
    counted[4, 5] = False
    image = ScoredImage(truth, gap, counted, ("membrane", "cell"))
    assert total(WarpingError(), [image]) == {"warping_error": 0}


@pytest.mark.parametrize("metric", [RandError, WarpingError])
def test_the_class_of_the_segments_must_be_known(metric):
    metric().check(("membrane", "cell"), overlapping=False)
    metric().check(("cell",), overlapping=True)
    metric("axon").check(("glia", "axon"), overlapping=True)
    with pytest.raises(InputError, match="needs the class whose regions are the segments"):
        metric().check(("a", "b", "c"), overlapping=False)
    with pytest.raises(InputError, match="'cel'.* is not one of the classes membrane, cell"):
        metric("cel").check(("membrane", "cell"), overlapping=False)


def test_a_threshold_must_lie_between_0_and_1():
    with pytest.raises(InputError, match="1.5 does not lie between 0 and 1"):
        RandError(thresholds=(0.5, 1.5))
