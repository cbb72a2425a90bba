"""What a finished run leaves behind: scores, report, and the network as one file."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from segjax import weights
from segjax.atomic import write_text
from segjax.contracts import Variables
from segjax.experiment import Experiment, describe
from segjax.parallel.cluster import is_main
from segjax.report.examples import ShownExample, longest_side, score_text
from segjax.report.run_page import Scores, write_report
from segjax.scores.section import extra_sections
from segjax.tasks.scorer import Scored, Scorer
from segjax.tasks.task import Metric
from segjax.train.early_stop import early_stop_line
from segjax.train.log import read_metrics
from segjax.train.workdir import EVALUATION

REPORT = "report.html"
WEIGHTS = "model.safetensors"


def write_results(
    workdir: pathlib.Path,
    experiment: Experiment,
    scorer: Scorer,
    scored: Scored,
    variables: Variables,
    *,
    step: int,
    trained_on: int | None,
) -> dict[str, Any]:
    """Writes `evaluation.json`, `report.html` and `model.safetensors`; returns the first.

    `trained_on`: how many of the evaluated images are training images, None if not known.
    """
    task, data, metric = experiment.task, experiment.eval_data, scored.metric
    evaluation = evaluation_of(experiment, scored.scores, step=step)
    evaluation |= how_evaluated(experiment)
    evaluation["images_trained_on"] = trained_on
    if not is_main():
        return evaluation
    history = read_metrics(workdir)
    if experiment.stop is not None:
        evaluation["stopped_early"] = early_stop_line(experiment, history)
    write_text(workdir / EVALUATION, json.dumps(evaluation, indent=2) + "\n")
    weights.save(workdir / WEIGHTS, variables, description=describe(experiment))
    worst, best = _extremes(metric, experiment.evaluation.examples)
    example = lambda index: _example(experiment, scorer, variables, index, metric)
    remarks = {name: metric.remark(name, evaluation) for name in metric.shown}
    write_report(
        workdir / REPORT,
        title=experiment.name,
        description=describe(experiment),
        history=history,
        evaluation=evaluation,
        scores=Scores(metric.shown, remarks, metric.convention),
        steps=experiment.steps,
        sections=[
            *task.sections(metric, evaluation, data),
            *extra_sections(scored.extra.metrics, evaluation, task.legend(data)[0]),
        ],
        worst=[example(index) for index in worst],
        best=[example(index) for index in best],
        examples_note=task.examples_note,
    )
    return evaluation


def evaluation_of(
    experiment: Experiment, scores: Mapping[str, Any], *, step: int
) -> dict[str, Any]:
    """Returns the scores of a step with what they are of."""
    return {"step": step, "images": len(experiment.eval_data), **scores}


def how_evaluated(experiment: Experiment) -> dict[str, Any]:
    """Returns what `evaluation` adds to the network: another output stride, wrappers."""
    evaluation = experiment.evaluation
    return {
        "output_stride": evaluation.output_stride,
        "predictor": [repr(wrapper) for wrapper in evaluation.wrappers],
    }


def _extremes(metric: Metric, count: int) -> tuple[list[int], list[int]]:
    """Returns indices of the worst images and of the best; no image is in both."""
    sign = 1 if metric.shown[metric.primary].higher_is_better else -1
    scored = {i: sign * value for i, value in metric.ranking().items() if not np.isnan(value)}
    order = sorted(scored, key=lambda i: (scored[i], i))
    count = min(count, (len(order) + 1) // 2)
    return order[:count], order[count:][::-1][:count]


def _example(
    experiment: Experiment, scorer: Scorer, variables: Variables, index: int, metric: Metric
) -> ShownExample:
    data = experiment.eval_data
    example = data[index]
    (prediction,) = scorer.predictions(variables, example["image"][None])
    longest = longest_side(*example["image"].shape[:2])
    is_share = metric.shown[metric.primary].is_share
    return ShownExample(
        name=example["name"],
        score=score_text(metric.ranking()[index], is_share=is_share),
        panels=experiment.task.panels(example, prediction, data, longest=longest),
    )
