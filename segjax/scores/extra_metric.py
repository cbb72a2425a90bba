"""`ExtraMetric`: scores of a run's evaluation beside those of its task.

`Evaluation(metrics=(BoundaryIoU(), Dice()))` asks for them. They are written to
`evaluation.json`, the report and the comparison of an ablation. They never decide which
checkpoint is the best.

A metric of your own is a frozen dataclass in your experiment file::

    @dataclasses.dataclass(frozen=True)
    class Specks(ExtraMetric):
        \"\"\"The number of connected regions that are predicted, per image.\"\"\"

        shown = {"regions_per_image": Score("Regions per image", is_share=False)}
        per_image = True

        def count(self, image):
            return np.array([scipy.ndimage.label(image.prediction == 1)[1]])

        def scores(self, counts, class_names):
            return {"regions_per_image": counts.mean()}
"""

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from segjax.report.score import Score


class Plane(NamedTuple):
    """One class of an image, as masks h w of booleans.

    `counted` is False where the truth is ignored.
    """

    index: int
    truth: Bool[np.ndarray, "h w"]
    prediction: Bool[np.ndarray, "h w"]
    counted: Bool[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredImage:
    """Truth and prediction of one image.

    Attributes:
      label: class ids h w; or planes h w k of 0 and 1, if classes may overlap.
      prediction: the same kind of array; an id below 0 is no class, and an error.
      counted: False where the truth is ignored; of the same shape.
      class_names: k names.
      probabilities: h w k; None unless a metric needs them.
    """

    label: Integer[np.ndarray, "h w *k"]
    prediction: Integer[np.ndarray, "h w *k"]
    counted: Bool[np.ndarray, "h w *k"]
    class_names: tuple[str, ...]
    probabilities: Float[np.ndarray, "h w k"] | None = None

    @property
    def is_overlapping(self) -> bool:
        """Whether a pixel may belong to several classes, so that each class has a plane."""
        return self.label.ndim == 3

    @property
    def diagonal(self) -> float:
        """The length of the image's diagonal in pixels."""
        return float(np.hypot(*self.label.shape[:2]))

    def plane(self, index: int) -> Plane:
        """Returns one class as masks."""
        if self.is_overlapping:
            counted = self.counted[..., index]
            truth = (self.label[..., index] == 1) & counted
            return Plane(index, truth, self.prediction[..., index] == 1, counted)
        truth = (self.label == index) & self.counted
        return Plane(index, truth, self.prediction == index, self.counted)

    def planes(self) -> Iterator[Plane]:
        """Yields the classes that occur in the truth or the prediction, as masks."""
        if self.is_overlapping:
            found = range(len(self.class_names))
        else:
            ids = np.union1d(self.label[self.counted], self.prediction)
            found = ids[ids >= 0].tolist()
        for plane in map(self.plane, found):
            if plane.truth.any() or plane.prediction.any():
                yield plane


@dataclasses.dataclass(frozen=True)
class ExtraMetric(abc.ABC):
    """A metric beside that of the task. Subclasses are frozen dataclasses.

    Attributes:
      shown: {name: how people read it} of its single numbers, which are entries of
        `evaluation.json`, rows of the report and columns of a comparison.
      by_class: the same for entries {class: number}, which become columns of a table.
      further: the names of all other entries that `scores` returns, so that two scores of one
        name are found before training.
      definition: a sentence for the report.
      per_image: whether `scores` takes the counts of each image, n × …, instead of their sum.
        Counts that are summed must be integers, because the sum of floats depends on its order.
    """

    shown: ClassVar[Mapping[str, Score]] = {}
    by_class: ClassVar[Mapping[str, Score]] = {}
    further: ClassVar[tuple[str, ...]] = ()
    definition: ClassVar[str] = ""
    per_image: ClassVar[bool] = False

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the entries of `evaluation.json` that the metric gives."""
        return (*self.shown, *self.by_class, *self.further)

    @property
    def needs_probabilities(self) -> bool:
        """Whether `count` reads `image.probabilities`, which cost time and memory."""
        return False

    def check(self, class_names: Sequence[str], *, overlapping: bool) -> None:
        """Raises InputError unless the metric can score these classes.

        Args:
          class_names: of the evaluation data.
          overlapping: whether a pixel may belong to several classes.
        """
        return

    @abc.abstractmethod
    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns what one image counts: an array of the same shape for every image."""

    @abc.abstractmethod
    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the entries of `evaluation.json`; NaN or None: undefined.

        Args:
          counts: the sum over all images; if `per_image`, those of each image in the order of
            the dataset, n × ….
          class_names: of the evaluation data.
        """

    def figures(self, scores: Mapping[str, Any]) -> str:
        """Returns charts or tables for the report, as markup; "" for none.

        `scores` are the entries of `evaluation.json`.
        """
        return ""


def class_scores(
    name: str, values: Float[np.ndarray, " k"], class_names: Sequence[str]
) -> dict[str, Any]:
    """Returns a score by class, and its mean over the classes that have one.

    >>> class_scores("dice", np.array([0.5, np.nan, 1.0]), ("a", "b", "c"))["mean_dice"]
    0.75
    """
    defined = values[~np.isnan(values)]
    mean = float(defined.mean()) if defined.size else None
    return {
        f"mean_{name}": mean,
        name: {
            each: None if np.isnan(value) else float(value)
            for each, value in zip(class_names, values, strict=True)
        },
    }
