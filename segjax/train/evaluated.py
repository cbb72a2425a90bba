"""How an experiment's network is evaluated, and whether it can be."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from flax.errors import ScopeParamShapeError

from segjax.conformity import declares
from segjax.contracts import Undoing
from segjax.data.checks import checked_example
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor
from segjax.experiment import Experiment
from segjax.tasks.scorer import Scorer, check_metrics


def scorer(experiment: Experiment) -> Scorer:
    """Returns the scorer of an experiment's network on its evaluation data."""
    return Scorer(
        experiment.task,
        evaluated(experiment),
        experiment.eval_data,
        batch_size=experiment.evaluation.batch_size,
        metrics=experiment.evaluation.extra_metrics,
    )


def evaluated(experiment: Experiment) -> HostPredictor:
    """Returns the predictor of an experiment: its network, as `evaluation` describes it.

    Raises:
      InputError: the network has no such output stride, or a wrapper cannot stand where it is.
    """
    evaluation = experiment.evaluation
    return experiment.task.predictor(
        experiment.model,
        normalize=experiment.normalize,
        output_stride=evaluation.output_stride,
        wrappers=evaluation.wrappers,
        split=experiment.split,
    )


def check_evaluation(experiment: Experiment, variables: Any) -> None:
    """Raises InputError unless the evaluated network accepts an image of its data.

    Raises:
      InputError: the network, the normalisation or a wrapper refuses it, or a network that
        undoes the normalisation undoes another one, or a metric of `evaluation` does not fit.
    """
    model = experiment.model
    if declares(model, Undoing) and model.normalize != experiment.normalize:
        raise InputError(
            f"model.normalize={model.normalize} undoes another normalisation than the "
            f"experiment's, {experiment.normalize}; give both the same."
        )
    data, task = experiment.eval_data, experiment.task
    check_metrics(task, data, experiment.evaluation.extra_metrics)
    image = checked_example(data, 0, partial(task.check_example, data=data))["image"][None]
    try:
        with one_line():
            shape = jax.ShapeDtypeStruct(image.shape, np.dtype(image.dtype.name))
            count = evaluated(experiment).check(variables, shape)
    except ScopeParamShapeError as error:
        channels = image.shape[-1]
        raise InputError(
            f"The network's weights do not fit the images of eval_data, which have {channels} "
            f"channel{'s' * (channels != 1)}: give eval_data images like those of train_data."
        ) from error
    task.check_outputs(count, data, who=type(experiment.model).__name__)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turns what a network or a normalisation raises in the block into an InputError."""
    try:
        yield
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(" ".join(str(error).split())) from error
