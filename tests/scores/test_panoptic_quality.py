"""PQ against a brute force over pairs of segments, and by its definition."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from segjax.objects import PanopticMap, Segment
from segjax.scores.panoptic_quality import (
    match_segments,
    panoptic_counts,
    panoptic_quality,
    qualities,
)

NAMES, THINGS = ("sky", "grass", "cow", "sheep"), (2, 3)


def made(seed: int, *, size=(24, 30), count=9) -> PanopticMap:
    """Rectangles over each other, some of them crowds; a part of the map is void."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(size, np.int32)
    segments = []
    for number in range(1, count + 1):
        y, x = rng.integers(size[0] - 4), rng.integers(size[1] - 4)
        ids[y : y + rng.integers(4, 14), x : x + rng.integers(4, 14)] = number
        class_id = int(rng.integers(len(NAMES)))
        is_thing = class_id in THINGS
        is_crowd = bool(is_thing and rng.random() < 0.3)
        segments.append(Segment(number, class_id, is_thing, is_crowd))
    shown = {*np.unique(ids).tolist()}
    return PanopticMap(ids, tuple(each for each in segments if each.id in shown))


def perturbed(truth: PanopticMap, rng, num_classes: int) -> PanopticMap:
    """A shifted copy with dropped, merged and renamed segments, and rectangles of its own."""
    ids = np.roll(truth.ids, rng.integers(-3, 4, 2), (0, 1)).astype(np.int64)
    segments = {each.id: dataclasses.replace(each, is_crowd=False) for each in truth.segments}
    for number in rng.permutation(list(segments)).tolist():
        chance = rng.random()
        if chance < 0.1:
            ids[ids == number] = 0
        elif chance < 0.2:
            class_id = int(rng.integers(num_classes))
            segments[number] = dataclasses.replace(segments[number], class_id=class_id)
        elif chance < 0.3:
            ids[ids == number] = int(rng.choice(list(segments)))
    new = max(segments, default=0) + 1
    y, x = (int(rng.integers(side // 2)) for side in ids.shape)
    ids[y : y + ids.shape[0] // 5, x : x + ids.shape[1] // 5] = new
    segments[new] = Segment(new, int(rng.integers(num_classes)), True)
    shown = {*np.unique(ids).tolist()}
    return PanopticMap(ids, tuple(each for each in segments.values() if each.id in shown))


def brute_force(pairs, num_classes: int) -> np.ndarray:
    """PQ, SQ and RQ by class, of masks alone: no table of overlaps, no partner remembered."""
    sums = np.zeros((4, num_classes))
    for truth, prediction in pairs:
        add_image(truth, prediction, *sums)
    iou, tp, fp, fn = sums
    with np.errstate(invalid="ignore"):
        whole = tp + fp / 2 + fn / 2
        sq = np.where(tp > 0, iou / np.maximum(tp, 1), 0)
        return np.stack([iou / whole, np.where(whole > 0, sq, np.nan), tp / whole], axis=-1)


def add_image(truth: PanopticMap, prediction: PanopticMap, iou, tp, fp, fn) -> None:
    void = truth.ids == 0
    masks = [(each, truth.ids == each.id) for each in truth.segments]
    others = [(each, prediction.ids == each.id) for each in prediction.segments]
    real = [(s, m) for s, m in masks if not s.is_crowd]

    def value(one, other):
        if one[0].class_id != other[0].class_id:
            return 0.0
        return (one[1] & other[1]).sum() / (one[1] | (other[1] & ~void)).sum()

    for each in real:
        found = [value(each, other) for other in others if value(each, other) > 0.5]
        assert len(found) <= 1
        k = each[0].class_id
        tp[k], fn[k], iou[k] = tp[k] + len(found), fn[k] + (not found), iou[k] + sum(found)
    for segment, mask in others:
        k = segment.class_id
        if not any(value(each, (segment, mask)) > 0.5 for each in real):
            crowds = [m for s, m in masks if s.is_crowd and s.class_id == k]
            covered = (mask & np.any([*crowds, void], axis=0)).sum() / mask.sum()
            fp[k] += covered <= 0.5


def total(pairs, num_classes: int) -> np.ndarray:
    return np.sum([panoptic_counts(*pair, num_classes) for pair in pairs], axis=0)


def test_two_hundred_perturbed_copies_score_as_the_brute_force_says():
    rng = np.random.default_rng(0)
    pairs = [(truth, perturbed(truth, rng, 4)) for truth in map(made, range(200))]
    counts = total(pairs, 4)
    np.testing.assert_allclose(qualities(counts), brute_force(pairs, 4), rtol=1e-9)
    uncounted = sum(len(match_segments(*pair).uncounted) for pair in pairs)
    assert (counts > 20).all() and uncounted > 20  # The copies try every rule.


def test_each_image_alone_scores_as_the_brute_force_says():
    rng = np.random.default_rng(1)
    for truth in map(made, range(40)):
        pair = truth, perturbed(truth, rng, 4)
        found = qualities(panoptic_counts(*pair, 4))
        np.testing.assert_allclose(found, brute_force([pair], 4), rtol=1e-9)


def test_identical_maps_score_one_and_absent_classes_nothing():
    truth = made(3, count=6)
    counts = panoptic_counts(truth, truth, 5)
    scores = panoptic_quality(counts, (*NAMES, "absent"), THINGS)
    assert scores["pq"] == scores["sq"] == scores["rq"] == 1.0
    assert scores["pq_by_class"]["absent"] is None and scores["classes_in_pq"] < 5
    nothing = panoptic_quality(np.zeros((4, 4), np.int64), NAMES, THINGS)
    assert nothing["pq"] is None and nothing["pq_things"] is None
    assert nothing["classes_in_pq"] == 0


def test_things_and_stuff_have_means_of_their_own():
    counts = np.array([[0, 0, 1, 1], [2**40, 1, 0, 0], [2**39, 1, 2, 0], [0, 0, 0, 0]])
    scores = panoptic_quality(counts, NAMES, THINGS)
    assert scores["pq_by_class"] == {"sky": 0.0, "grass": 1.0, "cow": 0.25, "sheep": None}
    assert (scores["pq_stuff"], scores["pq_things"]) == (0.5, 0.25)
    assert scores["pq"] == pytest.approx(1.25 / 3)
    assert (scores["sq_things"], scores["rq_things"]) == (0.5, 0.5)


def test_every_crowd_of_a_class_excuses_a_prediction_on_it():
    ids = np.repeat([[1, 1, 2, 2, 3, 3]], 2, axis=0)
    crowds = tuple(Segment(n, 2, True, is_crowd=True) for n in (1, 2))
    truth = PanopticMap(ids, (*crowds, Segment(3, 0, False)))
    on_first = PanopticMap(np.where(ids == 1, 7, 0), (Segment(7, 2, True),))
    on_both = PanopticMap(np.where(ids <= 2, 7, 0), (Segment(7, 2, True),))
    of_another = PanopticMap(np.where(ids <= 2, 7, 0), (Segment(7, 3, True),))
    assert len(match_segments(truth, on_first).uncounted) == 1
    assert len(match_segments(truth, on_both).uncounted) == 1
    assert len(match_segments(truth, of_another).false_positives) == 1
    assert [each.id for each in match_segments(truth, on_both).misses] == [3]


def test_half_an_iou_is_no_match():
    truth = PanopticMap(np.array([[1, 1, 1]]), (Segment(1, 0, False),))
    wide = lambda ids: PanopticMap(np.array([ids]), (Segment(4, 0, False),))
    assert match_segments(truth, wide([4, 4, 0])).matches[0][2] == pytest.approx(2 / 3)
    truth = PanopticMap(np.array([[1, 1, 1, 1]]), (Segment(1, 0, False),))
    found = match_segments(truth, wide([4, 4, 0, 0]))
    assert not found.matches and len(found.false_positives) == len(found.misses) == 1


def test_maps_that_cannot_be_compared_are_refused_with_what_is_wrong():
    truth = made(0)
    with pytest.raises(ValueError, match=r"\(24, 30\).*\(24, 31\).*one size"):
        match_segments(truth, PanopticMap(np.zeros((24, 31), int), ()))
    with pytest.raises(ValueError, match="predicted map has the id 5, which no segment has"):
        match_segments(truth, PanopticMap(np.full((24, 30), 5), ()))
    with pytest.raises(ValueError, match="Segment 1 has class 9; classes are 0 to 3"):
        other = PanopticMap(np.ones((24, 30), int), (Segment(1, 9, True),))
        panoptic_counts(truth, other, 4)


def coco_maps(folder) -> tuple[list[PanopticMap], int]:
    folder = folder / "coco_panoptic"
    read = lambda name: json.loads((folder / name).read_text(encoding="utf-8"))
    places = {c["id"]: i for i, c in enumerate(read("panoptic_coco_categories.json"))}
    maps = []
    for each in read("panoptic_examples.json")["annotations"]:
        with Image.open(folder / "panoptic_examples" / each["file_name"]) as image:
            rgb = np.asarray(image.convert("RGB"), np.int64)
        segments = [
            Segment(s["id"], places[s["category_id"]], False, bool(s["iscrowd"]))
            for s in each["segments_info"]
        ]
        maps.append(PanopticMap(rgb @ [1, 256, 65536], tuple(segments)))
    return maps, len(places)


def test_real_maps_score_one_on_themselves(real_data):
    maps, k = coco_maps(real_data)
    scores = panoptic_quality(total([(m, m) for m in maps], k), [*map(str, range(k))], ())
    assert scores["pq"] == scores["sq"] == scores["rq"] == 1.0


@pytest.mark.slow
def test_perturbed_copies_of_real_maps_score_as_the_brute_force_says(real_data):
    maps, k = coco_maps(real_data)
    small = [PanopticMap(m.ids[::4, ::4], m.segments) for m in maps]
    small = [
        PanopticMap(m.ids, tuple(s for s in m.segments if (m.ids == s.id).any())) for m in small
    ]
    rng = np.random.default_rng(2)
    pairs = [(m, perturbed(m, rng, k)) for _ in range(100) for m in small]
    found = qualities(total(pairs, k))
    np.testing.assert_allclose(found, brute_force(pairs, k), rtol=1e-9)
    assert np.nanmax(found[:, 0]) > 0.3 and (total(pairs, k)[:, 1:].sum(0) > 300).all()
