"""Scores near borders equal brute force: erosion step by step, distances pixel by pixel."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from segjax.contracts import IGNORE
from segjax.errors import InputError
from segjax.scores.boundary import (
    BoundaryF1,
    BoundaryIoU,
    TrimapIoU,
    border_distance,
    boundary_band,
    boundary_f1,
)
from segjax.scores.extra_metric import ScoredImage

MADE = runpy.run_path(str(Path(__file__).parent / "images.py"))
IMAGES = [MADE["image"](seed) for seed in range(2)]
PLANES = [MADE["planes"](seed) for seed in range(2)]
total, blobs = MADE["total"], MADE["blobs"]
KINDS = pytest.mark.parametrize("images", [IMAGES, PLANES], ids=["classes", "planes"])


def eroded(mask: np.ndarray, times: int) -> np.ndarray:
    """Erosion by 3 × 3 again and again, with zeros around the image."""
    for _ in range(times):
        padded = np.pad(mask, 1)
        views = [
            padded[i : i + mask.shape[0], j : j + mask.shape[1]]
            for i in range(3)
            for j in range(3)
        ]
        mask = np.logical_and.reduce(views)
    return mask


def masks(image: ScoredImage, k: int):
    if image.is_overlapping:
        counted = image.label[..., k] != IGNORE
        return image.label[..., k] == 1, image.prediction[..., k] == 1, counted
    return image.label == k, image.prediction == k, image.label != IGNORE


def near(label: np.ndarray, width: int) -> np.ndarray:
    """Whether another label is within `width` rows and columns, pixel by pixel."""
    found = np.zeros(label.shape, bool)
    for i, j in np.ndindex(label.shape):
        rows = slice(max(0, i - width), i + width + 1)
        columns = slice(max(0, j - width), j + width + 1)
        found[i, j] = (label[rows, columns] != label[i, j]).any()
    return found


@KINDS
def test_boundary_iou_equals_erosion_step_by_step(images):
    names = images[0].class_names
    both, any_ = np.zeros(len(names)), np.zeros(len(names))
    for image in images:
        distance = max(1, round(0.1 * np.hypot(24, 31)))
        for k in range(len(names)):
            truth, said, counted = masks(image, k)
            bands = [(m & ~eroded(m, distance)) & counted for m in (truth, said)]
            both[k] += (bands[0] & bands[1]).sum()
            any_[k] += (bands[0] | bands[1]).sum()
    found = total(BoundaryIoU(0.1), images)
    wanted = [both[k] / any_[k] if any_[k] else None for k in range(len(names))]
    assert list(found["boundary_iou"].values()) == pytest.approx(wanted)
    defined = [value for value in wanted if value is not None]
    assert found["mean_boundary_iou"] == pytest.approx(np.mean(defined))


@pytest.mark.parametrize("distance", [1, 2, 5, 40])
def test_a_band_is_the_mask_without_its_erosion(distance):
    mask = np.zeros((40, 37), bool)
    mask[0:30, 5:36] = mask[33:40, :] = True
    mask[10, 12] = False
    assert np.array_equal(boundary_band(mask, distance), mask & ~eroded(mask, distance))


def test_the_same_mask_has_boundary_iou_1_and_f1_1():
    one = MADE["image"](0)
    same = ScoredImage(
        one.label, np.where(one.counted, one.label, 0), one.counted, one.class_names
    )
    clean = ScoredImage(same.prediction, same.prediction, one.counted | True, one.class_names)
    assert total(BoundaryIoU(), [clean])["mean_boundary_iou"] == 1
    assert total(BoundaryF1(), [clean])["boundary_f1_over_images"] == 1


def test_boundary_iou_falls_faster_than_iou_where_a_large_mask_is_shifted():
    truth, said = np.zeros((2, 100, 100), int)
    truth[20:80, 20:80] = said[22:82, 22:82] = 1
    image = ScoredImage(truth, said, truth < 2, ("a", "b"))
    iou = 58 * 58 / (2 * 3600 - 58 * 58)
    assert total(BoundaryIoU(), [image])["boundary_iou"]["b"] < 0.5 < iou


@KINDS
def test_trimap_iou_equals_brute_force(images):
    names, widths = images[0].class_names, (1, 3, 50)
    found = total(TrimapIoU(widths), images)["trimap_iou"]
    for width in widths:
        both, any_ = np.zeros(len(names)), np.zeros(len(names))
        for image in images:
            for k in range(len(names)):
                truth, said, counted = masks(image, k)
                label = image.label[..., k] if image.is_overlapping else image.label
                here = near(label, width) & counted
                both[k] += (truth & said & here).sum()
                any_[k] += ((truth | said) & here).sum()
        wanted = np.mean(both[any_ > 0] / any_[any_ > 0])
        assert found[str(width)] == pytest.approx(wanted), width


def test_the_trimap_of_objects_edged_by_ignored_pixels_is_the_ignored_band_dilated():
    label = np.zeros((30, 30), int)
    label[8:22, 8:22] = IGNORE
    label[10:20, 10:20] = 1
    dilated = ~eroded(np.pad(label != IGNORE, 9, constant_values=True), 2)[9:-9, 9:-9]
    band = (border_distance(label) <= 2) & (label != IGNORE)
    assert np.array_equal(band, dilated & (label != IGNORE))


def test_an_image_of_one_label_has_no_trimap():
    label = np.ones((5, 6), int)
    image = ScoredImage(label, label * 0, label > 0, ("a", "b"))
    assert np.isnan(total(TrimapIoU((1, 99)), [image])["trimap_iou"]["99"])


def points(mask: np.ndarray, counted: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for i, j in np.argwhere(mask & counted):
        sides = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        inside = [s for s in sides if 0 <= s[0] < mask.shape[0] and 0 <= s[1] < mask.shape[1]]
        if not all(mask[s] for s in inside):
            found.append((i, j))
    return found


def slow_f1(truth, said, counted, distance) -> float:
    true, answer = points(truth, counted), points(said, counted)
    if not true and not answer:
        return np.nan
    match = lambda these, those: (
        np.mean([any(np.hypot(a - c, b - d) <= distance for c, d in those) for a, b in these])
        if these and those
        else 0.0
    )
    precision, recall = match(answer, true), match(true, answer)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@KINDS
def test_boundary_f1_equals_brute_force_and_is_a_mean_over_images(images):
    names, tolerance = images[0].class_names, 0.04
    values = np.array(
        [
            [slow_f1(*masks(i, k), tolerance * np.hypot(24, 31)) for k in range(len(names))]
            for i in images
        ]
    )
    found = total(BoundaryF1(tolerance), images)
    wanted = np.mean([np.nanmean(row) for row in values])
    assert found["boundary_f1_over_images"] == pytest.approx(wanted)
    for k, value in enumerate(found["boundary_f1_over_images_by_class"].values()):
        if not np.isnan(values[:, k]).all():
            assert value == pytest.approx(np.nanmean(values[:, k]))


def test_boundary_f1_is_0_where_one_side_alone_has_a_boundary_and_nan_where_none_has():
    mask, none = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    mask[2:5, 2:5] = True
    assert boundary_f1(mask, none, 2, counted=~none) == 0
    assert boundary_f1(none, mask, 2, counted=~none) == 0
    assert np.isnan(boundary_f1(none, none, 2, counted=~none))
    assert np.isnan(boundary_f1(~none, ~none, 2, counted=~none))  # The edge is no boundary.


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BoundaryIoU(0), "dilation_ratio=0"),
        (lambda: BoundaryF1(1.5), "tolerance=1.5"),
        (lambda: TrimapIoU(()), r"widths=\(\)"),
        (lambda: TrimapIoU((4, 2)), r"widths=\(4, 2\)"),
        (lambda: TrimapIoU((0, 2)), r"widths=\(0, 2\)"),
    ],
)
def test_wrong_fields_are_refused_in_one_line(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_each_image_counts_once_in_boundary_f1_however_many_classes_it_has():
    metric, nan = BoundaryF1(), np.nan
    counts = np.array([[1.0, nan, nan], [0.2, 0.4, 0.6]])
    found = metric.scores(counts, ("a", "b", "c"))
    assert found["boundary_f1_over_images"] == pytest.approx((1.0 + 0.4) / 2)
    assert found["boundary_f1_over_images_by_class"] == pytest.approx(
        {"a": 0.6, "b": 0.4, "c": 0.6}
    )
