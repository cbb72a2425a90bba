"""Trained networks with all that it takes to answer, for predict, serve, export and notebooks.

One function opens them for all of these, so that they answer alike.
"""

import dataclasses
import hashlib
import pathlib
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jax
import numpy as np
from flax.errors import FlaxError

from segjax import experiment as experiments
from segjax.contracts import Variables
from segjax.description import describe_lines
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor
from segjax.experiment import Experiment
from segjax.pretrained.find import find_weights
from segjax.train.checkpoint import FOLDER, Checkpoints
from segjax.train.evaluated import evaluated
from segjax.train.workdir import open_run
from segjax.weights import load as load_weights

SIDE = 64
"""Pixels of the image that a network is tried on; nothing is computed."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with its experiment.

    Attributes:
      experiment: as it is to be evaluated.
      variables: parameters and statistics.
      predict: the experiment's network, as its `evaluation` says.
      step: of the checkpoint; None for weights that no run has trained.
      weights: what the variables are called in a printed line, "step 300" or a file's name.
      made_by: what decides every answer but the predictor, for records; JSON.
    """

    experiment: Experiment
    variables: Variables
    predict: HostPredictor
    step: int | None
    weights: str
    made_by: Mapping[str, Any]

    def answer(self, image: np.ndarray, soft: bool) -> tuple[Any, np.ndarray | None]:
        """Returns (what is saved of an image h w c, its probabilities where `soft` asks)."""
        task = self.experiment.task
        return task.answer(self.predict, self.variables, image, soft=soft)

    @property
    def channels(self) -> int:
        """Of the network's images: 3 are RGB, 1 is grey."""
        return self.experiment.eval_data.channels

    @property
    def image_dtype(self) -> str:
        """The name of the dtype of the network's images."""
        return getattr(self.experiment.eval_data, "image_dtype", "uint8")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a trained network comes from: a run's folder, or an experiment file and weights.

    Attributes:
      place: the folder of a run, or EXPERIMENT.py.
      checkpoint: of a run: "best", "last" or a step. None: "best".
      weights: for an experiment file: a path, or a name as `segjax.weights.load` takes it.
      key: which state dict in the weights file; see `segjax.weights.load`.
      settings: changes to the experiment file's fields, such as "model.num_classes=5".

    Raises:
      InputError: there is no such place, or an option does not go with it.
    """

    place: pathlib.Path
    checkpoint: str | None = None
    weights: str | None = None
    key: str | None = None
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.place.exists():
            raise InputError(
                f"There is no {self.place}; name a run's folder, such as runs/quickstart, "
                "or an experiment file and its --weights."
            )
        if self.is_file and self.place.suffix.lower() != ".py":
            raise InputError(
                f"{self.place} is no experiment file: name EXPERIMENT.py and add --weights "
                f"{self.place.name}, or name the folder of a run."
            )
        if self.is_file and self.weights is None:
            raise InputError(
                f"{self.place} is an experiment file, which has no trained weights: add "
                "--weights FILE_OR_NAME, or name the folder of its run."
            )
        if self.is_file and self.checkpoint is not None:
            raise InputError(
                f"--checkpoint {self.checkpoint} is for the folder of a run; {self.place} "
                "takes its variables from --weights."
            )
        given = {"--weights": self.weights, "--key": self.key, "--set": self.settings}
        for option, value in given.items():
            if value and not self.is_file:
                raise InputError(
                    f"{option} is for an experiment file, but {self.place} is a folder: leave "
                    f"{option} out, or name {self.place / 'experiment.py'}."
                )

    @property
    def is_file(self) -> bool:
        """Whether it is an experiment file, not the folder of a run."""
        return self.place.is_file()

    @property
    def name(self) -> str:
        """A short name: of the run's folder, or of the experiment's file."""
        return self.place.stem if self.is_file else self.place.resolve().name

    def experiment(self) -> Experiment:
        """Returns the experiment, to be predicted with on one device.

        How training shared its images says nothing of this machine's devices.

        Raises:
          InputError: the folder is no run's, or the file or a setting is wrong.
          UserCodeError: the file itself raised.
        """
        if not self.is_file:
            return dataclasses.replace(open_run(self.place), split=(1, 1))
        experiment = experiments.load(self.place)
        for setting in self.settings:
            experiment = experiments.override(experiment, setting)
        return dataclasses.replace(experiments.checked(experiment, "--set"), split=(1, 1))

    def load(self, experiment: Experiment) -> Trained:
        """Returns the network of the opened experiment, or of a variant of it, with variables.

        Raises:
          InputError: there is no such checkpoint or weights file, it does not give every
            variable of the network, or network and data differ in the number of classes.
        """
        trained = self._of_file(experiment) if self.is_file else self._of_run(experiment)
        _check(trained, f"{self.place}")
        return trained

    def _of_run(self, experiment: Experiment) -> Trained:
        with Checkpoints(self.place, read_only=True) as checkpoints:
            step, variables = checkpoints.restore_variables(self.checkpoint or "best")
        folder = self.place.resolve()
        made_by = {
            "run": str(folder),
            "step": step,
            "checkpoint": _saved(folder / FOLDER / str(step)),
        }
        return Trained(
            experiment, variables, evaluated(experiment), step, f"step {step}", made_by
        )

    def _of_file(self, experiment: Experiment) -> Trained:
        path = find_weights(str(self.weights))
        variables = load_weights(
            path,
            experiment.model,
            channels=experiment.eval_data.channels,
            key=self.key,
            complete=True,
            note=_on_standard_error,
        )
        key = f" ({self.key})" if self.key else ""
        made_by = {
            "run": str(self.place.resolve()),
            "network": _digest(experiment),
            "step": None,
            "checkpoint": f"{path.resolve()}{key}, changed at {_time(path)}",
        }
        return Trained(
            experiment, variables, evaluated(experiment), None, f"weights {path.name}", made_by
        )


def _on_standard_error(line: str) -> None:
    """Prints a note beside the command's own output, which may be JSON."""
    print(line, file=sys.stderr)


def _saved(checkpoint: pathlib.Path) -> str:
    """Returns when a checkpoint was saved; training may have replaced it since it was read."""
    try:
        return f"saved at {_time(checkpoint)}"
    except FileNotFoundError:
        return "replaced since"


def _time(path: pathlib.Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).isoformat()


def _digest(experiment: Experiment) -> str:
    """Returns a digest of the fields that decide the files, with the network's name."""
    fields = (experiment.model, experiment.normalize, experiment.task)
    lines = [line for field in fields for line in describe_lines(field, path="")]
    names, colours = experiment.task.legend(experiment.eval_data)
    lines.append(repr((names, colours.tolist())))
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{type(experiment.model).__name__} {digest[:16]}"


def map_count(predict: HostPredictor, variables: Variables, *, channels: int) -> int | None:
    """Returns how many maps a predictor gives; None if it takes no image of `SIDE` pixels.

    Raises:
      InputError: the variables are not those of its network for images of so many channels.
    """
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, channels), np.uint8)
    try:
        return predict.check(variables, image)
    except FlaxError as error:
        reason = str(error).split(" (http")[0]
        raise InputError(f"these variables are of another network: {reason}") from error
    except InputError:
        raise
    except ValueError:
        return None  # Of other sizes it will be told one by one.


def _check(trained: Trained, where: str) -> None:
    try:
        found = map_count(trained.predict, trained.variables, channels=trained.channels)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if found is not None:
        experiment = trained.experiment
        who = f"{where}: {type(experiment.model).__name__}"
        experiment.task.check_outputs(found, experiment.eval_data, who=who)
