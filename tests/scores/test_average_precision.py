"""AP against pycocotools' own run on files, and by its definition."""

import dataclasses
import json
import pathlib
import runpy
import types

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from segjax.objects import Objects, decoded, encoded
from segjax.scores.average_precision import average_precision, band
from segjax.scores.object_matches import image_ap, match_objects, object_iou

MADE = pathlib.Path(__file__).with_name("made_detections.py")
made = types.SimpleNamespace(**runpy.run_path(str(MADE)))
CLASSES = (1, 2, 3, 4, 5)
CATEGORIES = {1: 3, 2: 7, 3: 44, 4: 90, 5: 91}
NAMES = (
    "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small ar_medium ar_large"
).split()


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    truths = [made.truth(seed, count=seed % 9) for seed in range(30)]
    return truths, [made.prediction(each, rng) for each in truths]


def rectangle(y0, x0, y1, x1, *, size=(40, 40)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return encoded(mask), [x0, y0, x1, y1]


def objects(*rows, size=(40, 40), masks=True) -> Objects:
    """Rectangles of (y0, x0, y1, x1), class, score, whether it is a crowd."""
    drawn = [rectangle(*row[0], size=size) for row in rows]
    return Objects(
        size,
        np.array([box for _, box in drawn], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int32),
        np.array([row[2] if len(row) > 2 else 1 for row in rows], np.float32),
        np.array([len(row) > 3 and row[3] for row in rows], bool),
        tuple(rle for rle, _ in drawn) if masks else None,
    )


@pytest.mark.parametrize("steps", [None, 4], ids=["", "tied"])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_ap_is_that_of_pycocotools_on_files(pairs, kind, steps, tmp_path):
    truths, predictions = pairs
    if steps:  # Most scores are equal to others, of the same image and of other ones.
        tied = [np.round(each.scores * steps) / steps for each in predictions]
        predictions = [
            dataclasses.replace(each, scores=scores.astype(np.float32))
            for each, scores in zip(predictions, tied, strict=True)
        ]
    ids = range(100, 100 + len(truths))
    content = made.as_annotations(truths, image_ids=ids, category_ids=CATEGORIES)
    (tmp_path / "truth.json").write_text(json.dumps(content), encoding="utf-8")
    rows = made.as_results(
        predictions, image_ids=ids, category_ids=CATEGORIES, boxes=kind == "box"
    )
    iou_type = "bbox" if kind == "box" else "segm"
    theirs = made.pycocotools_run(tmp_path / "truth.json", rows, tmp_path, iou_type, ids)
    ours = average_precision(truths, predictions, classes=CLASSES, kind=kind)
    np.testing.assert_allclose(
        np.nan_to_num(ours.precision, nan=-1), theirs.eval["precision"], atol=1e-12
    )
    np.testing.assert_allclose(
        np.nan_to_num(ours.recall, nan=-1), theirs.eval["recall"], atol=1e-12
    )
    summary = ours.summary()
    assert [*summary] == NAMES and 0.1 < summary["ap"] < 0.9
    told = [-1 if value is None else value for value in summary.values()]
    np.testing.assert_allclose(told, theirs.stats, atol=1e-12)
    assert ours.ap_by_class()[4] is None and ours.ar_by_class()[4] is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_ap_on_real_images_is_that_of_pycocotools(real_data, kind, tmp_path):
    file = real_data / "coco_mini" / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    categories = dict(enumerate(sorted(c["id"] for c in content["categories"]), 1))
    places = {category: place for place, category in categories.items()}
    truths, areas, rng = [], [], np.random.default_rng(0)
    images = sorted(content["images"], key=lambda each: each["id"])
    for image in images:
        rows = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        boxes = np.array([a["bbox"] for a in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        size = image["height"], image["width"]
        truths.append(
            Objects(
                size,
                boxes.astype(np.float32),
                np.array([places[a["category_id"]] for a in rows], np.int32),
                np.ones(len(rows), np.float32),
                np.array([a["iscrowd"] for a in rows], bool),
                tuple(run_lengths(a["segmentation"], size) for a in rows),
            )
        )
        areas.append([a["area"] for a in rows])
    predictions = [made.prediction(each, rng, classes=80) for each in truths]
    ids = [image["id"] for image in images]
    rows = made.as_results(
        predictions, image_ids=ids, category_ids=categories, boxes=kind == "box"
    )
    iou_type = "bbox" if kind == "box" else "segm"
    theirs = made.pycocotools_run(file, rows, tmp_path, iou_type, ids)
    ours = average_precision(truths, predictions, classes=range(1, 81), kind=kind, areas=areas)
    np.testing.assert_allclose([*ours.summary().values()], theirs.stats, atol=1e-12)
    assert int(ours.objects.sum()) == 739 - 8


def run_lengths(segmentation, size):
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    return coco_mask.frPyObjects(segmentation, *size)


def test_perfect_predictions_score_one_and_nothing_scores_nothing(pairs):
    truths = [each.chosen(~each.crowd) for each in pairs[0]]
    for kind in ("box", "mask", "boundary"):
        summary = average_precision(truths, truths, classes=CLASSES, kind=kind).summary()
        assert [summary[n] for n in ("ap", "ap75", "ar100")] == pytest.approx([1, 1, 1])
    empty = objects()
    nothing = average_precision([empty], [empty], classes=CLASSES)
    assert nothing.ap() is None and set(nothing.summary().values()) == {None}
    assert "undefined" in repr(nothing) and np.isnan(nothing.curve(iou=0.5)).all()
    assert average_precision([truths[3]], [empty], classes=CLASSES).ap() == 0.0


def test_nothing_is_printed(pairs, capsys):
    average_precision(*pairs, classes=CLASSES)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_ap_of_an_image_is_that_of_a_set_of_it(pairs, kind):
    for one, other in zip(*pairs, strict=True):
        ours = image_ap(one, other, kind=kind)
        theirs = average_precision([one], [other], classes=CLASSES, kind=kind).ap()
        assert np.isnan(ours) if theirs is None else ours == pytest.approx(theirs, abs=1e-12)


def test_the_stated_area_decides_what_is_small():
    true = objects(((0, 0, 38, 38), 1))
    of_mask = average_precision([true], [true], classes=(1,))
    assert of_mask.ap(size="medium") == pytest.approx(1) and of_mask.ap(size="small") is None
    told = average_precision([true], [true], classes=(1,), areas=[[1000.0]])
    assert told.ap(size="small") == pytest.approx(1) and told.ap(size="medium") is None


def test_more_detections_than_cocos_hundred_count_where_that_is_asked_for():
    rows = [((y, x, y + 2, x + 2), 1) for y in range(0, 40, 3) for x in range(0, 40, 3)][:150]
    true = objects(*rows)
    assert average_precision([true], [true], classes=(1,)).ar() == pytest.approx(100 / 150)
    more = average_precision([true], [true], classes=(1,), most=200)
    assert more.ar() == pytest.approx(1) and [*more.summary()][6:9] == ["ar1", "ar10", "ar200"]
    assert image_ap(true, true) < 0.7 and image_ap(true, true, most=200) == pytest.approx(1)


def slow_boundary_iou(one, other, crowd):
    """The smaller IoU, of masks and of bands made by 3 × 3 erosions, as the authors do."""
    distance = max(1, round(0.02 * float(np.hypot(*one.shape))))

    def boundary(mask):
        inner = np.pad(mask, 1)
        for _ in range(distance):
            padded = np.pad(inner, 1)
            h, w = inner.shape
            shifts = [padded[y : y + h, x : x + w] for y in range(3) for x in range(3)]
            inner = np.all(shifts, axis=0)
        return mask & ~inner[1:-1, 1:-1]

    def iou(a, b):
        union = a.sum() if crowd else (a | b).sum()
        return (a & b).sum() / union if union else 0.0

    return min(iou(one, other), iou(boundary(one), boundary(other)))


def test_boundary_ap_takes_the_smaller_iou_of_masks_and_of_their_bands(pairs):
    truths, predictions = pairs[0][4:9], pairs[1][4:9]
    ours = average_precision(truths, predictions, classes=CLASSES, kind="boundary").ap()
    masks = average_precision(truths, predictions, classes=CLASSES, kind="mask").ap()
    from segjax.scores import average_precision as module

    class Slow(module.COCOeval):
        def computeIoU(self, imgId, catId):
            true, said = self._gts[imgId, catId], self._dts[imgId, catId]
            if not true or not said:
                return super().computeIoU(imgId, catId)
            order = np.argsort([-each["score"] for each in said], kind="mergesort")
            mask = lambda each: decoded(each["segmentation"])
            return np.array(
                [
                    [slow_boundary_iou(mask(said[i]), mask(t), t["iscrowd"]) for t in true]
                    for i in order
                ]
            )

    original, module.BoundaryEval = module.BoundaryEval, Slow
    try:
        theirs = average_precision(truths, predictions, classes=CLASSES, kind="boundary").ap()
    finally:
        module.BoundaryEval = original
    assert ours == pytest.approx(theirs, abs=1e-12) and 0 < ours < masks


def test_a_large_hole_counts_by_masks_although_the_bands_agree():
    true = objects(((0, 0, 40, 40), 1))
    hole = decoded(true.masks[0])
    hole[6:34, 6:34] = False
    found = Objects(
        true.size, true.boxes, true.classes, true.scores, true.crowd, (encoded(hole),)
    )
    assert slow_boundary_iou(hole, decoded(true.masks[0]), False) == 816 / 1600  # Of masks.
    for kind in ("mask", "boundary"):
        ap = average_precision([true], [found], classes=(1,), kind=kind).ap()
        assert ap == pytest.approx(0.1)  # At 0.5 alone; that of the bands is 0.57.


def test_a_band_is_a_fiftieth_of_the_diagonal_wide():
    mask, _ = rectangle(50, 50, 150, 150, size=(300, 400))
    assert coco_mask.area(band(mask)) == 100**2 - 80**2


def test_predictions_take_the_free_object_with_the_highest_iou_and_crowds_last():
    truth = objects(((0, 0, 10, 10), 1), ((0, 5, 10, 15), 1), ((20, 0, 40, 40), 1, 1, True))
    found = objects(
        ((0, 1, 10, 11), 1, 0.9),
        ((0, 0, 10, 10), 1, 0.8),
        ((20, 0, 30, 10), 1, 0.7),
        ((22, 0, 30, 10), 1, 0.6),
        ((0, 5, 10, 15), 2, 0.5),
    )
    (at_half,) = match_objects(truth, found)
    assert at_half.partner.tolist() == [0, -1, -1, -1, -1]
    assert at_half.uncounted.tolist() == [False, False, True, True, False]
    assert at_half.missed.tolist() == [False, True, False]
    assert object_iou(found, truth)[2, 2] == 1.0  # All of it lies on the crowd.


def test_what_cannot_be_scored_is_refused_with_the_remedy():
    boxes = objects(((0, 0, 9, 9), 1), masks=False)
    assert average_precision([boxes], [boxes], classes=(1,), kind="box").ap() == pytest.approx(
        1
    )
    with pytest.raises(ValueError, match="AP of mask needs masks, but image 0 has boxes alone"):
        average_precision([boxes], [boxes], classes=(1,))
    with pytest.raises(ValueError, match="boxes alone"):
        match_objects(boxes, boxes)
    with pytest.raises(ValueError, match="one of box, mask, boundary, got 'keypoints'"):
        average_precision([boxes], [boxes], classes=(1,), kind="keypoints")
    with pytest.raises(ValueError, match="1 images have truths, 0 predictions"):
        average_precision([boxes], [], classes=(1,))
