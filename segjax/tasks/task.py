"""`Task`: all that training, evaluation, reports and predict must not know of a network's use.

An experiment's `task` is one of `segjax.tasks`, or a class of one's own in the experiment file:
a frozen dataclass with a `metric`. Without more it stands for a network that answers every
pixel, whose output is taken as it is; nothing more is checked, and no figures are added.
"""

import abc
import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import numpy as np

from segjax.contracts import Array, Batch, Dataset, Example, Loss, Objective, Traced, Variables
from segjax.data.checks import check_finite_image
from segjax.data.survey import Survey
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor, wrapped
from segjax.evaluate.crf import CRF
from segjax.evaluate.predictors import WholeImage, at_output_stride
from segjax.evaluate.wrappers import MultiScale
from segjax.outputs.kinds import Output
from segjax.outputs.lists import ImageList
from segjax.report.examples import Panels
from segjax.report.run_page import Section
from segjax.report.score import Score
from segjax.tasks import dense
from segjax.tasks.shown import Shown


class Metric(abc.ABC):
    """What one evaluation counts, on the host.

    Attributes:
      shown: {name: how people read it} of the scores that are shown, the most important first:
        that one, the primary score, decides which checkpoint is the best.
      convention: a sentence or two for the report: of what these are scores.
    """

    shown: Mapping[str, Score]
    convention: str = ""

    @abc.abstractmethod
    def add(self, index: int, example: Example, prediction: Any) -> None:
        """Counts one image of the evaluation data: what `Task.predict` says of it."""

    @abc.abstractmethod
    def merge(self, total: int) -> None:
        """Makes it the metric of all processes' images; between them they have added each once.

        Args:
          total: images of the evaluation data.
        """

    @abc.abstractmethod
    def scores(self) -> dict[str, Any]:
        """Returns the entries of `evaluation.json`, all of `shown` among them; None: not
        defined.
        """

    @abc.abstractmethod
    def ranking(self) -> Mapping[int, float]:
        """Returns {index: primary score of this image alone}, NaN where it has none."""

    def remark(self, name: str, *evaluations: Mapping[str, Any]) -> str:
        """Returns what is said behind a score, of one run or several: " over 18 of 21
        classes".
        """
        return ""

    def line(self, scores: Mapping[str, Any]) -> str:
        """Returns the scores in one line, for the console; "" where none is defined."""
        return "  ".join(
            f"{name} {scores[name]:.4f}{self.remark(name, scores)}"
            for name in self.shown
            if scores.get(name) is not None
        )

    def standing(self, scores: Mapping[str, Any]) -> dict[str, float]:
        """Returns the primary score as checkpoints are compared by it: the most is the best.

        Of a score of which less is better it is the negative, by its name with a minus.
        """
        value, how = scores.get(self.primary), self.shown[self.primary]
        worst = -float(np.finfo(np.float64).max)
        if how.higher_is_better:
            undefined = 0.0 if how.is_share else worst
            return {self.primary: undefined if value is None else float(value)}
        return {f"-{self.primary}": worst if value is None else -float(value)}

    @property
    def primary(self) -> str:
        """The name of the score that decides which checkpoint is the best."""
        return next(iter(self.shown))

    @property
    def logged(self) -> tuple[str, ...]:
        """Names of the scores in `metrics.jsonl`, tables and comparisons; the primary first."""
        return tuple(
            name
            for name, score in self.shown.items()
            if score.is_logged or name == self.primary
        )


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """What a network is for. Subclasses are frozen dataclasses whose fields describe the run.

    `examples_note` explains the pictures of images in a report.
    """

    examples_note: ClassVar[str] = ""

    @abc.abstractmethod
    def metric(self, data: Dataset) -> Metric:
        """Returns a metric that has counted nothing yet."""

    def activation(self, logits: Array) -> Array:
        """Returns the maps that the network's output at every pixel stands for, such as
        probabilities.

        Raises:
          InputError: it stands for nothing, and says the remedy.
        """
        return logits

    def objective(
        self, model: nn.Module, loss: Loss, *, normalize: Callable[[Array], Array]
    ) -> Objective:
        """Returns the forward pass and the loss of a training step."""
        return dense.objective(model, loss, normalize=normalize)

    def trace(
        self,
        model: nn.Module,
        loss: Loss,
        batch: Mapping[str, np.ndarray],
        *,
        normalize: Callable[[Array], Array],
    ) -> Traced:
        """Returns the network's shapes, once normalisation, network and loss have taken an
        example.

        Nothing is computed.

        Raises:
          ValueError: one of them refuses it.
        """
        return dense.trace_example(model, loss, batch, normalize=normalize)

    def network(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
    ) -> WholeImage:
        """Returns `(variables, images as read) → maps`, which can be traced: what exports hold.

        Raises:
          InputError: the network has no such output stride.
        """
        model = at_output_stride(model, output_stride)
        return WholeImage(model, normalize, self.activation)

    def predictor(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
        wrappers: Sequence[Callable] = (),
        split: tuple[int, int] = (1, 1),
    ) -> HostPredictor:
        """Returns the network at work on NumPy images, in its wrappers: the first is the
        nearest to it.

        Raises:
          InputError: the network has no such output stride, the task cannot use a wrapper, a
            wrapper cannot stand where it is, or the devices cannot be grouped so.
        """
        for wrapper in wrappers:
            self.check_wrapper(wrapper)
        network = self.network(model, normalize=normalize, output_stride=output_stride)
        return wrapped(network, wrappers, split=split)

    def check_wrapper(self, wrapper: Callable) -> None:
        """Returns nothing where the task's maps can go through a wrapper of its predictor.

        Raises:
          InputError: the wrapper is for probabilities of classes that exclude one another, and
            the maps are not said to be such.
        """
        is_maximum = isinstance(wrapper, MultiScale) and wrapper.combine == "max"
        if isinstance(wrapper, CRF) or is_maximum:
            raise InputError(
                f"evaluation.predictor: {wrapper!r} is for classes that exclude one another, "
                f"which those of task={type(self).__name__} do not; leave it out."
            )

    def classes(self, maps: Array) -> Array:
        """Returns what a network's maps b h w k say, as uint8: what exports give where it is
        asked for.

        Raises:
          InputError: they are not of classes.
        """
        raise InputError(
            f"--output classes: task={type(self).__name__} has none; leave it out."
        )

    def legend(self, data: Any) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns what the channels of the network's maps are called, and their colours, k × 3.

        Nothing where it is not known; exports and `predict` hand it on.
        """
        return (), np.zeros((0, 3), np.uint8)

    def shown(self, data: Any) -> Shown:
        """Returns how the local page paints maps: as one class a pixel.

        Raises:
          InputError: they are not of classes.
        """
        raise InputError(
            f"serve paints classes, and task={type(self).__name__} has none: give the task "
            "`shown`."
        )

    def predict(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> Sequence[Any]:
        """For each of the images b h w c what the metric takes; here the maps themselves.

        They must be NumPy arrays to be compared on the page of an ablation, which keeps them.
        """
        return [*predictor(variables, images)]

    def scored(self, data: Dataset) -> str:
        """Returns what the scores are of, in words, such as the classes: equal where runs
        compare.
        """
        return ", ".join(self.metric(data).shown)

    def check_settings(
        self, model: nn.Module, loss: Loss, datasets: Mapping[str, Dataset]
    ) -> None:
        """Returns nothing where the parts fit, as far as it is known before files are read.

        Args:
          model, loss: the experiment's.
          datasets: "train_data" and "eval_data".

        Raises:
          InputError: they do not.
        """
        return

    def check_data(
        self, model: nn.Module, datasets: Mapping[str, Dataset], *, field: str
    ) -> None:
        """Returns nothing where the prepared dataset `field` fits the network and the others.

        Raises:
          InputError: it does not.
        """
        return

    def check_example(
        self, example: Example, data: Dataset, *, transformed: bool = False
    ) -> None:
        """Returns nothing where an example can be trained on and scored; at least its image.

        Raises:
          InputError: it cannot; names the example.
        """
        check_finite_image(example, transformed=transformed)

    def check_outputs(self, count: int, data: Dataset, *, who: str) -> None:
        """Returns nothing where maps of so many channels fit the data; `who` gives them.

        Raises:
          InputError: they do not.
        """
        return

    def coverage(
        self, data: Dataset, found: Survey, *, field: str, transformed: bool
    ) -> Sequence[str]:
        """Returns lines about what a dataset's labels leave out, for a user to read before
        training.

        Args:
          found: what was seen of the dataset.
          field: "train_data" or "eval_data".
          transformed: whether transforms may yet change the labels.

        Raises:
          InputError: nothing could be trained or scored.
        """
        return ()

    def counts(self, model: nn.Module, batch: Batch, traced: Traced) -> bool:
        """Returns whether a batch adds to the loss at all."""
        return True

    def stand_in(self, shape: tuple[int, int, int], data: Dataset) -> Example | None:
        """Returns an example of this shape like the dataset's, made up; None: its files must be
        read.

        Transforms, network and loss are tried on it before any file is looked for.
        """
        return None

    def sections(
        self, metric: Metric, scores: Mapping[str, Any], data: Dataset
    ) -> Sequence[Section]:
        """Returns parts of the report between its curves and its images."""
        return ()

    def panels(
        self, example: Example, prediction: Any, data: Dataset, *, longest: int
    ) -> Panels:
        """Returns an evaluated image as pictures with sides up to `longest`."""
        return Panels.of_image(example["image"], longest=longest)

    def outputs(self, options: argparse.Namespace, data: Dataset) -> list[Output]:
        """Returns the kinds of files that predict's options ask for, the main one first.

        Raises:
          InputError: the task has no such files.
        """
        raise InputError(
            f"predict writes no files for {type(self).__name__}: give the task `outputs`."
        )

    def lists(self, options: argparse.Namespace, data: Dataset) -> list[ImageList]:
        """Returns the lists of all images that predict's options ask for.

        Raises:
          InputError: the task has no such lists.
        """
        return []

    def answer(
        self, predictor: HostPredictor, variables: Variables, image: np.ndarray, *, soft: bool
    ) -> tuple[Any, np.ndarray | None]:
        """Returns (what is saved of an image h w c, its probabilities where `soft` asks for
        them).

        Raises:
          ValueError, RunError: the network or a wrapper cannot take it.
        """
        maps = np.asarray(predictor(variables, image[None])[0])
        return maps, maps if soft else None
