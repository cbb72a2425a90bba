"""The checked experiment and the batch that a plan starts from, with or without the data."""

from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple

import numpy as np

from segjax.data.by_aspect import ungrouped
from segjax.data.prepare import FileDataset
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.parallel.cluster import process_share
from segjax.train.augmentation import augmented_batch
from segjax.train.computed_weights import with_stand_in_weights
from segjax.train.plan import Plan, check_fields, make_plan
from segjax.train.stand_in import stand_in


class Checked(NamedTuple):
    """A plan of training, and this process's share of a batch.

    `without_data` is the error of data that cannot be read; "" where the batch was read.
    """

    plan: Plan
    batch: Mapping[str, np.ndarray]
    without_data: str


def checked(experiment: Experiment) -> Checked:
    """Returns the plan of an experiment; where its data cannot be read, with a made-up batch.

    Weights that `init` names are not looked for: they change no size.

    Raises:
      InputError: the experiment is wrong, or data are needed and cannot be read.
    """
    try:
        plan = make_plan(experiment, resume=True, note=lambda _: None)
    except InputError as error:
        if not _is_unreadable(experiment):
            raise
        return _without_data(experiment, error)
    with closing(plan.batches(0)) as batches:  # type: ignore[type-var]
        return Checked(plan, next(batches), "")


def _is_unreadable(experiment: Experiment) -> bool:
    """Returns whether one of the datasets cannot be read."""
    try:
        for data in (experiment.eval_data, experiment.train_data):
            if isinstance(files := ungrouped(data), FileDataset):
                files.check_directory()
            data.prepare()
    except InputError:
        return True
    return False


def _without_data(experiment: Experiment, error: InputError) -> Checked:
    """Returns a plan for images of the size that the transforms make of others.

    Raises:
      InputError: `error`, where the task cannot make an example up; or another one, where the
        experiment is wrong.
    """
    check_fields(experiment)
    experiment = with_stand_in_weights(experiment)
    if (made_up := stand_in(experiment)) is None:
        raise error
    one, is_certain = made_up
    traced = experiment.task.trace(
        experiment.model,
        experiment.loss,
        augmented_batch(one, experiment.device_transforms, seed=experiment.seed),
        normalize=experiment.normalize,
    )
    optimizer = experiment.optimizer.build(experiment.steps, traced.variables["params"])
    plan = Plan(experiment, one["image"].shape[-1], traced.variables, optimizer)
    count = experiment.batch_size // process_share()[1]
    batch = {key: np.repeat(value, count, axis=0) for key, value in one.items()}
    height, width = one["image"].shape[1:3]
    how = "the transforms make" if is_certain else "is assumed, as no transform fixes it"
    why = f"{error} The plan is for images of {width}x{height}, which {how}."
    return Checked(plan, batch, why)
