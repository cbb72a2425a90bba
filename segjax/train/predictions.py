"""Predictions of a run of an ablation on a few images, the same for every run of it.

They are written last, with the description of their experiment: a folder that holds them holds
the scores of that experiment too.
"""

import pathlib
from typing import Any

import numpy as np

from segjax.atomic import atomic_path
from segjax.contracts import Variables
from segjax.experiment import Experiment, describe
from segjax.parallel.cluster import is_main
from segjax.tasks.scorer import Scorer
from segjax.tasks.task import Task
from segjax.train.early_stop import early_stop_line
from segjax.train.log import read_metrics
from segjax.train.workdir import read_evaluation
from segjax.trajectory import said

PREDICTIONS = "predictions.npz"
DESCRIBED = "description"


def shown_images(experiment: Experiment) -> list[int]:
    """Returns indices of the images in a comparison, spread over the evaluation data."""
    total, count = len(experiment.eval_data), experiment.evaluation.examples
    return sorted({int(i) for i in np.linspace(0, total - 1, min(count, total))})


def save_predictions(
    workdir: pathlib.Path, experiment: Experiment, scorer: Scorer, variables: Variables
) -> None:
    """Writes the predictions on the shown images, whole or not at all; by the main process."""
    if not is_main():
        return
    arrays: dict[str, Any] = {DESCRIBED: np.array(describe(experiment))}
    for index in shown_images(experiment):
        example = experiment.eval_data[index]
        (prediction,) = scorer.predictions(variables, example["image"][None])
        for name, array in experiment.task.packed(prediction).items():
            arrays[_key(index, name)] = array
    with atomic_path(workdir / PREDICTIONS) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _key(index: int, name: str) -> str:
    return f"{index}/{name}" if name else f"{index}"


def has_predictions(workdir: pathlib.Path) -> bool:
    """Returns whether the folder has scores and predictions that belong together."""
    return (workdir / PREDICTIONS).is_file()


def prediction_of(workdir: pathlib.Path, index: int, task: Task) -> Any:
    """Returns the saved prediction on the image of this index, as `Task.predict` made it."""
    first = _key(index, "")
    with np.load(workdir / PREDICTIONS) as saved:
        names = [key for key in saved.files if key == first or key.startswith(f"{first}/")]
        arrays = {name[len(first) + 1 :]: saved[name] for name in names}
    return task.unpacked(arrays)


def forget_predictions(workdir: pathlib.Path) -> None:
    """Removes the predictions, whose scores are about to be replaced; by the main process.

    So a process that is killed while it replaces them leaves no mixture of old and new.
    """
    if is_main():
        (workdir / PREDICTIONS).unlink(missing_ok=True)


def is_finished(workdir: pathlib.Path, experiment: Experiment) -> bool:
    """Returns whether the folder has this experiment's best scores after its last step.

    The last step is `steps`, or that where the run stopped early.
    """
    if not has_predictions(workdir):
        return False
    try:
        read_evaluation(workdir)
        with np.load(workdir / PREDICTIONS) as saved:
            described = str({name: saved[name] for name in saved.files}[DESCRIBED])
    # Whatever is wrong with a file, evaluating the run writes it again.
    except Exception:
        return False
    rows = read_metrics(workdir)
    primary = experiment.task.metric(experiment.eval_data).primary
    last = max((row["step"] for row in rows if primary in row), default=0)
    is_trained = last == experiment.steps or early_stop_line(experiment, rows) is not None
    return said(described) == said(describe(experiment)) and is_trained
