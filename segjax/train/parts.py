"""The parts of an experiment, held against each other before anything is traced."""

from segjax.conformity import check_dataset, check_values
from segjax.contracts import Dataset
from segjax.data.checks import read_example
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.parallel.sharing import nearest_multiples, nearest_parts
from segjax.train.coverage import check_held_out


def check_parts(experiment: Experiment) -> None:
    """Raises InputError unless datasets, network and loss are complete and fit each other.

    Raises:
      InputError: they do not; no device is asked for, no file is read, nothing is traced.
    """
    found = check_datasets(experiment)
    experiment.task.check_settings(experiment.model, experiment.loss, found)
    if experiment.batch_size % experiment.accumulate:
        # Not found where the field is set: a second --set may still change the other one.
        size, parts = experiment.batch_size, experiment.accumulate
        raise InputError(
            f"batch_size={size} is not divisible by accumulate={parts}; use batch_size="
            f"{nearest_multiples(size, parts)}, or accumulate={nearest_parts(size, parts)}."
        )


def check_datasets(experiment: Experiment) -> dict[str, Dataset]:
    """Returns the datasets of an experiment by field; no file is read.

    Raises:
      InputError: one lacks a member, or two divide a folder differently.
    """
    found = datasets(experiment)
    for field, data in found.items():
        check_dataset(data, field=field)
        check_values(data, field=field)
    check_held_out(found)
    return found


def check_data(experiment: Experiment, *fields: str) -> None:
    """Prepares datasets and checks them against each other and the network.

    Raises:
      InputError: what a dataset finds, or they do not fit.
    """
    for field in fields:
        data = getattr(experiment, field)
        data.prepare()
        if len(data) == 0:
            raise InputError(f"{field} has no examples; check its split and directory.")
        check_values(data, field=field)
        experiment.task.check_data(experiment.model, datasets(experiment), field=field)
        _check_channels(data, field=field)


def _check_channels(data: Dataset, *, field: str) -> None:
    image = read_example(data, 0)["image"]
    if image.ndim == 3 and image.shape[-1] != data.channels:
        raise InputError(
            f"{field}.channels={data.channels}, but its first image has {image.shape[-1]}; "
            f"set channels = {image.shape[-1]} in {type(data).__name__}."
        )


def datasets(experiment: Experiment) -> dict[str, Dataset]:
    """Returns the datasets of an experiment by field."""
    return {"eval_data": experiment.eval_data, "train_data": experiment.train_data}
