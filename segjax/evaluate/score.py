"""Scores of a predictor on a dataset, at each image's own size."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segjax import metrics
from segjax.contracts import Dataset, Variables
from segjax.data.loader import equal_size_batches
from segjax.evaluate.compiled import HostPredictor, on_host
from segjax.evaluate.predictors import Predictor
from segjax.parallel.sums import gather_by_index, sum_over_processes


@dataclasses.dataclass(frozen=True)
class Scores:
    """One confusion matrix over the whole set, and each image's own mean IoU for ranking.

    Attributes:
      confusion: k × k pixels by (truth, prediction), int64.
      image_iou: {index in the dataset: mean IoU of that image alone}.
      images: how many were counted.
    """

    confusion: np.ndarray
    image_iou: dict[int, float]
    images: int


class Scorer:
    """Scores variables on a dataset, whose images are not resized."""

    def __init__(
        self, predict: Predictor | HostPredictor, dataset: Dataset, *, batch_size: int
    ):
        self._dataset, self._batch_size = dataset, batch_size
        self._predict = on_host(predict)

    def predictions(self, variables: Variables, image: np.ndarray) -> np.ndarray:
        """Class ids b h w, uint8, of images b h w c of one size."""
        return self._predict.classes(variables, image)

    def __call__(
        self,
        variables: Variables,
        *,
        share: tuple[int, int] = (0, 1),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Scores:
        """The scores over all images.

        Args:
          variables: of the network.
          share: (i, n): this process predicts every n-th image from the i-th; counts are added
            up over the n processes.
          progress: called with (images done, images of this share).
        """
        total = len(self._dataset)
        indices = range(share[0], total, share[1])
        k = len(self._dataset.class_names)
        confusion, image_iou = np.zeros((k, k), np.int64), {}
        for group, images, labels in equal_size_batches(
            self._dataset, indices, self._batch_size
        ):
            for index, label, prediction in zip(
                group, labels, self.predictions(variables, images), strict=True
            ):
                counts = np.asarray(metrics.confusion_matrix(label, prediction, k), np.int64)
                confusion += counts
                image_iou[int(index)] = metrics.mean_iou(counts)
            progress(len(image_iou), len(indices))
        return Scores(sum_over_processes(confusion), gather_by_index(image_iou, total), total)


def summary(scores: Scores, class_names: Sequence[str], *, step: int) -> dict[str, Any]:
    """`evaluation.json`: the scores by name; classes that nowhere occur have IoU None.

    `mean_iou` is over the classes that occur in truth or prediction, `mean_accuracy` and
    `mean_iou_over_true_classes` over those that occur in the truth; how many of all `classes`
    these are is said beside them.
    """
    confusion = scores.confusion
    by_class = zip(class_names, metrics.iou(confusion), strict=True)
    return {
        "step": step,
        "images": scores.images,
        "mean_iou": _number(metrics.mean_iou(confusion)),
        "pixel_accuracy": _number(metrics.pixel_accuracy(confusion)),
        "mean_accuracy": _number(metrics.mean_accuracy(confusion)),
        "frequency_weighted_iou": _number(metrics.frequency_weighted_iou(confusion)),
        "mean_iou_over_true_classes": _number(metrics.mean_iou_over_true_classes(confusion)),
        "classes": len(class_names),
        "classes_in_mean_iou": int(metrics.occurring(confusion).sum()),
        "classes_with_truth": int(metrics.with_truth(confusion).sum()),
        "iou": {name: _number(value) for name, value in by_class},
    }


MEANS = {
    "mean_iou": "classes_in_mean_iou",
    "mean_iou_over_true_classes": "classes_with_truth",
    "mean_accuracy": "classes_with_truth",
}
"""Means over classes, and the entry of a summary that says over how many."""


def over_classes(name: str, scores: Mapping[str, Any]) -> str:
    """ " over 18 of 21 classes" for a mean that leaves some out, else nothing.

    Args:
      name: of the score.
      scores: what `summary` returned; one without counts says nothing.
    """
    counted, classes = scores.get(MEANS.get(name, "")), scores.get("classes")
    if counted is None or counted == classes:
        return ""
    return f" over {counted} of {classes} classes"


def scores_line(scores: Mapping[str, Any]) -> str:
    """The scores of a `summary` in one line; means over fewer classes say over how many."""
    names = ["mean_iou", "pixel_accuracy", "mean_accuracy"]
    if scores["classes_with_truth"] != scores["classes_in_mean_iou"]:
        names.insert(1, "mean_iou_over_true_classes")
    return "  ".join(
        f"{name} {scores[name]:.4f}{over_classes(name, scores)}"
        for name in names
        if scores[name] is not None
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
