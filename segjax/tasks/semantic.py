"""Semantic segmentation: each pixel has one class of k ≥ 2, or is ignored."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

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
from segjax.data.by_aspect import ungrouped
from segjax.data.checks import check_example
from segjax.data.prepare import FileDataset
from segjax.data.record_dataset import RecordDataset
from segjax.data.survey import Survey
from segjax.drawing.composite import foreground
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor, argmax_labels
from segjax.evaluate.predictors import softmax_probabilities
from segjax.losses import activations
from segjax.outputs.kinds import Output
from segjax.outputs.lists import ImageList
from segjax.outputs.options import asked_lists, asked_outputs
from segjax.report.class_maps import class_map_panels
from segjax.report.class_scores import class_tables, confusions
from segjax.report.examples import Panels
from segjax.report.run_page import Section
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.tasks import dense
from segjax.tasks.class_coverage import absent_classes, all_ignored, known_early
from segjax.tasks.confusion import ConfusionMetric
from segjax.tasks.shown import Shown
from segjax.tasks.task import Metric, Task

CLASSES = (
    "From the highest IoU to the lowest. Recall is the share of a class's pixels that is "
    "found, precision the share of what is predicted that is right, pixels its share of the "
    "truth."
)


@dataclasses.dataclass(frozen=True)
class Semantic(Task):
    """A class for every pixel, by softmax; scored by one confusion matrix over the whole set.

    Datasets give `label` h w, class ids or 255, and name their classes and colours.
    """

    examples_note = (
        "Tints are classes, edged by a line; a class whose colour is black is not tinted. "
        "Under Errors, orange is a wrong pixel and flat grey one that does not count. The "
        "score is of the single image, over the classes that occur in its truth or prediction."
    )

    def activation(self, logits: Array) -> Array:
        """Returns probabilities, by the softmax over classes."""
        return softmax_probabilities(logits)

    def classes(self, maps: Array) -> Array:
        """Returns class ids b h w, the most likely ones."""
        return jnp.argmax(maps, -1).astype(jnp.uint8)

    def legend(self, data: LabelledDataset) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns names and colours of the classes."""
        return tuple(data.class_names), data.palette[: len(data.class_names)]

    def shown(self, data: LabelledDataset) -> Shown:
        """Returns the classes as they are, the most likely one at every pixel."""
        return Shown(tuple(data.class_names), data.palette, argmax_labels, foreground)

    def check_wrapper(self, wrapper: Callable) -> None:
        """Accepts every wrapper: they are made for class probabilities."""

    def predict(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> np.ndarray:
        """Returns class ids b h w, uint8."""
        return predictor.classes(variables, images)

    def answer(
        self, predictor: HostPredictor, variables: Variables, image: np.ndarray, *, soft: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns class ids h w and, if `soft`, their probabilities h w k."""
        if not soft:
            return predictor.classes(variables, image[None])[0], None
        probabilities = predictor(variables, image[None])[0]
        return argmax_labels(probabilities), probabilities

    def predict_with_probabilities(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        """Returns for each image (class ids h w, their probabilities h w k)."""
        probabilities = np.asarray(predictor(variables, images))
        return list(zip(argmax_labels(probabilities), probabilities, strict=True))

    def check_metric(self, metric: ExtraMetric, data: LabelledDataset) -> None:
        """Raises InputError unless the metric can score the classes."""
        metric.check(data.class_names, overlapping=False)

    def scored_image(
        self,
        example: Example,
        prediction: np.ndarray,
        data: LabelledDataset,
        *,
        probabilities: np.ndarray | None,
    ) -> ScoredImage:
        """Returns class ids h w, true and predicted."""
        label = example["label"]
        names = tuple(data.class_names)
        return ScoredImage(label, prediction, label != IGNORE, names, probabilities)

    def metric(self, data: LabelledDataset) -> ConfusionMetric:
        """Returns a confusion matrix of zeros."""
        return ConfusionMetric(data.class_names)

    def scored(self, data: LabelledDataset) -> str:
        """Returns the classes, in their order."""
        return f"the classes {', '.join(data.class_names)}"

    def check_settings(
        self, model: Model, loss: Loss, datasets: Mapping[str, LabelledDataset]
    ) -> None:
        """Raises InputError where parts lack what the task reads of them, or classes differ.

        Classes are looked at if they are known without files.
        """
        check_model(model)
        wrong = [name for name, kind in activations(loss) if kind == "sigmoid"]
        if wrong:
            raise InputError(
                f"loss={wrong[0]} (sigmoid) is for classes that may overlap: use it with "
                "task=segjax.tasks.multilabel.Multilabel(). With task=Semantic() use a loss of "
                "the softmax, such as segjax.losses.softmax_cross_entropy."
            )
        known = known_early(datasets)
        for field in known:
            self.check_data(model, datasets, field=field)

    def check_data(
        self, model: Model, datasets: Mapping[str, LabelledDataset], *, field: str
    ) -> None:
        """Raises InputError unless a dataset has the classes of training data and network.

        Raises:
          InputError: they differ, there is one class alone, or more than labels can hold.
        """
        if has_planes(datasets[field]):
            raise InputError(
                f"the labels of {field} have a plane for each class, so classes may overlap: "
                "use task=segjax.tasks.multilabel.Multilabel(), or one mask of class ids."
            )
        ours, theirs = datasets[field].class_names, datasets["train_data"].class_names
        if ours != theirs:
            raise InputError(
                f"{field} and train_data must have the same classes: "
                f"{_difference(ours, theirs)}."
            )
        if len(ours) == 1:
            raise InputError(
                f"{field} has one class, {ours[0]!r}, so every pixel would be of this class; "
                "add the background as a class, such as class_names=('background', "
                f"{ours[0]!r}), and give its pixels the id 0."
            )
        if len(ours) > IGNORE:
            raise InputError(
                f"{field} has {len(ours)} classes, and labels hold {IGNORE}; merge some of "
                "them."
            )
        wanted = model.num_classes
        if wanted != len(ours):
            raise InputError(
                f"model.num_classes={wanted}, but {field} has {len(ours)} classes; "
                f"set model.num_classes={len(ours)}."
            )

    def check_example(
        self, example: Example, data: LabelledDataset, *, transformed: bool = False
    ) -> None:
        """Raises InputError unless image, class ids and weights fit one another."""
        check_example(example, data.class_names, transformed=transformed)

    def check_outputs(self, count: int, data: LabelledDataset, *, who: str) -> None:
        """Raises InputError unless the network tells as many classes apart as the data name."""
        if count > IGNORE:
            raise InputError(
                f"{who} predicts {count} classes, but 8-bit label images hold {IGNORE}, "
                f"because {IGNORE} marks ignored pixels; merge some classes."
            )
        if count != len(data.class_names):
            raise InputError(
                f"{who} predicts {count} classes, but eval_data has "
                f"{len(data.class_names)}; the numbers must agree."
            )

    def coverage(
        self, data: LabelledDataset, found: Survey, *, field: str, transformed: bool
    ) -> Sequence[str]:
        """Returns lines about classes that no label has, and about labels that are ignored."""
        return [
            *all_ignored(data, found, field=field, transformed=transformed),
            *absent_classes(data, found, field=field, transformed=transformed),
        ]

    def counts(self, model: nn.Module, batch: Batch, traced: Traced) -> bool:
        """Returns whether a pixel of a batch, on the grid of the logits, adds to the loss."""
        return dense.any_counts(model, batch, traced.grid)

    def stand_in(self, shape: tuple[int, int, int], data: LabelledDataset) -> Example:
        """Returns a black image of background."""
        label = np.zeros(shape[:2], np.uint8)
        return {"image": np.zeros(shape, np.uint8), "label": label, "name": "stand-in"}

    def sections(
        self, metric: Metric, scores: Mapping[str, Any], data: LabelledDataset
    ) -> Sequence[Section]:
        """Returns scores by class, and confusions."""
        assert isinstance(metric, ConfusionMetric)
        names, palette, matrix = data.class_names, data.palette, metric.confusion
        tables = class_tables(scores.get("iou") or {}, matrix, names, palette)
        return (
            Section("Classes", CLASSES, tables),
            Section("Confusions", "", confusions(matrix, names, palette)),
        )

    def panels(
        self, example: Example, prediction: Any, data: LabelledDataset, *, longest: int
    ) -> Panels:
        """Returns image, truth, prediction and errors."""
        return class_map_panels(
            example["image"],
            example["label"],
            prediction,
            class_names=data.class_names,
            palette=data.palette,
            longest=longest,
        )

    def outputs(self, options: argparse.Namespace, data: LabelledDataset) -> list[Output]:
        """Returns a palette PNG of class ids, and what else the options ask for."""
        file_ids = None
        if isinstance(files := ungrouped(data), FileDataset | RecordDataset):
            file_ids = lambda: files.file_ids
        return asked_outputs(options, tuple(data.class_names), file_ids=file_ids)

    def lists(self, options: argparse.Namespace, data: LabelledDataset) -> list[ImageList]:
        """Returns the legend of overlays, areas by class, and COCO's annotations."""
        names, colours = self.legend(data)
        return asked_lists(options, names, tuple((r, g, b) for r, g, b in colours.tolist()))


def _difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Returns where two lists of classes part."""
    pairs = enumerate(zip_longest(ours, theirs))
    place, (one, other) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    return f"class {place} is {one!r} and {other!r} (of {len(ours)} and {len(theirs)})"
