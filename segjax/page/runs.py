"""Runs that the page predicts with, loaded before the server listens."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from segjax.contracts import Variables
from segjax.data.image_files import ImageKind
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor
from segjax.evaluate.windows import OverlapTile, PadToMultiple, SlidingWindow
from segjax.experiment import Experiment, Wrapper
from segjax.tasks.shown import Shown
from segjax.train.trained import Source


@dataclasses.dataclass(frozen=True)
class ServedRun:
    """A trained network with its classes.

    Attributes:
      name: the run's folder.
      weights: name of the variables, "step 300" or a file's name.
      channels: of its images, 1 or 3.
      shown: its classes, and how they follow from probabilities.
      predict: the predictor that the experiment's evaluation describes.
      variables: of the checkpoint.
      wrappers: of the predictor, the innermost first.
      output_stride: used in place of the network's own, or None.
      answer: image h w c → what the task answers; for tasks whose answer is objects.
    """

    name: str
    weights: str
    channels: int
    shown: Shown
    predict: HostPredictor
    variables: Variables
    wrappers: tuple[Wrapper, ...] = ()
    output_stride: int | None = None
    answer: Callable[[np.ndarray], Any] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their ids."""
        return self.shown.class_names

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """Colours by class id."""
        return self.shown.palette

    def probabilities(self, image: Shaped[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w k"]:
        """Returns the class probabilities of every pixel of one image."""
        return np.asarray(self.predict(self.variables, image[None])[0])

    def program(self, size: tuple[int, int]) -> Hashable:
        """Returns a key that is equal for image sizes with the same compiled program."""
        for wrapper in self.wrappers:
            if isinstance(wrapper, SlidingWindow | OverlapTile):
                return ()
            if isinstance(wrapper, PadToMultiple):
                return tuple(-(-n // wrapper.multiple) for n in size)
        return size

    def about(self) -> dict[str, Any]:
        """Returns what the page shows of the run."""
        colours = self.palette[: len(self.class_names)].tolist()
        classes = [
            {"name": name, "colour": colour}
            for name, colour in zip(self.class_names, colours, strict=True)
        ]
        way = [repr(wrapper) for wrapper in self.wrappers]
        if self.output_stride is not None:
            way.insert(0, f"output stride {self.output_stride}")
        about = {"name": self.name, "weights": self.weights, "classes": classes, "way": way}
        return about | {"scored": self.shown.scored}


def load_runs(runs: Sequence[tuple[Source, Experiment]]) -> list[ServedRun]:
    """Returns the networks of these sources with the given experiments.

    Networks of the same name get a number.

    Raises:
      InputError: a source has no such weights, or network and classes disagree.
    """
    loaded = [_load(source, experiment) for source, experiment in runs]
    names = [run.name for run in loaded]
    return [
        dataclasses.replace(run, name=f"{run.name} ({place})")
        if names.count(run.name) > 1
        else run
        for place, run in enumerate(loaded, start=1)
    ]


def _load(source: Source, experiment: Experiment) -> ServedRun:
    shown = experiment.task.shown(experiment.eval_data)
    trained = source.load(experiment)
    if not ImageKind(trained.channels, trained.image_dtype).is_shown:
        raise InputError(
            f"{source.name} takes images of {trained.channels} channel(s) of "
            f"{trained.image_dtype}, but the page shows 8 bits in RGB or grey: use "
            "segjax.predict."
        )
    return ServedRun(
        name=source.name,
        weights=trained.weights,
        channels=trained.channels,
        shown=shown,
        predict=trained.predict,
        variables=trained.variables,
        wrappers=experiment.evaluation.wrappers,
        output_stride=experiment.evaluation.output_stride,
        answer=lambda image: trained.answer(image, False)[0],
    )
