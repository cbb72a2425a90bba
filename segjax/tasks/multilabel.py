"""Multi-label segmentation: k ≥ 1 classes that may overlap; k = 1 is binary segmentation."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from segjax import threshold_metrics
from segjax.conformity import check_model, has_planes
from segjax.contracts import (
    IGNORE,
    Array,
    Batch,
    Example,
    LabelledDataset,
    Loss,
    Model,
    Traced,
    Variables,
)
from segjax.data.checks import check_example, check_plane_example
from segjax.data.survey import Survey
from segjax.errors import InputError, RunError
from segjax.evaluate.compiled import HostPredictor
from segjax.losses import activations
from segjax.models.crf_rnn import CRFRNN
from segjax.outputs.kinds import Output
from segjax.outputs.lists import Colour, ImageList
from segjax.outputs.planes import asked_plane_lists, asked_plane_outputs
from segjax.report.examples import Panels
from segjax.report.plane_scores import plane_panels, plane_table, threshold_chart
from segjax.report.run_page import Section
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.tasks import dense
from segjax.tasks.class_coverage import absent_classes, all_ignored, known_early
from segjax.tasks.plane_metric import PlaneMetric
from segjax.tasks.shown import Shown, combinations
from segjax.tasks.task import Metric, Task


@dataclasses.dataclass(frozen=True)
class Multilabel(Task):
    """A plane a class, by sigmoid: a pixel may belong to several classes, or to none.

    Labels are one of two kinds. A dataset of two classes gives index masks h w: the first is
    the background, the second the one plane of a network with `num_classes=1`. A dataset that
    says `has_planes` (`Folder` with several `masks`, or `planes=True`) gives h w k of 0, 1 and
    255, a plane for each of its class names.

    Attributes:
      threshold: the probability from which on a pixel belongs to a class.
      saliency: also score as papers on salient objects do, and keep the best checkpoint by it:
        the largest F-measure (β² = 0.3) over thresholds of precision and recall that are means
        over images, and the mean absolute error.

    Raises:
      InputError: the threshold does not lie between 0 and 1.
    """

    threshold: float = 0.5
    saliency: bool = False

    examples_note = (
        "Tints are classes, edged by a line; where they overlap, the tints mix. Under Errors, "
        "orange is a pixel at which a class is wrong and flat grey one that does not count. "
        "The score is of the single image."
    )

    def __post_init__(self) -> None:
        if isinstance(self.threshold, (int, float)) and not 0 < self.threshold < 1:
            raise InputError(
                f"task.threshold={self.threshold} must lie between 0 and 1, as 0.5 does."
            )

    def activation(self, logits: Array) -> Array:
        """Returns probabilities, by the sigmoid of each plane."""
        return jax.nn.sigmoid(logits)

    def classes(self, maps: Array) -> Array:
        """Returns planes b h w k of 0 and 1: 1 from the threshold on."""
        return (maps >= self.threshold).astype(jnp.uint8)

    def predict(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> np.ndarray:
        """Returns probabilities b h w k.

        Raises:
          RunError: one is not a number.
        """
        return _numbers(np.asarray(predictor(variables, images)))

    def predict_with_probabilities(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        """Returns the probabilities h w k of each image twice: they are its prediction."""
        found = self.predict(predictor, variables, images)
        return list(zip(found, found, strict=True))

    def check_metric(self, metric: ExtraMetric, data: LabelledDataset) -> None:
        """Raises InputError unless the metric can score the planes."""
        metric.check(plane_names(data), overlapping=True)

    def scored_image(
        self,
        example: Example,
        prediction: np.ndarray,
        data: LabelledDataset,
        *,
        probabilities: np.ndarray | None,
    ) -> ScoredImage:
        """Returns planes h w k of 0 and 1, true and predicted at the threshold."""
        label = example["label"]
        label = label[..., None] if label.ndim == 2 else label
        planes = self.planes(prediction)
        return ScoredImage(label, planes, label != IGNORE, plane_names(data), probabilities)

    def answer(
        self, predictor: HostPredictor, variables: Variables, image: np.ndarray, *, soft: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns (planes h w k of 0 and 1, their probabilities where they are asked for)."""
        probabilities = self.predict(predictor, variables, image[None])[0]
        return self.planes(probabilities), probabilities if soft else None

    def planes(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns 0 and 1, uint8: 1 from the threshold on."""
        return (probabilities >= self.threshold).astype(np.uint8)

    def legend(self, data: LabelledDataset) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns names and colours of the planes."""
        return plane_names(data), np.array(plane_colours(data))

    def shown(self, data: LabelledDataset) -> Shown:
        """Returns each combination of classes as a class of its own."""
        named = not has_planes(data) and len(data.class_names) == 2
        return combinations(
            plane_names(data),
            np.array(plane_colours(data)),
            background=data.class_names[0] if named else "background",
            planes=self.planes,
        )

    def metric(self, data: LabelledDataset) -> PlaneMetric:
        """Counts of zero."""
        return PlaneMetric(plane_names(data), threshold=self.threshold, saliency=self.saliency)

    def scored(self, data: LabelledDataset) -> str:
        """Returns the classes, in their order."""
        return f"the classes {', '.join(plane_names(data))}"

    def check_settings(
        self, model: Model, loss: Loss, datasets: Mapping[str, LabelledDataset]
    ) -> None:
        """Raises InputError where loss, network or classes are for exclusive classes."""
        check_model(model)
        known = known_early(datasets)
        wrong = [name for name, kind in activations(loss) if kind == "softmax"]
        if wrong:
            raise InputError(
                f"loss={wrong[0]} is for mutually exclusive classes; with task=Multilabel() "
                "use segjax.losses.sigmoid_cross_entropy or PositiveWeightedCrossEntropy, or "
                'another loss of planes, such as segjax.losses.Dice(activation="sigmoid").'
            )
        if isinstance(model, CRFRNN):
            raise InputError(
                "model=CRFRNN is for mutually exclusive classes, but those of "
                "task=Multilabel may overlap; use its network alone."
            )
        for field in known:
            self.check_data(model, datasets, field=field)

    def check_data(
        self, model: Model, datasets: Mapping[str, LabelledDataset], *, field: str
    ) -> None:
        """Raises InputError unless a dataset has the planes of training data and network.

        Raises:
          InputError: they differ, or it is not known which planes its labels have.
        """
        data, first = datasets[field], datasets["train_data"]
        names, planed = data.class_names, has_planes(data)
        if (names, planed) != (first.class_names, has_planes(first)):
            kind = lambda d: f"{', '.join(d.class_names)} as {_kind(d)}"
            raise InputError(
                f"{field} and train_data must have the same classes and labels: {kind(data)}; "
                f"{kind(first)}."
            )
        if not planed and len(names) > 2:
            raise InputError(
                f"{field} has {len(names)} classes in one mask of ids, so each pixel has "
                "exactly one class: use task=Semantic(), or one mask for each class, as "
                "Folder does with "
                'masks=("cup", "disc") or planes=True (a dataset of your own says '
                "has_planes = True)."
            )
        wanted = len(plane_names(data))
        if model.num_classes != wanted:
            inside = "" if planed else f", {plane_names(data)[-1]!r} without its background"
            raise InputError(
                f"model.num_classes={model.num_classes}, but the labels of {field} have "
                f"{wanted} plane{'s' * (wanted != 1)}{inside}; set model.num_classes={wanted}."
            )

    def check_example(
        self, example: Example, data: LabelledDataset, *, transformed: bool = False
    ) -> None:
        """Raises InputError unless image, planes and weights fit one another."""
        if has_planes(data):
            check_plane_example(example, data.class_names, transformed=transformed)
        else:
            names = ("background", *plane_names(data))
            check_example(example, names, transformed=transformed)

    def check_outputs(self, count: int, data: LabelledDataset, *, who: str) -> None:
        """Raises InputError unless the network has as many planes as the labels."""
        wanted = len(plane_names(data))
        if count != wanted:
            raise InputError(
                f"{who} gives {count} plane{'s' * (count != 1)}, but the labels of eval_data "
                f"have {wanted}; the numbers must agree."
            )

    def coverage(
        self, data: LabelledDataset, found: Survey, *, field: str, transformed: bool
    ) -> Sequence[str]:
        """Returns lines about classes that no label has, and about labels that are ignored."""
        lines = all_ignored(data, found, field=field, transformed=transformed)
        if not has_planes(data):
            return [*lines, *absent_classes(data, found, field=field, transformed=transformed)]
        return lines or _empty_planes(data, found, field=field, transformed=transformed)

    def counts(self, model: nn.Module, batch: Batch, traced: Traced) -> bool:
        """Returns whether a pixel of a batch, on the grid of the logits, adds to the loss."""
        return dense.any_counts(model, batch, traced.grid)

    def stand_in(self, shape: tuple[int, int, int], data: LabelledDataset) -> Example:
        """Returns a black image in which nothing is."""
        planes = (len(data.class_names),) if has_planes(data) else ()
        label = np.zeros((*shape[:2], *planes), np.uint8)
        return {"image": np.zeros(shape, np.uint8), "label": label, "name": "stand-in"}

    def sections(
        self, metric: Metric, scores: Mapping[str, Any], data: LabelledDataset
    ) -> Sequence[Section]:
        """Returns scores by class at two thresholds, and curves over thresholds."""
        assert isinstance(metric, PlaneMetric)
        colours, best = np.array(plane_colours(data)), scores.get("best_threshold")
        tables = plane_table(scores, colours, title=f"At the threshold {self.threshold:g}")
        if best is not None:
            tables += plane_table(
                scores["at_best_threshold"], colours, title=f"At the best threshold {best:.3f}"
            )
        note = (
            "The best threshold has the highest mean Dice on this very set: its scores are a "
            "bound, not a result."
        )
        return (
            Section("Classes", note, f'<div class="classes">{tables}</div>'),
            Section(
                "Thresholds", "", f'<div class="charts">{"".join(self._charts(metric))}</div>'
            ),
        )

    def _charts(self, metric: PlaneMetric) -> list[str]:
        at = threshold_metrics.thresholds(metric.histogram)
        confusion = threshold_metrics.confusion_by_threshold(metric.histogram)
        mean = threshold_metrics.mean_over_classes
        curves = {
            "Dice": mean(threshold_metrics.dice(confusion)),
            "precision": mean(threshold_metrics.precision(confusion)),
            "recall": mean(threshold_metrics.recall(confusion)),
        }
        marker = (self.threshold, "threshold")
        caption = "Means over classes, of pixels counted over the whole set."
        charts = [
            threshold_chart(
                at, curves, title="Over the threshold", caption=caption, marker=marker
            )
        ]
        if self.saliency:
            caption = "Precision and recall are means over images; β² = 0.3."
            f = {"F-measure": mean(metric.f_curve)}
            charts.append(
                threshold_chart(at, f, title="F over images", caption=caption, marker=marker)
            )
        return charts

    def panels(
        self, example: Example, prediction: Any, data: LabelledDataset, *, longest: int
    ) -> Panels:
        """Returns image, truth, prediction and errors."""
        label = example["label"]
        return plane_panels(
            example["image"],
            label if label.ndim == 3 else label[..., None],
            self.planes(prediction),
            names=plane_names(data),
            colours=np.array(plane_colours(data)),
            longest=longest,
        )

    def outputs(self, options: argparse.Namespace, data: LabelledDataset) -> list[Output]:
        """Returns a mask a class, and what else the options ask for."""
        return asked_plane_outputs(options, plane_names(data), plane_colours(data))

    def lists(self, options: argparse.Namespace, data: LabelledDataset) -> list[ImageList]:
        """Returns the legend of overlays; `outputs` refuses the options of other lists."""
        return asked_plane_lists(options, plane_names(data), plane_colours(data))


def plane_names(data: LabelledDataset) -> tuple[str, ...]:
    """Returns the classes that have planes: of an index mask of two classes, the second."""
    names = tuple(data.class_names)
    return names if has_planes(data) or len(names) == 1 else names[1:]


def plane_colours(data: LabelledDataset) -> list[Colour]:
    """Returns red, green and blue of each plane."""
    first = 1 if not has_planes(data) and len(data.class_names) > 1 else 0
    rows = data.palette[first : first + len(plane_names(data))].tolist()
    return [(r, g, b) for r, g, b in rows]


def _kind(data: LabelledDataset) -> str:
    return "planes" if has_planes(data) else "one mask of ids"


def _empty_planes(
    data: LabelledDataset, found: Survey, *, field: str, transformed: bool
) -> list[str]:
    """Returns a line about the classes of which no plane has a pixel."""
    absent = [data.class_names[i] for i in found.absent(len(data.class_names))]
    if not absent:
        return []
    extent = f"{found.extent}, before its transforms" if transformed else found.extent
    which = "no class" if len(absent) == len(data.class_names) else ", ".join(map(repr, absent))
    if which == "no class":
        line = f"no plane of the labels of {field} ({extent}) has a pixel that is 1"
    else:
        line = f"{which}: no pixel of the labels of {field} ({extent}) is 1"
    if found.ignored:
        line += (
            f"; {100 * found.ignored:.1f} % of their pixels are {IGNORE}, which is ignored. If "
            f"{IGNORE} means inside, read it with {field}.label_map=(({IGNORE}, 1),)"
        )
    return [f"{line}."]


def _numbers(probabilities: np.ndarray) -> np.ndarray:
    if np.isnan(probabilities).any():
        raise RunError(
            "Probabilities are not numbers (NaN): the checkpoint holds broken weights; choose "
            "another --checkpoint."
        )
    return probabilities
