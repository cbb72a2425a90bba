"""Which predicted objects find which true ones, by COCO's rules; and the AP of one image.

By falling score, each predicted object takes the true object of its class with the highest IoU
that is still free, if that IoU reaches the threshold. One that finds none may lie on a crowd of
its class, by the share of its own area: it then counts neither as a hit nor as an error.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from pycocotools import mask as coco_mask

from segjax.objects import Objects

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's thresholds of IoU: 0.50, 0.55, … 0.95."""

RECALLS = np.linspace(0, 1, 101)
"""The recalls at which COCO reads the precision."""


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectMatches:
    """What became of the objects of an image at one threshold.

    Attributes:
      partner: for each of n predicted objects the place of its true object, or −1.
      uncounted: n, whether it lies on a crowd.
      missed: for each of m true objects whether it counts and has no partner.
    """

    partner: Integer[np.ndarray, " n"]
    uncounted: Bool[np.ndarray, " n"]
    missed: Bool[np.ndarray, " m"]


def object_iou(
    prediction: Objects, truth: Objects, *, kind: str = "mask"
) -> Float[np.ndarray, "n m"]:
    """Returns the IoU of each predicted with each true object, whatever their classes.

    Of a crowd it is the share of the predicted object that lies on it.

    Args:
      prediction, truth: of one image.
      kind: "box" or "mask".

    Raises:
      ValueError: masks are asked for, and there are boxes alone.
    """
    if not len(prediction) or not len(truth):
        return np.zeros((len(prediction), len(truth)))
    both: Any
    if kind == "box":
        both = [_as_coco_boxes(each.boxes) for each in (prediction, truth)]
    elif prediction.masks is None or truth.masks is None:
        raise ValueError(
            "The IoU of masks needs objects with masks, but these have boxes alone."
        )
    else:
        both = [list(prediction.masks), list(truth.masks)]
    crowd = truth.crowd.astype(np.uint8).tolist()
    return np.asarray(coco_mask.iou(both[0], both[1], crowd), np.float64)


def _as_coco_boxes(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Returns (x, y, width, height)."""
    boxes = boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def match_objects(
    truth: Objects,
    prediction: Objects,
    *,
    thresholds: Sequence[float] | Float[np.ndarray, " t"] = (0.5,),
    kind: str = "mask",
) -> list[ObjectMatches]:
    """Returns what became of the objects at each threshold of IoU.

    Raises:
      ValueError: as `object_iou`.
    """
    iou = object_iou(prediction, truth, kind=kind)
    iou = np.where(prediction.classes[:, None] == truth.classes, iou, -1.0)
    return [_matched(iou, truth, prediction, float(each)) for each in thresholds]


def _matched(
    iou: np.ndarray, truth: Objects, prediction: Objects, threshold: float
) -> ObjectMatches:
    least = min(threshold, 1 - 1e-10)
    partner = np.full(len(prediction), -1)
    uncounted = np.zeros(len(prediction), bool)
    free = ~truth.crowd
    for i in np.argsort(-prediction.scores, kind="stable").tolist():
        there = free & (iou[i] >= least)
        if there.any():
            best = np.flatnonzero(there & (iou[i] == iou[i][there].max()))[-1]
            partner[i], free[best] = best, False
        else:
            uncounted[i] = bool((truth.crowd & (iou[i] >= least)).any())
    return ObjectMatches(partner, uncounted, free)


def image_ap(
    truth: Objects, prediction: Objects, *, kind: str = "mask", most: int = 100
) -> float:
    """Returns the AP of one image alone, a mean over the classes of its true objects.

    NaN where there is no true object, crowds left out.

    Args:
      truth, prediction: of one image.
      kind: "box" or "mask".
      most: predicted objects of a class that count, those with the highest scores.
    """
    classes = np.unique(truth.classes[~truth.crowd]).tolist()
    found = [
        _class_ap(truth.chosen(truth.classes == each), _first(prediction, each, most), kind)
        for each in classes
    ]
    return float(np.mean(found)) if found else float("nan")


def _first(prediction: Objects, class_id: int, most: int) -> Objects:
    """Returns the objects of a class with the highest scores, in falling order."""
    places = np.flatnonzero(prediction.classes == class_id)
    order = np.argsort(-prediction.scores[places], kind="stable")
    return prediction.chosen(places[order[:most]])


def _class_ap(truth: Objects, prediction: Objects, kind: str) -> float:
    total = int((~truth.crowd).sum())
    matches = match_objects(truth, prediction, thresholds=THRESHOLDS, kind=kind)
    return float(np.mean([_ap(each, total) for each in matches]))


def _ap(matches: ObjectMatches, total: int) -> float:
    """Returns the mean over `RECALLS` of the highest precision at that recall or a higher one.

    The objects must be in the order of their scores.
    """
    hits = (matches.partner[~matches.uncounted] >= 0).cumsum()
    precision = hits / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / total, RECALLS, side="left")
    return float(np.append(highest, 0.0)[np.minimum(place, len(hits))].mean())
