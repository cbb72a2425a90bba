"""What a finished run leaves behind: scores, report, and the network as one file."""

import json
import pathlib
from typing import Any

import numpy as np

from segjax import weights
from segjax.atomic import write_text
from segjax.contracts import Variables
from segjax.evaluate.score import Scorer, Scores, summary
from segjax.experiment import Experiment, describe
from segjax.parallel.cluster import is_main
from segjax.report.run_page import ExampleResult, write_report
from segjax.train.log import read_metrics
from segjax.train.workdir import EVALUATION

REPORT = "report.html"
WEIGHTS = "model.safetensors"


def write_results(
    workdir: pathlib.Path,
    experiment: Experiment,
    scorer: Scorer,
    scores: Scores,
    variables: Variables,
    *,
    step: int,
    trained_on: int | None,
) -> dict[str, Any]:
    """Writes `evaluation.json`, `report.html` and `model.safetensors`; returns the first.

    `trained_on`: how many of the evaluated images are training images, None if not known.
    """
    names = experiment.eval_data.class_names
    evaluation = {**summary(scores, names, step=step), **how_evaluated(experiment)}
    evaluation["images_trained_on"] = trained_on
    if not is_main():
        return evaluation
    write_text(workdir / EVALUATION, json.dumps(evaluation, indent=2) + "\n")
    weights.save(workdir / WEIGHTS, variables, description=describe(experiment))
    worst, best = _extremes(scores, experiment.evaluation.examples)
    example = lambda index: _example(experiment, scorer, variables, index, scores)
    write_report(
        workdir / REPORT,
        title=experiment.name,
        description=describe(experiment),
        history=read_metrics(workdir),
        evaluation=evaluation,
        confusion=scores.confusion,
        class_names=experiment.eval_data.class_names,
        palette=experiment.eval_data.palette,
        worst=[example(index) for index in worst],
        best=[example(index) for index in best],
    )
    return evaluation


def how_evaluated(experiment: Experiment) -> dict[str, Any]:
    """What `evaluation` adds to the network: another output stride, wrappers."""
    evaluation = experiment.evaluation
    return {
        "output_stride": evaluation.output_stride,
        "predictor": [repr(wrapper) for wrapper in evaluation.wrappers],
    }


def _extremes(scores: Scores, count: int) -> tuple[list[int], list[int]]:
    """Indices of the worst images, worst first, and of the best, best first; none is twice."""
    scored = {i: value for i, value in scores.image_iou.items() if not np.isnan(value)}
    order = sorted(scored, key=lambda i: (scored[i], i))
    count = min(count, (len(order) + 1) // 2)
    return order[:count], order[count:][::-1][:count]


def _example(
    experiment: Experiment, scorer: Scorer, variables: Variables, index: int, scores: Scores
) -> ExampleResult:
    example = experiment.eval_data[index]
    (prediction,) = scorer.predictions(variables, example["image"][None])
    return ExampleResult(
        name=example["name"],
        iou=scores.image_iou[index],
        image=example["image"],
        label=example["label"],
        prediction=prediction,
    )
