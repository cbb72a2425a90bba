"""The scores of a network as its evaluation is built up: a row for each wrapper that joins."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from segjax.atomic import write_text
from segjax.evaluate.predictors import at_output_stride
from segjax.experiment import Experiment
from segjax.scores.counting import columns
from segjax.train.results import how_evaluated

EVALUATIONS = "evaluations.json"


def evaluation_stages(experiment: Experiment) -> list[tuple[str, Experiment]]:
    """Returns (name, experiment) from the plain network to the full evaluation.

    Each changes one thing more: the output stride where `evaluation` has another one than the
    network, then the wrappers, the nearest to the network first.
    """
    evaluation, model = experiment.evaluation, experiment.model
    plain = dataclasses.replace(evaluation, output_stride=None, predictor=())
    built = [("whole image", plain)]
    if at_output_stride(model, evaluation.output_stride) != model:
        stride = dataclasses.replace(plain, output_stride=evaluation.output_stride)
        built.append((f"+ output stride {evaluation.output_stride}", stride))
    for count, wrapper in enumerate(evaluation.wrappers, start=1):
        more = dataclasses.replace(evaluation, predictor=evaluation.wrappers[:count])
        built.append((f"+ {getattr(wrapper, '__name__', type(wrapper).__name__)}", more))
    return [(name, dataclasses.replace(experiment, evaluation=e)) for name, e in built]


def write_table(
    workdir: pathlib.Path, rows: Sequence[tuple[str, Experiment, Mapping[str, Any]]]
) -> None:
    """Writes `evaluations.json`: of each (name, experiment, scores) a row with its wrappers."""
    written = [
        {"name": name, **scores, **how_evaluated(experiment)}
        for name, experiment, scores in rows
    ]
    write_text(workdir / EVALUATIONS, json.dumps(written, indent=2) + "\n")


def table_lines(rows: Sequence[tuple[str, Experiment, Mapping[str, Any]]]) -> list[str]:
    """Returns the table as text: name and scores of each row.

    What must be said of the primary score, such as how many classes it is over, ends a row.
    """
    experiment = rows[0][1]
    metric = experiment.task.metric(experiment.eval_data)
    shown_names = (*metric.logged, *columns(experiment.evaluation.extra_metrics))
    widest = max(len(name) for name, _, _ in rows)
    width = max(16, *(len(name) + 2 for name in shown_names))
    head = f"{'':{widest}}" + "".join(f"{name:>{width}}" for name in shown_names)
    remark = lambda scores: metric.remark(metric.primary, scores)
    shown = lambda value: "–" if value is None else f"{value:.4f}"
    return [head] + [
        f"{name:{widest}}"
        + "".join(f"{shown(scores[score]):>{width}}" for score in shown_names)
        + (f"  {metric.primary}{remark(scores)}" if remark(scores) else "")
        for name, _, scores in rows
    ]
