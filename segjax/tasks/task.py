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
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.tasks import dense
from segjax.tasks.program import Program
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
        """Adds up what all processes counted; between them they counted each image once.

        Args:
          total: images of the evaluation data.
        """

    @abc.abstractmethod
    def scores(self) -> dict[str, Any]:
        """Returns the entries of `evaluation.json`, with all of `shown`; None: undefined."""

    @abc.abstractmethod
    def ranking(self) -> Mapping[int, float]:
        """Returns {index: primary score of this image alone}, NaN where it has none."""

    def remark(self, name: str, *evaluations: Mapping[str, Any]) -> str:
        """Returns what is printed after a score, such as " over 18 of 21 classes"."""
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
    def entries(self) -> tuple[str, ...]:
        """The names of what `scores` returns, which no extra metric may have.

        By default those of `shown`. A metric with more may redefine this: a name that both
        have is then found before training.
        """
        return tuple(self.shown)

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
        """Returns the maps that logits stand for, such as probabilities.

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
        """Returns the network's shapes, after network and loss were tried on an example.

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
        """Returns `(variables, images as read) → maps`, which can be traced.

        Raises:
          InputError: the network has no such output stride.
        """
        model = at_output_stride(model, output_stride)
        return WholeImage(model, normalize, self.activation)

    def program(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
        size: tuple[int, int] | None,
        output: str = "probabilities",
        onnx: bool = False,
    ) -> Program:
        """Returns what an export holds; by default the maps of the network.

        Args:
          model, normalize, output_stride: as for `network`.
          size: height and width of the images; None for any.
          output: "probabilities", or "classes", as the option `--output` names it.
          onnx: whether it becomes an ONNX model, and not StableHLO.

        Raises:
          InputError: the task has no such program; one line names the option and the remedy.
        """
        network = self.network(model, normalize=normalize, output_stride=output_stride)
        if output != "classes":
            return Program(network)
        return Program(lambda variables, images: self.classes(network(variables, images)))

    def predictor(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
        wrappers: Sequence[Callable] = (),
        split: tuple[int, int] = (1, 1),
    ) -> HostPredictor:
        """Returns the network in its wrappers, on NumPy images; the first wrapper is innermost.

        Raises:
          InputError: the network has no such output stride, the task cannot use a wrapper, a
            wrapper cannot stand where it is, or the devices cannot be grouped so.
        """
        for wrapper in wrappers:
            self.check_wrapper(wrapper)
        network = self.network(model, normalize=normalize, output_stride=output_stride)
        return wrapped(network, wrappers, split=split)

    def check_wrapper(self, wrapper: Callable) -> None:
        """Raises InputError unless a wrapper can work on the task's maps.

        Raises:
          InputError: the wrapper is for probabilities of classes that exclude one another, and
            the maps are not said to be such.
        """
        is_maximum = isinstance(wrapper, MultiScale) and wrapper.combine == "max"
        if isinstance(wrapper, CRF) or is_maximum:
            raise InputError(
                f"evaluation.predictor: {wrapper!r} is for mutually exclusive classes, which "
                f"task={type(self).__name__} does not have; leave it out."
            )

    def classes(self, maps: Array) -> Array:
        """Returns class ids from maps b h w k, as uint8, for exports that ask for classes.

        Raises:
          InputError: they are not of classes.
        """
        raise InputError(
            f"--output classes: task={type(self).__name__} has none; leave it out."
        )

    def legend(self, data: Any) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns the names and colours (k × 3) of the channels of the network's maps.

        Nothing where it is not known; exports and `predict` hand it on.
        """
        return (), np.zeros((0, 3), np.uint8)

    def shown(self, data: Any) -> Shown:
        """Returns how the local page paints maps: as one class a pixel.

        Raises:
          InputError: they are not of classes.
        """
        raise InputError(
            f"serve draws classes, but task={type(self).__name__} has none: define `shown` "
            "in the task."
        )

    def predict(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> Sequence[Any]:
        """Returns for each image of b h w c what the metric takes; here the maps themselves."""
        return [*predictor(variables, images)]

    def packed(self, prediction: Any) -> Mapping[str, np.ndarray]:
        """Returns what `predict` says of an image as named arrays, which an ablation keeps.

        A task whose predictions are not NumPy arrays redefines this and `unpacked`.

        Raises:
          InputError: the prediction is not a NumPy array.
        """
        array = np.asarray(prediction)
        if array.dtype == object:
            raise InputError(
                f"Task.predict returned a {type(prediction).__name__}, but an ablation keeps "
                f"NumPy arrays: define `packed` and `unpacked` in {type(self).__name__}, or "
                "return one array for each image."
            )
        return {"": array}

    def unpacked(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """Returns the prediction that `packed` made these arrays of."""
        return arrays[""]

    def predict_with_probabilities(
        self, predictor: HostPredictor, variables: Variables, images: np.ndarray
    ) -> Sequence[tuple[Any, np.ndarray]]:
        """Returns for each image (what `predict` returns, the maps h w k of the network)."""
        maps = np.asarray(predictor(variables, images))
        return list(zip(maps, maps, strict=True))

    def check_metric(self, metric: ExtraMetric, data: Any) -> None:
        """Raises InputError unless an extra metric can score the task's predictions.

        A task that defines `scored_image` redefines this too, to accept metrics.

        Raises:
          InputError: it cannot.
        """
        raise InputError(
            f"{type(metric).__name__} scores classes, which task={type(self).__name__} does "
            "not have; leave it out, or define `scored_image` and `check_metric` in the task."
        )

    def scored_image(
        self, example: Example, prediction: Any, data: Any, *, probabilities: np.ndarray | None
    ) -> ScoredImage:
        """Returns an image as extra metrics read it; `prediction` is what `predict` returned.

        Raises:
          NotImplementedError: the task has no classes; `check_metric` refuses before.
        """
        raise NotImplementedError

    def scored(self, data: Dataset) -> str:
        """Returns in words what the scores are of; runs compare only if it is equal."""
        return ", ".join(self.metric(data).shown)

    def check_settings(
        self, model: nn.Module, loss: Loss, datasets: Mapping[str, Dataset]
    ) -> None:
        """Raises InputError unless the parts fit, as far as is known before files are read.

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
        """Raises InputError unless the prepared dataset `field` fits network and other data.

        Raises:
          InputError: it does not.
        """
        return

    def check_example(
        self, example: Example, data: Dataset, *, transformed: bool = False
    ) -> None:
        """Raises InputError unless an example can be trained on and scored.

        Raises:
          InputError: it cannot; names the example.
        """
        check_finite_image(example, transformed=transformed)

    def check_outputs(self, count: int, data: Dataset, *, who: str) -> None:
        """Raises InputError unless maps of `count` channels fit the data; `who` gives them.

        Raises:
          InputError: they do not.
        """
        return

    def coverage(
        self, data: Dataset, found: Survey, *, field: str, transformed: bool
    ) -> Sequence[str]:
        """Returns lines about what a dataset's labels lack, printed before training.

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
        """Returns a made-up example of this shape, or None if files must be read.

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
            f"predict writes no files for {type(self).__name__}: define `outputs` in the task."
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
        """Returns what is saved of an image h w c and, if `soft`, its probabilities.

        Raises:
          ValueError, RunError: the network or a wrapper cannot take it.
        """
        maps = np.asarray(predictor(variables, image[None])[0])
        return maps, maps if soft else None
