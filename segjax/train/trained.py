"""A run's trained network with all that it takes to answer, for predict, serve and export.

One function opens it for all of them, so that they answer alike.
"""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
from flax.errors import FlaxError

from segjax.contracts import Variables
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor
from segjax.experiment import Experiment
from segjax.train.checkpoint import Checkpoints
from segjax.train.plan import evaluated

SIDE = 64
"""Pixels of the image that a network is tried on; nothing is computed."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A checkpoint with its experiment.

    Attributes:
      experiment: as it is to be evaluated.
      step: of the checkpoint.
      variables: the checkpoint's.
      predict: the experiment's network, as its `evaluation` says.
    """

    experiment: Experiment
    step: int
    variables: Variables
    predict: HostPredictor

    def answer(self, image: np.ndarray, soft: bool) -> tuple[Any, np.ndarray | None]:
        """Returns (what is saved of an image h w c, its probabilities where `soft` asks for
        them).
        """
        task = self.experiment.task
        return task.answer(self.predict, self.variables, image, soft=soft)

    @property
    def channels(self) -> int:
        """Of the network's images: 3 are RGB, 1 is grey."""
        return channels(self.experiment)


def channels(experiment: Experiment) -> int:
    """Returns the channels of an experiment's images."""
    return experiment.eval_data.channels


def load_trained(workdir: pathlib.Path, experiment: Experiment, *, checkpoint: str) -> Trained:
    """Returns the checkpoint "best", "last" or of a step, for a run's experiment or a variant
    of it.

    Raises:
      InputError: there is no such checkpoint, it is of another network, or the network tells
        another number of classes apart than the data name.
    """
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step, variables = checkpoints.restore_variables(checkpoint)
    trained = Trained(experiment, step, variables, evaluated(experiment))
    _check(trained, workdir)
    return trained


def _check(trained: Trained, workdir: pathlib.Path) -> None:
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, trained.channels), np.uint8)
    try:
        found = trained.predict.check(trained.variables, image)
    except FlaxError as error:
        reason = str(error).split(" (http")[0]
        raise InputError(
            f"{workdir}: its checkpoint is of another network than its experiment.py: {reason}"
        ) from error
    except InputError as error:
        raise InputError(f"{workdir}: {error}") from error
    except ValueError:
        return  # It takes no image of this size; of others it will be told one by one.
    experiment = trained.experiment
    who = f"{workdir}: {type(experiment.model).__name__}"
    experiment.task.check_outputs(found, experiment.eval_data, who=who)
