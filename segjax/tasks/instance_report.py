"""What the report of an instance task shows: AP by size and class, curves, and images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from segjax.contracts import Example, WithObjects
from segjax.objects import Objects
from segjax.report.examples import Panels
from segjax.report.object_panels import Fates, object_panels
from segjax.report.object_scores import (
    ClassRow,
    class_score_tables,
    precision_recall_chart,
    size_table,
)
from segjax.report.run_page import Section
from segjax.scores.object_matches import match_objects
from segjax.tasks.instance_metric import TITLES, InstanceMetric

SHOWN_SCORE = 0.5
"""The lowest score of a predicted object that a report draws."""

CURVES = (0.5, 0.75, 0.9)
"""Thresholds of IoU whose precision is drawn over recall."""

EXAMPLES_NOTE = (
    f"Predicted objects are drawn if their score is at least {SHOWN_SCORE}. Under Errors, a "
    "hit has an IoU of at least 50 % with a true object of its class. The score is the AP of "
    "the single image, of all its predicted objects."
)
"""A remark on the images of a report, for `Task.examples_note`."""

SIZES = "Small objects have fewer than 32² pixels, large ones more than 96²."

CLASSES = "From the highest AP to the lowest. Objects are those of the truth, crowds left out."


def instance_sections(
    metric: InstanceMetric, scores: Mapping[str, Any], data: WithObjects
) -> list[Section]:
    """Returns AP by size and by class, and precision over recall.

    Args:
      metric: after `scores`.
      scores: content of `evaluation.json`.
      data: names the classes.
    """
    kinds = metric.kinds
    most = metric.results[kinds[0]].most[-1]
    columns = {
        "AP": "ap",
        "IoU 0.5": "ap50",
        "IoU 0.75": "ap75",
        "small": "ap_small",
        "medium": "ap_medium",
        "large": "ap_large",
        f"recall, {most}": f"ar{most}",
    }
    sizes = {
        TITLES[kind]: {head: scores[f"{kind}_{end}"] for head, end in columns.items()}
        for kind in kinds
    }
    rows = []
    for i in sorted(data.things):
        name = data.class_names[i]
        shares = {
            "AP": scores[f"{kinds[0]}_ap_by_class"][name],
            "AP50": scores[f"{kinds[0]}_ap50_by_class"][name],
        }
        if "box" in kinds[1:]:
            shares["Box AP"] = scores["box_ap_by_class"][name]
        objects = {"Objects": scores["objects_by_class"][name]}
        rows.append(ClassRow(name, data.palette[i].tolist(), shares, objects))
    tables = class_score_tables(rows, title="AP by class", absent="Without a true object")
    curves = {f"IoU {iou}": metric.results[kinds[0]].curve(iou=iou) for iou in CURVES}
    title = f"Precision of {'boxes' if kinds[0] == 'box' else 'masks'}"
    charts = precision_recall_chart(curves, title=title)
    figures = size_table(sizes, title="AP by size of the objects")
    return [
        Section(
            "Objects",
            SIZES,
            f'<div class="extra">{figures}<div class="charts">{charts}</div></div>',
        ),
        Section("Classes", CLASSES, tables),
    ]


def instance_panels(
    example: Example, prediction: Objects, data: WithObjects, *, longest: int
) -> Panels:
    """Returns image, truth, prediction and errors with sides up to `longest` pixels."""
    truth = Objects.of_example(example)
    shown = prediction.chosen(prediction.scores >= SHOWN_SCORE)
    kind = "box" if shown.masks is None else "mask"
    (found,) = match_objects(truth, shown, thresholds=(0.5,), kind=kind)
    alone = found.partner < 0
    fates = Fates(
        hits=np.flatnonzero(~alone).tolist(),
        false=np.flatnonzero(alone & ~found.uncounted).tolist(),
        misses=np.flatnonzero(found.missed).tolist(),
        uncounted=np.flatnonzero(found.uncounted).tolist(),
    )
    return object_panels(
        example["image"],
        truth,
        shown,
        fates,
        class_names=data.class_names,
        palette=data.palette,
        longest=longest,
    )
