"""COCO's average precision of boxes, masks and boundaries, from objects in memory.

pycocotools counts (`COCOeval`), or `faster-coco-eval` where that is installed, which gives the
same numbers sooner. Both get what their traps need: annotation ids from 1, for 0 means "no
match" to them; the dataset's class ids as categories; for true objects the area that their
annotation states, if it is given, and of their masks otherwise.

Boundary AP (Cheng et al., 2021, arXiv:2103.16562) takes the smaller of the IoU of two masks and
that of their boundaries, the pixels within 2 % of the image's diagonal of the contour.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segjax.objects import Objects, Rle, decoded, encoded
from segjax.scores.boundary import boundary_band

KINDS = ("box", "mask", "boundary")

SIZES = ("all", "small", "medium", "large")
"""Areas below 32², from 32² to 96², and above 96² pixels."""

DILATION_RATIO = 0.02
"""Width of a boundary as a share of the image's diagonal."""


@dataclasses.dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Precision and recall of a set of images; NaN where a class has no true object.

    Attributes:
      classes: k class ids.
      precision: t r k s m, by threshold of IoU, recall, class, size and number of detections.
      recall: t k s m, the highest.
      objects: k, true objects, crowds left out.
      most: detections of a class and image that count, as numbers of `m`, such as 1, 10, 100.
    """

    classes: tuple[int, ...]
    precision: Float[np.ndarray, "t r k s m"]
    recall: Float[np.ndarray, "t k s m"]
    objects: Int64[np.ndarray, " k"]
    most: tuple[int, ...]

    def __repr__(self) -> str:
        value = self.ap()
        shown = "undefined" if value is None else f"{value:.4f}"
        return f"AveragePrecision({shown}, {int(self.objects.sum())} true objects)"

    def ap(self, *, iou: float | None = None, size: str = "all") -> float | None:
        """Returns the AP, a mean over thresholds, classes and recalls; None if undefined.

        Args:
          iou: the only threshold, such as 0.5; None: the mean over 0.5 to 0.95.
          size: one of `SIZES`.
        """
        return _mean(self.precision[_threshold(iou), :, :, SIZES.index(size), -1])

    def ar(self, *, most: int | None = None, size: str = "all") -> float | None:
        """Returns the average recall, a mean over thresholds and classes; None if undefined.

        Args:
          most: detections of a class and image, one of `self.most`; None: the last of them.
          size: one of `SIZES`.
        """
        place = -1 if most is None else self.most.index(most)
        return _mean(self.recall[:, :, SIZES.index(size), place])

    def ap_by_class(self, *, iou: float | None = None) -> list[float | None]:
        """Returns the AP of each class; None where it has no true object."""
        chosen = self.precision[_threshold(iou), :, :, 0, -1]
        return [_mean(chosen[:, :, place]) for place in range(len(self.classes))]

    def ar_by_class(self) -> list[float | None]:
        """Returns the average recall of each class; None where it has no true object."""
        return [_mean(self.recall[:, place, 0, -1]) for place in range(len(self.classes))]

    def curve(self, *, iou: float) -> Float[np.ndarray, " r"]:
        """Returns precision at 101 recalls from 0 to 1, a mean over classes; NaN: undefined."""
        (precision,) = self.precision[_threshold(iou), :, :, 0, -1]
        there = ~np.isnan(precision).any(0)
        if not there.any():
            return np.full(len(precision), np.nan)
        return precision[:, there].mean(1)

    def summary(self) -> dict[str, float | None]:
        """Returns COCO's twelve numbers by name, such as `ap`, `ap50`, `ar100`, `ap_small`."""
        return {
            "ap": self.ap(),
            "ap50": self.ap(iou=0.5),
            "ap75": self.ap(iou=0.75),
            **{f"ap_{size}": self.ap(size=size) for size in SIZES[1:]},
            **{f"ar{most}": self.ar(most=most) for most in self.most},
            **{f"ar_{size}": self.ar(size=size) for size in SIZES[1:]},
        }


def _threshold(iou: float | None) -> slice:
    """Returns the place of a threshold among 0.5, 0.55, … 0.95, or all of them."""
    if iou is None:
        return slice(None)
    place = round((iou - 0.5) / 0.05)
    return slice(place, place + 1)


def _mean(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def average_precision(
    truths: Sequence[Objects],
    predictions: Sequence[Objects],
    *,
    classes: Sequence[int],
    kind: str = "mask",
    areas: Sequence[Sequence[float] | None] | None = None,
    most: int = 100,
) -> AveragePrecision:
    """Returns the AP of a set of images.

    Args:
      truths, predictions: one an image, in the same order.
      classes: ids of the classes that count.
      kind: "box", "mask" or "boundary".
      areas: one an image: its true objects' areas as annotations state them, which decide what
        is small; None: the areas of masks, or of boxes where there are boxes alone.
      most: detections of a class and image that count; COCO's are 100.

    Raises:
      ValueError: the two differ in length, the kind is not known, or masks are missing.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} images have truths, {len(predictions)} predictions.")
    if kind not in KINDS:
        raise ValueError(f"The kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    areas = [None] * len(truths) if areas is None else areas
    coco_type, evaluator = _tools(kind)
    stated = [_areas(each, told) for each, told in zip(truths, areas, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        pair = (
            _coco(coco_type, truths, classes, kind, stated),
            _coco(coco_type, predictions, classes, kind, None),
        )
        found = evaluator(*pair, "bbox" if kind == "box" else "segm")
        found.params.maxDets = sorted({1, 10, most} if most > 10 else {1, most})
        found.evaluate()
        found.accumulate()
    nan = lambda name: np.where(found.eval[name] < 0, np.nan, found.eval[name])
    everything = np.concatenate([each.classes[~each.crowd] for each in truths] or [[]])
    return AveragePrecision(
        classes=tuple(sorted(classes)),
        precision=nan("precision"),
        recall=nan("recall"),
        objects=np.array([(everything == each).sum() for each in sorted(classes)], np.int64),
        most=tuple(found.params.maxDets),
    )


def _tools(kind: str) -> tuple[Any, Any]:
    """Returns COCO's two classes: those of faster-coco-eval where it can do the work."""
    if kind == "boundary":
        return COCO, BoundaryEval
    if importlib.util.find_spec("faster_coco_eval") is None:
        return COCO, COCOeval
    faster = importlib.import_module("faster_coco_eval")
    return faster.COCO, faster.COCOeval_faster


class BoundaryEval(COCOeval):
    """COCO's evaluation by the smaller of the IoU of masks and that of their boundaries."""

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """Returns the IoU of detections, by falling score, and true objects.

        Boundaries are made only where masks overlap enough to match at all.
        """
        found = super().computeIoU(imgId, catId)
        if not len(found) or not np.size(found):
            return found
        found = np.array(found)
        tables: Any = self  # pycocotools makes both while it evaluates.
        true, said = tables._gts[imgId, catId], tables._dts[imgId, catId]
        order = np.argsort([-each["score"] for each in said], kind="mergesort")
        said = [said[i] for i in order[: len(found)]]
        near = found >= min(self.params.iouThrs)
        rows, columns = (np.flatnonzero(near.any(axis)) for axis in (1, 0))
        if not rows.size:
            return found
        bands: Any = lambda annotations: [band(each["segmentation"]) for each in annotations]
        crowd = [int(true[j]["iscrowd"]) for j in columns]
        of_bands = coco_mask.iou(
            bands([said[i] for i in rows]), bands([true[j] for j in columns]), crowd
        )
        part = np.ix_(rows, columns)
        found[part] = np.where(near[part], np.minimum(found[part], of_bands), found[part])
        return found


def band(mask: Rle) -> Rle:
    """Returns the boundary of a mask: its pixels within 2 % of the diagonal of its contour."""
    distance = max(1, round(DILATION_RATIO * float(np.hypot(*mask["size"]))))
    return encoded(boundary_band(decoded(mask), distance))


def _areas(truth: Objects, told: Sequence[float] | None) -> Sequence[float]:
    if told is not None:
        return told
    return _box_areas(truth) if truth.masks is None else _mask_areas(truth.masks)


def _box_areas(objects: Objects) -> list[float]:
    low, high = np.split(objects.boxes.astype(np.float64), 2, axis=1)
    return (high - low).prod(1).tolist()


def _mask_areas(masks: Sequence[Rle]) -> list[float]:
    return [float(coco_mask.area(each)) for each in masks]  # pyright: ignore (as `encoded`)


def _coco(
    coco_type: Any,
    images: Sequence[Objects],
    classes: Sequence[int],
    kind: str,
    areas: Sequence[Sequence[float]] | None,
) -> Any:
    """Returns objects as pycocotools holds the content of a file; `areas` are of truths."""
    coco = coco_type()
    coco.dataset = {
        "info": {},
        "images": [
            {"id": number, "height": each.size[0], "width": each.size[1]}
            for number, each in enumerate(images, 1)
        ],
        "categories": [{"id": each, "name": str(each)} for each in sorted(classes)],
        "annotations": list(_annotations(images, kind, areas)),
    }
    coco.createIndex()
    return coco


def _annotations(
    images: Sequence[Objects], kind: str, areas: Sequence[Sequence[float]] | None
) -> Iterator[dict[str, Any]]:
    number = 0
    for place, objects in enumerate(images):
        masks = objects.masks
        if masks is None and kind != "box":
            raise ValueError(
                f"The AP of {kind} needs masks, but image {place} has boxes alone."
            )
        if areas is not None:
            of_image = areas[place]
        else:
            of_image = _box_areas(objects) if kind == "box" else _mask_areas(masks or ())
        for i, (x0, y0, x1, y1) in enumerate(objects.boxes.astype(np.float64).tolist()):
            number += 1
            found = {
                "id": number,
                "image_id": place + 1,
                "category_id": int(objects.classes[i]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(of_image[i]),
                "iscrowd": int(objects.crowd[i]),
                "score": float(objects.scores[i]),
            }
            yield (
                found
                if masks is None or kind == "box"
                else {**found, "segmentation": dict(masks[i])}
            )
