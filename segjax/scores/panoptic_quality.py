"""Panoptic quality (Kirillov et al., 2019, arXiv:1801.00868), as COCO and Cityscapes define it.

A predicted and a true segment of one class match if their IoU exceeds 1/2, so each has one
partner at most. Over all segments of a class

    PQ = Σ IoU of matches / (matches + ½ false positives + ½ misses) = SQ · RQ
    SQ = Σ IoU of matches / matches
    RQ = matches / (matches + ½ false positives + ½ misses)

True pixels without a segment are void: a predicted segment's pixels there are left out of the
union. A true crowd is neither matched nor missed. A predicted segment without a partner is no
false positive if more than half of it lies on void or on crowds of its class.

The reference is panopticapi's `evaluation.py`, with two differences: areas are those of the
true map, not of the file beside it, and all crowds of a class count, not the last one alone.
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, Integer

from segjax.objects import PanopticMap, Segment

IOU_UNIT = 2**40
"""IoU is counted in integer parts of 1: their sum does not depend on the order of images."""

VOID = 0
"""The id of pixels that belong to no segment."""


@dataclasses.dataclass(frozen=True)
class SegmentMatches:
    """The segments of an image, by what became of them.

    Attributes:
      matches: (true segment, predicted segment, IoU).
      misses: true segments without a partner; crowds are not among them.
      false_positives: predicted segments without a partner.
      uncounted: predicted segments that lie on void and on crowds.
    """

    matches: tuple[tuple[Segment, Segment, float], ...]
    misses: tuple[Segment, ...]
    false_positives: tuple[Segment, ...]
    uncounted: tuple[Segment, ...]


def match_segments(truth: PanopticMap, prediction: PanopticMap) -> SegmentMatches:
    """Returns which segments of an image match.

    Raises:
      ValueError: the maps differ in size, or a map has ids that it does not list.
    """
    if truth.ids.shape != prediction.ids.shape:
        raise ValueError(
            f"The true map is {truth.ids.shape}, the predicted one {prediction.ids.shape}; "
            "they must have one size."
        )
    _check_listed("true", truth)
    _check_listed("predicted", prediction)
    shared = _shared_pixels(truth.ids, prediction.ids)
    true_area, area = shared.sum(1), shared.sum(0)
    true_at, at = _places(truth.ids), _places(prediction.ids)
    void = shared[true_at[VOID]] if VOID in true_at else np.zeros_like(area)
    true_segments = [each for each in truth.segments if each.id in true_at]
    segments = [each for each in prediction.segments if each.id in at]
    matches, matched = [], set()
    for true in true_segments:
        for other in segments:
            row, column = true_at[true.id], at[other.id]
            overlap = int(shared[row, column])
            if overlap == 0 or true.is_crowd or true.class_id != other.class_id:
                continue
            union = int(true_area[row] + area[column] - void[column]) - overlap
            if 2 * overlap > union:
                matches.append((true, other, overlap / union))
                matched |= {("truth", true.id), ("prediction", other.id)}
    lonely = [each for each in segments if ("prediction", each.id) not in matched]
    uncounted = []
    for other in lonely:
        column = at[other.id]
        crowds = (
            shared[true_at[each.id], column]
            for each in true_segments
            if each.is_crowd and each.class_id == other.class_id
        )
        if 2 * (int(void[column]) + sum(map(int, crowds))) > area[column]:
            uncounted.append(other)
    return SegmentMatches(
        matches=tuple(matches),
        misses=tuple(
            each
            for each in true_segments
            if not each.is_crowd and ("truth", each.id) not in matched
        ),
        false_positives=tuple(each for each in lonely if each not in uncounted),
        uncounted=tuple(uncounted),
    )


def _check_listed(which: str, shown: PanopticMap) -> None:
    listed = {each.id for each in shown.segments}
    if strange := sorted({*np.unique(shown.ids).tolist()} - listed - {VOID}):
        raise ValueError(f"The {which} map has the id {strange[0]}, which no segment has.")


def _places(ids: Integer[np.ndarray, "h w"]) -> dict[int, int]:
    """Returns {id: its place among the ids of a map in ascending order}."""
    return {number: place for place, number in enumerate(np.unique(ids).tolist())}


def _shared_pixels(
    true: Integer[np.ndarray, "h w"], other: Integer[np.ndarray, "h w"]
) -> Int64[np.ndarray, "n m"]:
    """Returns the pixels by (id in one map, id in the other), both in ascending order."""
    rows, row = np.unique(true, return_inverse=True)
    columns, column = np.unique(other, return_inverse=True)
    pairs = row.reshape(-1) * len(columns) + column.reshape(-1)
    counts = np.bincount(pairs, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns)).astype(np.int64)


Counts = Int64[np.ndarray, "k 4"]
"""By class: IoU of the matches in parts of `IOU_UNIT`, matches, false positives, misses."""


def panoptic_counts(truth: PanopticMap, prediction: PanopticMap, num_classes: int) -> Counts:
    """Returns what an image adds to the counts; counts of all images are added up.

    Raises:
      ValueError: as `match_segments`, or a class is not below `num_classes`.
    """
    for segment in (*truth.segments, *prediction.segments):
        if not 0 <= segment.class_id < num_classes:
            raise ValueError(
                f"Segment {segment.id} has class {segment.class_id}; classes are 0 to "
                f"{num_classes - 1}."
            )
    found = match_segments(truth, prediction)
    counts = np.zeros((num_classes, 4), np.int64)
    for true, _, iou in found.matches:
        counts[true.class_id] += round(iou * IOU_UNIT), 1, 0, 0
    for segment in found.false_positives:
        counts[segment.class_id, 2] += 1
    for segment in found.misses:
        counts[segment.class_id, 3] += 1
    return counts


def qualities(counts: Counts) -> Float[np.ndarray, "k 3"]:
    """Returns PQ, SQ and RQ of each class, NaN where the class has no segment.

    SQ of a class without matches is 0, as are PQ and RQ.

    >>> qualities(np.array([[3 * IOU_UNIT // 2, 2, 1, 1], [0, 0, 0, 0]])).tolist()
    [[0.5, 0.75, 0.6666666666666666], [nan, nan, nan]]
    """
    iou, hits, wrong, missed = counts.astype(np.float64).T
    iou = iou / IOU_UNIT
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = hits + wrong / 2 + missed / 2
        sq = np.where(hits > 0, iou / hits, 0.0)
        found = np.stack([iou / whole, sq, hits / whole], axis=-1)
    return np.where(whole[:, None] > 0, found, np.nan)


def panoptic_quality(
    counts: Counts, class_names: Sequence[str], things: Collection[int]
) -> dict[str, Any]:
    """Returns PQ, SQ and RQ, means over the classes that have a segment; None without any.

    Args:
      counts: of all images, added up.
      class_names: k names.
      things: ids of the classes that are counted; the others are stuff.

    Returns:
      `pq`, `sq`, `rq`, the same with `_things` and `_stuff`, and by class `pq_by_class`,
      `sq_by_class`, `rq_by_class`; `classes_in_pq` are the classes in the means.
    """
    values = qualities(counts)
    is_thing = np.isin(np.arange(len(values)), list(things))
    found: dict[str, Any] = {}
    for ending, chosen in ("", is_thing | True), ("_things", is_thing), ("_stuff", ~is_thing):
        for place, name in enumerate(("pq", "sq", "rq")):
            found[name + ending] = mean(values[chosen, place])
    for place, name in enumerate(("pq", "sq", "rq")):
        pairs = zip(class_names, values[:, place].tolist(), strict=True)
        found[f"{name}_by_class"] = {
            each: None if np.isnan(value) else value for each, value in pairs
        }
    found["classes_in_pq"] = int((~np.isnan(values[:, 0])).sum())
    return found


def mean(values: Float[np.ndarray, " n"]) -> float | None:
    """Returns the mean of the values that are numbers; None if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
