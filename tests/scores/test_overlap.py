"""Dice, precision, recall and means over images equal scikit-learn's and plain counts."""

import dataclasses
import json
import pathlib
import runpy

import numpy as np
import pytest

from segjax.scores.overlap import Dice, MeanIoUOverImages, Precision, Recall

HERE = pathlib.Path(__file__).parent
MADE = runpy.run_path(str(HERE / "images.py"))
ORACLE = json.loads((HERE / "oracles.json").read_text("utf-8"))
IMAGES = [MADE["image"](seed) for seed in range(3)]
PLANES = [MADE["planes"](seed) for seed in range(3)]
total = MADE["total"]


@pytest.mark.parametrize(
    "metric", [Dice(), Precision(), Recall()], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("kind", ["classes", "planes"])
def test_scores_by_class_equal_scikit_learn(metric, kind):
    found = total(metric, IMAGES if kind == "classes" else PLANES)
    (name,) = metric.by_class
    wanted = ORACLE[kind][name]
    for value, expected in zip(found[name].values(), wanted, strict=True):
        assert value == (None if expected is None else pytest.approx(expected, abs=1e-12))
    defined = [value for value in wanted if value is not None]
    assert found[f"mean_{name}"] == pytest.approx(np.mean(defined), abs=1e-12)


def test_a_class_that_occurs_nowhere_has_no_dice_and_leaves_the_mean_alone():
    found = total(Dice(), IMAGES)
    assert found["dice"]["sky"] is None
    assert found["mean_dice"] == np.mean([v for v in found["dice"].values() if v is not None])


def test_the_mean_over_images_is_of_each_images_own_iou():
    each = []
    for one in IMAGES:
        ious = []
        for k in range(4):
            truth, said = (one.label == k), (one.prediction == k) & one.counted
            if (truth | said).any():
                ious.append((truth & said).sum() / (truth | said).sum())
        each.append(np.mean(ious))
    found = total(MeanIoUOverImages(), IMAGES)["mean_iou_over_images"]
    assert found == pytest.approx(np.mean(each), abs=1e-12)


def test_an_image_without_counted_pixels_is_left_out_of_the_mean_over_images():
    nothing = dataclasses.replace(IMAGES[0], counted=np.zeros_like(IMAGES[0].counted))
    metric = MeanIoUOverImages()
    assert total(metric, [*IMAGES, nothing]) == total(metric, IMAGES)


def test_a_prediction_that_is_no_class_is_an_error_of_its_true_class_alone():
    one = IMAGES[0]
    lost = dataclasses.replace(one, prediction=np.where(one.label == 1, -1, one.prediction))
    before, after = total(Recall(), [one])["recall"], total(Recall(), [lost])["recall"]
    assert after["road"] == 0 and after["ground"] == before["ground"]
