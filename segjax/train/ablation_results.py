"""What an ablation leaves behind, read from its runs: `comparison.json`, `comparison.html`."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from segjax.atomic import write_text
from segjax.drawing.overlay import panels
from segjax.report.comparison import Column, ComparedImage, Score, Variant, write_comparison
from segjax.report.examples import ExampleResult, shrunk
from segjax.train.log import read_metrics
from segjax.train.predictions import has_predictions, prediction_of, shown_images
from segjax.train.run import Run
from segjax.train.variants import COMPARISON, TABLE, differing_fields
from segjax.train.workdir import EVALUATION

COLUMNS = (Column("mean_iou", "Mean IoU"), Column("pixel_accuracy", "Pixel accuracy"))
LONGEST_SIDE = 320
"""Of the pictures, in pixels."""


def write_ablation_results(root: pathlib.Path, runs: Sequence[Run]) -> dict[str, Any]:
    """Writes the table and the page of all runs into `root`; returns the table.

    Runs without scores, which failed, are counted and left out of the means.
    """
    groups = _by_variant(runs)
    fields = differing_fields([group[0].experiment for group in groups])
    read = [_read(group, told) for group, told in zip(groups, fields, strict=True)]
    table = {"variants": [entry for entry, _ in read]}
    write_text(root / TABLE, json.dumps(table, indent=2) + "\n")
    write_comparison(
        root / COMPARISON,
        title=root.name,
        columns=COLUMNS,
        variants=[variant for _, variant in read],
        images=_images([run for run in runs if has_predictions(run.workdir)]),
    )
    return table


def _by_variant(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.experiment.name, []).append(run)
    return list(groups.values())


def _read(group: Sequence[Run], fields: dict[str, str]) -> tuple[dict[str, Any], Variant]:
    """A variant's entry in the table, and what the page shows of it."""
    done = [run for run in group if has_predictions(run.workdir)]
    evaluations = [
        json.loads((run.workdir / EVALUATION).read_text(encoding="utf-8")) for run in done
    ]
    classes = len(group[0].experiment.eval_data.class_names)
    counted = [scores.get("classes_in_mean_iou", classes) for scores in evaluations]
    remarks = {"mean_iou": _over_classes(counted, classes)}
    variant = Variant(
        name=group[0].experiment.name,
        fields=fields,
        seeds=tuple(run.experiment.seed for run in done),
        failed=tuple(run.experiment.seed for run in group if run not in done),
        scores={
            column.key: Score(
                tuple(scores[column.key] for scores in evaluations),
                remark=remarks.get(column.key, ""),
            )
            for column in COLUMNS
        },
        histories=tuple(read_metrics(run.workdir) for run in done),
    )
    entry: dict[str, Any] = {
        "name": variant.name,
        "seeds": [*variant.seeds],
        "steps": [scores["step"] for scores in evaluations],
        "failed": [*variant.failed],
        "classes": classes,
        "classes_in_mean_iou": counted,
    }
    for key, score in variant.scores.items():
        entry[key] = {"values": [*score.values], "mean": score.mean, "std": score.std}
    return {**entry, "fields": fields}, variant


def _over_classes(counts: Sequence[int], classes: int) -> str:
    """Over how many classes the means of a variant's runs are, where some leave classes out."""
    if set(counts) <= {classes}:
        return ""
    fewest, most = min(counts), max(counts)
    counted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return f" over {counted} of {classes} classes"


def _images(runs: Sequence[Run]) -> list[ComparedImage]:
    """Each shown image with its truth and the prediction of each variant's first run."""
    firsts = [group[0] for group in _by_variant(runs)]
    return (
        [_image(index, firsts) for index in shown_images(firsts[0].experiment)]
        if firsts
        else []
    )


def _image(index: int, runs: Sequence[Run]) -> ComparedImage:
    data = runs[0].experiment.eval_data
    example, palette = data[index], data.palette
    pictures: list[tuple[str, np.ndarray]] = []
    for run in runs:
        whole = ExampleResult(
            example["name"],
            None,
            example["image"],
            example["label"],
            prediction_of(run.workdir, index),
        )
        image, truth, prediction, _ = panels(*shrunk(whole, LONGEST_SIDE), palette)
        pictures = pictures or [("Image", image), ("Truth", truth)]
        pictures.append((run.experiment.name, prediction))
    return ComparedImage(example["name"], pictures)
