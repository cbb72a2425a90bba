"""Runs that the page predicts with, loaded whole before the server listens."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax.errors import FlaxError
from jaxtyping import Float, UInt8

from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor
from segjax.evaluate.windows import OverlapTile, PadToMultiple, SlidingWindow
from segjax.train.checkpoint import Checkpoints
from segjax.train.plan import evaluated
from segjax.train.workdir import open_run
from segjax.types import Variables

MULTIPLE = 64
"""Sides are rounded up to it, so that 256 programs at most serve all images up to 1024²."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained network with what its answers mean.

    Attributes:
      name: the run's folder.
      step: of the checkpoint.
      channels: of its images, 1 or 3.
      class_names: in the order of the label ids.
      palette: colours by label id.
      predict: the predictor, on a grid of sizes.
      variables: the checkpoint's.
    """

    name: str
    step: int
    channels: int
    class_names: tuple[str, ...]
    palette: UInt8[np.ndarray, "256 3"]
    predict: HostPredictor
    variables: Variables

    def probabilities(self, image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w k"]:
        """Probabilities of every pixel of one image."""
        return self.predict(self.variables, image[None])[0]

    def about(self) -> dict[str, Any]:
        """What the page shows of the run."""
        colours = self.palette[: len(self.class_names)].tolist()
        classes = [
            {"name": name, "colour": colour}
            for name, colour in zip(self.class_names, colours, strict=True)
        ]
        return {"name": self.name, "step": self.step, "classes": classes}


def load_runs(workdirs: Sequence[pathlib.Path], *, checkpoint: str) -> list[Run]:
    """The runs of these folders; two of one name are told apart by their place.

    Raises:
      InputError: a folder is no run's, has no such checkpoint, or network and classes disagree.
    """
    runs = [_load(workdir, checkpoint) for workdir in workdirs]
    names = [run.name for run in runs]
    return [
        dataclasses.replace(run, name=f"{run.name} ({place})")
        if names.count(run.name) > 1
        else run
        for place, run in enumerate(runs, start=1)
    ]


def _load(workdir: pathlib.Path, checkpoint: str) -> Run:
    # The images are small here, and the machine may be another.
    experiment = dataclasses.replace(open_run(workdir), split=(1, 1))
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step, variables = checkpoints.restore_variables(checkpoint)
    predict = evaluated(experiment)
    # Windows and tiles are of one size already, whatever the image's.
    windows = SlidingWindow, OverlapTile
    if not any(isinstance(wrapper, windows) for wrapper in experiment.evaluation.wrappers):
        predict = PadToMultiple(MULTIPLE)(predict)
    data = experiment.eval_data
    run = Run(
        name=workdir.resolve().name,
        step=step,
        channels=getattr(data, "channels", 3),
        class_names=tuple(data.class_names),
        palette=data.palette,
        predict=predict,
        variables=variables,
    )
    _check(run, workdir)
    return run


def _check(run: Run, workdir: pathlib.Path) -> None:
    shape = (1, MULTIPLE, MULTIPLE, run.channels)
    try:
        found = run.predict.check(run.variables, jax.ShapeDtypeStruct(shape, np.uint8))
    except FlaxError as error:
        reason = str(error).split(" (http")[0]
        raise InputError(
            f"{workdir}: its checkpoint is of another network than its experiment.py: {reason}"
        ) from error
    except ValueError as error:
        raise InputError(f"{workdir}: {' '.join(str(error).split())}") from error
    if found != len(run.class_names):
        raise InputError(
            f"{workdir}: the network tells {found} classes apart, the data name "
            f"{len(run.class_names)}."
        )
