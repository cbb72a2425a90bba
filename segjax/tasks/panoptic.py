"""Panoptic segmentation: what its tasks share, whatever finds the segments."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.contracts import IGNORE, Example, Model, WithObjects
from segjax.errors import InputError
from segjax.objects import PanopticMap
from segjax.outputs.kinds import Output
from segjax.outputs.lists import ImageList
from segjax.outputs.object_options import asked_panoptic_lists, asked_panoptic_outputs
from segjax.report.examples import Panels
from segjax.report.object_panels import Fates, panoptic_panels
from segjax.report.object_scores import ClassRow, class_score_tables
from segjax.report.run_page import Section
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.scores.panoptic_quality import match_segments
from segjax.tasks.of_objects import OfObjects, short
from segjax.tasks.packing import pack_map, unpack_map
from segjax.tasks.panoptic_metric import PanopticMetric
from segjax.tasks.shown import Shown, shown_segments
from segjax.tasks.task import Metric

CLASSES = (
    "From the highest PQ to the lowest. PQ is SQ times RQ: SQ is the mean IoU of the hits, "
    "RQ the F1 score of finding segments. A hit has an IoU above 50 % with a true segment."
)

ABSENT = "Without a true or a predicted segment"

COUNTS = ("Hits", "False", "Missed")


@dataclasses.dataclass(frozen=True)
class Panoptic(OfObjects):
    """A segment for every pixel: an object of a thing class, or a region of a stuff class.

    Datasets give objects (`segjax.objects`) beside `label`, and say which classes are `things`.
    Subclasses define how a network is trained, and `predict`, which returns a `PanopticMap` of
    the image's own size for each image.
    """

    predicts = "segments"

    examples_note = (
        "Each segment is edged; things of one class differ in shade. Under Errors, segments "
        "are coloured by what became of them: a hit has an IoU above 50 % with a true segment "
        "of its class. The score is of the single image."
    )

    def metric(self, data: WithObjects) -> PanopticMetric:
        """Returns counts of zero."""
        return PanopticMetric(data)

    def scored(self, data: WithObjects) -> str:
        """Returns the classes in their order, and which of them are things."""
        things = ", ".join(data.class_names[i] for i in data.things)
        return f"the classes {', '.join(data.class_names)}, of which {things} are things"

    def packed(self, prediction: PanopticMap) -> Mapping[str, np.ndarray]:
        """Returns a panoptic map as named arrays."""
        return pack_map(prediction)

    def unpacked(self, arrays: Mapping[str, np.ndarray]) -> PanopticMap:
        """Returns the panoptic map of these arrays."""
        return unpack_map(arrays)

    def check_metric(self, metric: ExtraMetric, data: WithObjects) -> None:
        """Raises InputError unless the metric can score the classes of pixels.

        Raises:
          InputError: it cannot, or it needs probabilities.
        """
        if metric.needs_probabilities:
            raise InputError(
                f"{type(metric).__name__} needs probabilities, which "
                f"task={type(self).__name__} does not have; leave it out."
            )
        metric.check(data.class_names, overlapping=False)

    def scored_image(
        self,
        example: Example,
        prediction: PanopticMap,
        data: WithObjects,
        *,
        probabilities: np.ndarray | None,
    ) -> ScoredImage:
        """Returns class ids h w, true and predicted; −1 where no segment is predicted."""
        label = example["label"]
        names = tuple(data.class_names)
        return ScoredImage(label, prediction.class_map(), label != IGNORE, names)

    def check_data(
        self, model: Model, datasets: Mapping[str, WithObjects], *, field: str
    ) -> None:
        """Raises InputError unless a dataset has the classes of training data and network.

        Raises:
          InputError: classes or things differ.
        """
        super().check_data(model, datasets, field=field)
        things = tuple(datasets[field].things)
        said = getattr(model, "things", things)
        if tuple(said) != things:
            raise InputError(
                f"model.things={short(tuple(said))}, but those of {field} are "
                f"{short(things)}; set model.things={things}."
            )

    def sections(
        self, metric: Metric, scores: Mapping[str, Any], data: WithObjects
    ) -> Sequence[Section]:
        """Returns PQ, SQ and RQ by class, of things and of stuff."""
        assert isinstance(metric, PanopticMetric)
        tables = ""
        for title, is_thing in ("Things", True), ("Stuff", False):
            rows = [
                ClassRow(
                    name,
                    data.palette[i].tolist(),
                    {
                        key.upper(): scores[f"{key}_by_class"][name]
                        for key in ("pq", "sq", "rq")
                    },
                    dict(zip(COUNTS, metric.counts[i, 1:].tolist(), strict=True)),
                )
                for i, name in enumerate(data.class_names)
                if (i in data.things) == is_thing
            ]
            if rows:
                tables += f'<h3 class="part">{title}</h3>'
                tables += class_score_tables(rows, title=title, absent=ABSENT)
        return [Section("Classes", CLASSES, tables)]

    def panels(
        self, example: Example, prediction: PanopticMap, data: WithObjects, *, longest: int
    ) -> Panels:
        """Returns image, truth, prediction and errors."""
        truth = PanopticMap.of_example(example, data.things)
        found = match_segments(truth, prediction)
        ids = lambda segments: {each.id for each in segments}
        fates = Fates(
            hits={other.id for _, other, _ in found.matches},
            false=ids(found.false_positives),
            misses=ids(found.misses),
            uncounted=ids(found.uncounted),
        )
        return panoptic_panels(
            example["image"],
            truth,
            prediction,
            fates,
            class_names=data.class_names,
            palette=data.palette,
            longest=longest,
        )

    def outputs(self, options: argparse.Namespace, data: WithObjects) -> list[Output]:
        """Returns a PNG of segments, a JSON of their classes, and what else is asked for."""
        return asked_panoptic_outputs(options)

    def lists(self, options: argparse.Namespace, data: WithObjects) -> list[ImageList]:
        """Returns COCO's panoptic list, and what the options ask for."""
        names, colours = self.legend(data)
        rows = tuple((r, g, b) for r, g, b in colours.tolist())
        return asked_panoptic_lists(options, names, rows, data.things)

    def shown(self, data: WithObjects) -> Shown:
        """Returns the classes of segments, and the segments themselves."""
        return shown_segments(tuple(data.class_names), data.palette)
