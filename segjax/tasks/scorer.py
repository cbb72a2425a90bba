"""Scores of a network on a dataset, at each image's own size."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from segjax.conformity import check_dataset
from segjax.contracts import Array, Dataset, Example, Variables
from segjax.data.loader import equal_size_batches
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor
from segjax.normalize import IMAGENET
from segjax.scores.counting import ExtraCounts, check_names
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.tasks.semantic import Semantic
from segjax.tasks.task import Metric, Task

RESERVED = ("step", "images", "output_stride", "predictor", "images_trained_on")
"""Entries of `evaluation.json` that are not scores."""

SEMANTIC = Semantic()


class Scored(NamedTuple):
    """A metric of all images, and its scores as `evaluation.json` holds them.

    `standing` is what checkpoints are compared by; `extra` are the metrics beside the task's,
    whose scores are in `scores` too.
    """

    metric: Metric
    scores: dict[str, Any]
    standing: dict[str, float]
    extra: ExtraCounts

    def line(self) -> str:
        """Returns the scores in one line, for the console; "" where none is defined."""
        found = ((name, self.scores.get(name)) for name in self.extra.columns)
        extra = [f"{name} {value:.4f}" for name, value in found if value is not None]
        return "  ".join(filter(None, [self.metric.line(self.scores), *extra]))

    def __repr__(self) -> str:
        shown = self.line().replace("  ", ", ")
        return f"Scored({shown or 'no score is defined'})"


class Scorer:
    """Scores variables on a dataset, whose images are not resized."""

    def __init__(
        self,
        task: Task,
        predictor: HostPredictor,
        dataset: Dataset,
        *,
        batch_size: int,
        metrics: Sequence[ExtraMetric] = (),
    ):
        self._task, self._predictor = task, predictor
        self._dataset, self._batch_size = dataset, batch_size
        self._metrics = tuple(metrics)

    def predictions(self, variables: Variables, images: np.ndarray) -> Any:
        """Returns for each image of b h w c what the task's metric takes."""
        return self._task.predict(self._predictor, variables, images)

    def __call__(
        self,
        variables: Variables,
        *,
        share: tuple[int, int] = (0, 1),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Scored:
        """Returns the scores of all images.

        Args:
          variables: of the network.
          share: (i, n): this process predicts every n-th image from the i-th; what is counted
            is put together over the n processes.
          progress: called with (images done, images of this share).

        Raises:
          InputError: the metric lacks a score that it shows, or names one as what is none.
        """
        total = len(self._dataset)
        indices = range(share[0], total, share[1])
        metric, done = self._task.metric(self._dataset), 0
        extra = ExtraCounts(self._metrics)
        check = partial(self._task.check_example, data=self._dataset)
        for group, images, examples in equal_size_batches(
            self._dataset, indices, self._batch_size, check=check
        ):
            predictions = self._pairs(variables, images, soft=extra.need_probabilities)
            for index, example, pair in zip(group, examples, predictions, strict=True):
                metric.add(int(index), example, pair[0])
                if extra:
                    extra.add(int(index), self._scored_image(example, *pair))
            done += len(group)
            progress(done, len(indices))
        metric.merge(total)
        extra.merge(total)
        scores = self._checked(metric)
        standing = metric.standing(scores)
        return Scored(metric, scores | self._extra(extra, scores), standing, extra)

    def _pairs(
        self, variables: Variables, images: np.ndarray, *, soft: bool
    ) -> Sequence[tuple[Any, np.ndarray | None]]:
        """Returns (prediction, probabilities where they are asked for) of each image."""
        if soft:
            return self._task.predict_with_probabilities(self._predictor, variables, images)
        return [(each, None) for each in self.predictions(variables, images)]

    def _scored_image(
        self, example: Example, prediction: Any, probabilities: np.ndarray | None
    ) -> ScoredImage:
        return self._task.scored_image(
            example, prediction, self._dataset, probabilities=probabilities
        )

    def _extra(self, extra: ExtraCounts, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the scores of the extra metrics, none of which replaces another score."""
        if not extra:
            return {}
        found = extra.scores(self._task.legend(self._dataset)[0])
        for name in found:
            if name in scores or name in RESERVED:
                raise InputError(_taken("one", name, self._task))
        return {name: plain(value) for name, value in found.items()}

    def _checked(self, metric: Metric) -> dict[str, Any]:
        scores = {name: plain(value) for name, value in metric.scores().items()}
        who = f"The metric of task={type(self._task).__name__}"
        for name, how in metric.shown.items():
            if name not in scores and not how.is_optional:
                raise InputError(
                    f"{who} shows {name!r}, which its scores() lack; they have "
                    f"{', '.join(scores) or 'none'}."
                )
        if taken := [name for name in RESERVED if name in scores]:
            raise InputError(f"{who} calls a score {taken[0]!r}; give it another name.")
        return scores


def evaluate(
    model: nn.Module,
    variables: Variables,
    dataset: Dataset,
    *,
    normalize: Callable[[Array], Array] = IMAGENET,
    task: Task = SEMANTIC,
    output_stride: int | None = None,
    wrappers: Sequence[Callable] = (),
    batch_size: int = 1,
    metrics: Sequence[ExtraMetric] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Returns the scores of a network on a dataset, as a run's evaluation computes them.

    In a notebook::

        scored = evaluate(model, variables, VOC("val", directory="VOCdevkit"))
        scored.scores["mean_iou"], scored.metric.confusion

    Args:
      model: the network.
      variables: its variables, trained or loaded.
      dataset: is prepared first; images keep their own size.
      normalize: the normalisation that the network was trained with.
      task: what the network is for; decides the metric.
      output_stride: of the network while it is evaluated; None: its own.
      wrappers: such as `evaluate.wrappers.Flip()`, the first is the nearest to the network.
      batch_size: images of one size that are predicted together; changes no score.
      metrics: scores beside those of the task, such as `(BoundaryIoU(), Dice())` of
        `segjax.scores`.
      progress: called with (images done, images of the dataset).

    Raises:
      InputError: the dataset cannot be read or is empty, or does not fit the network, or a
        metric does not fit the task.
    """
    check_dataset(dataset, field="dataset")
    dataset.prepare()
    if len(dataset) == 0:
        raise InputError("The dataset has no examples; check its split and directory.")
    task.check_data(model, {"dataset": dataset, "train_data": dataset}, field="dataset")
    check_metrics(task, dataset, metrics)
    predictor = task.predictor(
        model, normalize=normalize, output_stride=output_stride, wrappers=wrappers
    )
    score = Scorer(task, predictor, dataset, batch_size=batch_size, metrics=metrics)
    return score(variables, progress=progress)


def check_metrics(task: Task, data: Dataset, metrics: Sequence[ExtraMetric]) -> None:
    """Raises InputError unless extra metrics fit the task, its data and each other.

    Raises:
      InputError: one does not fit, or two scores have one name.
    """
    own = {*task.metric(data).entries, *RESERVED} if metrics else set()
    for metric in metrics:
        try:
            task.check_metric(metric, data)
        except InputError as error:
            raise InputError(f"evaluation.metrics: {error}") from None
        if both := [name for name in metric.entries if name in own]:
            raise InputError(_taken(type(metric).__name__, both[0], task))
    check_names(metrics)


def _taken(who: str, name: str, task: Task) -> str:
    if name in RESERVED:
        return (
            f"evaluation.metrics: {who} gives {name!r}, which evaluation.json uses for "
            "something else; give it another name."
        )
    return (
        f"evaluation.metrics: {who} gives {name!r}, which task={type(task).__name__} gives "
        "too; leave it out."
    )


def plain(value: Any) -> Any:
    """Returns a value as JSON can hold it: NumPy's as Python's, None if it is not finite.

    >>> plain({"a": np.int64(3), "b": np.array([0.5, np.nan]), "c": float("inf")})
    {'a': 3, 'b': [0.5, None], 'c': None}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
