"""Scores near borders: boundary IoU, IoU in a trimap, and boundary F1.

The areas of large objects hide errors at their borders. These scores count only pixels near
them. SciPy's distance transforms are imported when they are first needed.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Integer

from segjax import threshold_metrics
from segjax.errors import InputError
from segjax.report.extra_scores import trimap_chart
from segjax.report.score import Score
from segjax.scores.extra_metric import ExtraMetric, ScoredImage, class_scores


@dataclasses.dataclass(frozen=True)
class BoundaryIoU(ExtraMetric):
    """Boundary IoU (Cheng et al., 2021, arXiv:2103.16562) by class, and its mean over classes.

    For each class, the band of a mask is its pixels within d of its contour. Boundary IoU is
    the intersection over the union of the true and the predicted band, of pixels counted over
    the whole set. As in the authors' code, d = `dilation_ratio` of the image's diagonal,
    rounded and at least 1; distances are chessboard distances; and the image's edge is part of
    the contour. Ignored pixels belong to no true mask and are not counted.

    The paper scores instances. Here the masks are those of classes.

    Attributes:
      dilation_ratio: d, as a share of the diagonal.

    Raises:
      InputError: `dilation_ratio` does not lie between 0 and 1.
    """

    dilation_ratio: float = 0.02

    shown = {"mean_boundary_iou": Score("Mean boundary IoU")}
    by_class = {"boundary_iou": Score("Boundary IoU")}
    definition = (
        "IoU of the pixels of each mask that lie near its contour, within a share of the "
        "image's diagonal, over the whole set (Cheng et al., 2021)."
    )

    def __post_init__(self) -> None:
        _check_share("BoundaryIoU", "dilation_ratio", self.dilation_ratio, "0.02")

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns intersection and union of the bands, k × 2."""
        distance = max(1, round(self.dilation_ratio * image.diagonal))
        counts = np.zeros((len(image.class_names), 2), np.int64)
        for index, truth, prediction, counted in image.planes():
            true_band = boundary_band(truth, distance) & counted
            band = boundary_band(prediction, distance) & counted
            counts[index] = (true_band & band).sum(), (true_band | band).sum()
        return counts

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns boundary IoU by class and its mean over the classes that occur."""
        return class_scores("boundary_iou", _ratio(counts), class_names)


def boundary_band(mask: Bool[np.ndarray, "h w"], distance: int) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels of a mask within a chessboard distance of its contour.

    What lies outside the image does not belong to the mask.

    >>> boundary_band(np.ones((5, 5), bool), 1).astype(int)
    array([[1, 1, 1, 1, 1],
           [1, 0, 0, 0, 1],
           [1, 0, 0, 0, 1],
           [1, 0, 0, 0, 1],
           [1, 1, 1, 1, 1]])
    """
    from scipy import ndimage

    if not mask.any():
        return mask
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    inner = ndimage.minimum_filter(
        mask[box].astype(np.uint8), size=2 * distance + 1, mode="constant", cval=0
    )
    band = mask.copy()
    band[box] &= inner == 0
    return band


@dataclasses.dataclass(frozen=True)
class TrimapIoU(ExtraMetric):
    """Mean IoU of the pixels within n pixels of a true border, for several n: a curve.

    Kohli et al. (2009) and the DeepLab papers plot it. A pixel lies in the trimap of width n
    if the truth has another label within a chessboard distance of n; 255 is such a label. So
    for truth whose objects are edged by ignored pixels, as VOC's, this is the ignored band
    dilated by n pixels, as in DeepLab; elsewhere it is n pixels on each side of a border. IoU
    is of one count over the whole set for each width. If classes may overlap, each class has
    its own trimap.

    Attributes:
      widths: n, in pixels.

    Raises:
      InputError: there is no width, one is below 1, or they do not ascend.
    """

    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32)

    further = ("trimap_iou",)
    definition = "Mean IoU of the pixels within n pixels of a border of the truth."

    def __post_init__(self) -> None:
        if list(self.widths) != sorted({*self.widths}) or min(self.widths, default=0) < 1:
            raise InputError(
                f"TrimapIoU(widths={self.widths}) must be ascending numbers of pixels from 1, "
                "such as (1, 2, 4, 8)."
            )

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns intersection and union in each trimap, widths × k × 2."""
        counts = np.zeros((len(self.widths), len(image.class_names), 2), np.int64)
        shared = None if image.is_overlapping else border_distance(image.label)
        for index, truth, prediction, counted in image.planes():
            away = border_distance(image.label[..., index]) if shared is None else shared
            for row, width in zip(counts, self.widths, strict=True):
                near = (away <= width) & counted
                row[index] = (
                    (truth & prediction & near).sum(),
                    ((truth | prediction) & near).sum(),
                )
        return counts

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns {width: mean IoU over the classes that occur in its trimap}."""
        means = [threshold_metrics.mean_over_classes(_ratio(each)) for each in counts]
        values = dict(zip(map(str, self.widths), map(float, means), strict=True))
        return {"trimap_iou": values}

    def figures(self, scores: Mapping[str, Any]) -> str:
        """Returns the curve over widths."""
        return trimap_chart(scores["trimap_iou"])


def border_distance(label: Integer[np.ndarray, "h w"]) -> Int64[np.ndarray, "h w"]:
    """Returns the chessboard distance to the nearest pixel of another label.

    Without another label it is more than any width.

    >>> border_distance(np.array([[0, 0, 0, 1, 1]])).tolist()
    [[3, 2, 1, 1, 2]]
    """
    from scipy import ndimage

    around = {"size": 3, "mode": "nearest"}
    ids = label.astype(np.int32)
    edge = ndimage.minimum_filter(ids, **around) != ndimage.maximum_filter(ids, **around)
    if not edge.any():
        return np.full(label.shape, np.iinfo(np.int64).max)
    distance = ndimage.distance_transform_cdt(~edge, metric="chessboard")
    return np.asarray(distance, np.int64) + 1


@dataclasses.dataclass(frozen=True)
class BoundaryF1(ExtraMetric):
    """The boundary F1 measure, or BF score (Csurka et al., 2013), a mean over images.

    For each class of an image, precision is the share of predicted boundary pixels within a
    distance of a true one, recall the share of true ones within it of a predicted one, and F1
    their harmonic mean. The distance is Euclidean and `tolerance` of the image's diagonal, as
    in the paper and in MATLAB's `bfscore`. F1 is 0 where only truth or only prediction has a
    boundary, and undefined where neither has.

    A boundary pixel belongs to the class and shares a side with a pixel that does not. The
    image's edge is not a boundary. Boundary pixels that are ignored are left out of the shares.

    The score is each image's mean over its classes, then the mean over images. The score of a
    class is the mean over the images that have it. These are means of ratios, so every image
    has the same weight.

    Attributes:
      tolerance: the largest distance, as a share of the diagonal.

    Raises:
      InputError: `tolerance` does not lie between 0 and 1.
    """

    tolerance: float = 0.0075

    shown = {"boundary_f1_over_images": Score("Boundary F1 over images")}
    by_class = {"boundary_f1_over_images_by_class": Score("Boundary F1 over images")}
    definition = (
        "F1 of boundary pixels that match within a share of the image's diagonal: the mean "
        "over an image's classes, then over images (Csurka et al., 2013)."
    )
    per_image = True

    def __post_init__(self) -> None:
        _check_share("BoundaryF1", "tolerance", self.tolerance, "0.0075")

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns F1 by class, k; NaN where it is not defined."""
        values = np.full(len(image.class_names), np.nan)
        for index, truth, prediction, counted in image.planes():
            values[index] = boundary_f1(
                truth, prediction, self.tolerance * image.diagonal, counted=counted
            )
        return values

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the mean over images of each image's mean, and of each class."""
        mean = threshold_metrics.mean_over_classes
        by_class = dict(zip(class_names, map(float, mean(counts)), strict=True))
        return {
            "boundary_f1_over_images": float(mean(mean(counts.T))),
            "boundary_f1_over_images_by_class": by_class,
        }


def boundary_f1(
    truth: Bool[np.ndarray, "h w"],
    prediction: Bool[np.ndarray, "h w"],
    distance: float,
    *,
    counted: Bool[np.ndarray, "h w"],
) -> float:
    """Returns the harmonic mean of boundary precision and recall; NaN without any boundary."""
    true, said = _boundary_points(truth, counted), _boundary_points(prediction, counted)
    if not len(true) and not len(said):
        return np.nan
    if not len(true) or not len(said):
        return 0.0
    precision, recall = _near(said, true, distance), _near(true, said, distance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary_points(
    mask: Bool[np.ndarray, "h w"], counted: Bool[np.ndarray, "h w"]
) -> Int64[np.ndarray, "n 2"]:
    """Returns (row, column) of the counted pixels of a mask with a side at its outside."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inside & counted)


def _near(points: np.ndarray, others: np.ndarray, distance: float) -> float:
    """Returns the share of points that have one of the others within a distance."""
    from scipy.spatial import KDTree

    nearest, _ = KDTree(others).query(points)
    return float((nearest <= distance).mean())


def _ratio(counts: np.ndarray) -> np.ndarray:
    """Returns intersection over union of counts k × 2; NaN where the union is empty."""
    intersection, union = counts[:, 0].astype(np.float64), counts[:, 1]
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)


def _check_share(who: str, field: str, value: float, usual: str) -> None:
    if not 0 < value < 1:
        raise InputError(
            f"{who}({field}={value}) must be a share of the diagonal between 0 and 1, as "
            f"{usual} is."
        )
