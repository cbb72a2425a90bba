"""`Experiment`: what a run is made of, as one frozen dataclass of built parts."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn

from segjax.contracts import Dataset, DeviceTransform, Loss, Tracker, Transform
from segjax.description import wrong_types
from segjax.errors import InputError
from segjax.experiment_file import run_experiment_file

# Experiment files and scripts import these names from here.
from segjax.normalize import CAFFE as CAFFE
from segjax.normalize import IMAGENET as IMAGENET
from segjax.normalize import SIGNED as SIGNED
from segjax.normalize import UNIT as UNIT
from segjax.normalize import Normalize as Normalize
from segjax.scores.extra_metric import ExtraMetric
from segjax.settings import describe as describe
from segjax.settings import override as override
from segjax.tasks.semantic import Semantic
from segjax.tasks.task import Task


def _at_least(part: Any, least: int, *names: str) -> None:
    """Raises InputError for fields of `part` that are numbers below `least`."""
    for name in names:
        value = getattr(part, name)
        if isinstance(value, (int, float)) and not value >= least:
            raise InputError(f"{name}={value} must be at least {least}.")


Wrapper = Callable[[Any], Any]
"""Makes a predictor of a predictor, such as `segjax.evaluate.wrappers.Flip()`."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a run is evaluated; it does not change training.

    The best checkpoint is chosen by scores from while it was trained. If you change the
    evaluation of a run later, choose a checkpoint yourself with `--checkpoint`.

    Attributes:
      every: steps between evaluations while training; None: at every checkpoint.
      batch_size: images of one size that go through the network together.
      output_stride: evaluate the trained network at this one instead of its own.
      examples: worst and best images that the report shows, this many of each.
      predictor: wrapper(s) of `segjax.evaluate.wrappers`, `windows` and `crf`; the first is
        the innermost. Without any, whole images are predicted at their own size.
      metrics: score(s) of `segjax.scores` beside those of the task. They never decide which
        checkpoint is the best.
    """

    every: int | None = None
    batch_size: int = 4
    output_stride: int | None = None
    examples: int = 4
    predictor: Wrapper | tuple[Wrapper, ...] = ()
    metrics: ExtraMetric | tuple[ExtraMetric, ...] = ()

    def __post_init__(self) -> None:
        _at_least(self, 1, "every", "batch_size")
        _at_least(self, 0, "examples")
        for wrapper in self.wrappers:
            if isinstance(wrapper, type):
                name = wrapper.__name__
                raise InputError(f"evaluation.predictor: {name} is a class; write {name}().")
        for metric in self.extra_metrics:
            if isinstance(metric, type):
                name = metric.__name__
                raise InputError(f"evaluation.metrics: {name} is a class; write {name}().")

    @property
    def wrappers(self) -> tuple[Wrapper, ...]:
        """The wrappers as a tuple, also where there is one alone."""
        return self.predictor if isinstance(self.predictor, tuple) else (self.predictor,)

    @property
    def extra_metrics(self) -> tuple[ExtraMetric, ...]:
        """The metrics as a tuple, also where there is one alone."""
        return self.metrics if isinstance(self.metrics, tuple) else (self.metrics,)


@dataclasses.dataclass(frozen=True)
class Loader:
    """How examples are read; it changes speed and memory, never an example.

    Attributes:
      threads: batches that are prepared at the same time.
      buffer: prepared batches that wait for the device.
      workers: processes that replace the threads, for transforms that hold Python's lock.
    """

    threads: int = 4
    buffer: int = 4
    workers: int = 0

    def __post_init__(self) -> None:
        _at_least(self, 0, "threads", "workers")
        _at_least(self, 1, "buffer")


@dataclasses.dataclass(frozen=True)
class EarlyStop:
    """When a run ends before its last step: when its score no longer becomes better.

    The learning rate still follows its schedule over all `steps`. If you remove the field, or
    raise `patience`, the run goes on.

    Attributes:
      patience: evaluations in a row without a better score, after which the run ends.
      metric: a score's name in `metrics.jsonl`, such as "pixel_accuracy"; None: the primary
        score of the task.
      min_change: a score is better if it differs by more than this from the best so far.
    """

    patience: int = 5
    metric: str | None = None
    min_change: float = 0.0

    def __post_init__(self) -> None:
        _at_least(self, 1, "patience")
        _at_least(self, 0, "min_change")


class Optimizer(Protocol):
    """Anything that builds an optax transformation for a run of so many steps."""

    def build(self, steps: int, params: Mapping[str, Any]) -> Any:
        """Returns the transformation; path patterns are checked against `params`."""
        ...


class Initial(Protocol):
    """Anything that has variables for a network, such as `weights.Pretrained`."""

    def load(
        self, model: nn.Module, *, channels: int, seed: int, note: Callable[[str], None]
    ) -> Mapping[str, Any]:
        """Returns the variables for images of so many channels.

        Variables that it lacks are initialised randomly from `seed`.

        `note` takes each line that a user should read about them.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run: data, network, loss, optimizer, and how it is evaluated.

    Attributes:
      name: names the workdir, `runs/<name>`.
      model: a Linen module, `(image b h w c, *, train) -> logits b h w k`.
      train_data, eval_data: datasets with the same classes.
      loss: sums over valid pixels (`segjax.losses`).
      task: what the network is for: how it is trained, scored and shown (`segjax.tasks`).
      optimizer: a printable description (`segjax.train.optimizer`).
      batch_size: examples in a step, over all devices.
      steps: the length of the run.
      transforms: augmentations, in order; the last one fixes the size.
      device_transforms: augmentations inside the training step, after the others
        (`segjax.transforms.on_device`); they relieve a loader that is slower than the devices.
      normalize: raw images → the network's input, in training and wherever the run predicts.
      init: None for the network's own initialisation, or `weights.Pretrained(...)`.
      auxiliary_weight: of the auxiliary heads' losses, where the model has any.
      ema: decay of the running mean of the parameters that is evaluated, or None.
      seed: of initialisation, order, augmentation and dropout.
      split: rows × columns of devices that share each image, where one has too little memory
        for it; the groups of them share the batch.
      accumulate: micro-batches of a step, which the devices take one after another. The step is
        that of the whole batch and needs less memory; see `segjax.train.step.make_train_step`.
      shard_state: whether parameters, optimizer state and running means are divided over the
        devices, for networks whose state takes much of a device's memory.
      checkpoint_every: steps between checkpoints.
      keep: latest checkpoints that are kept, beside the best by the task's primary score.
      log_every: steps between lines of `metrics.jsonl`.
      stop: ends the run early if its score no longer becomes better.
      trackers: services that get the run's rows too, such as `segjax.train.trackers.WandB()`.
    """

    name: str
    model: nn.Module
    train_data: Dataset
    eval_data: Dataset
    loss: Loss
    optimizer: Optimizer
    batch_size: int
    steps: int
    transforms: tuple[Transform, ...] = ()
    device_transforms: tuple[DeviceTransform, ...] = ()
    normalize: Normalize = IMAGENET
    init: Initial | None = None
    auxiliary_weight: float = 0.4
    ema: float | None = None
    seed: int = 0
    task: Task = Semantic()
    evaluation: Evaluation = Evaluation()
    stop: EarlyStop | None = None
    loader: Loader = Loader()
    split: tuple[int, int] = (1, 1)
    accumulate: int = 1
    shard_state: bool = False
    checkpoint_every: int = 1000
    keep: int = 2
    log_every: int = 10
    trackers: tuple[Tracker, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.loss, type):
            name = self.loss.__name__
            raise InputError(f"loss: {name} is a class; write {name}().")
        _at_least(self, 1, "batch_size", "steps", "accumulate")
        _at_least(self, 1, "checkpoint_every", "keep", "log_every")
        _at_least(self, 0, "auxiliary_weight", "seed")
        if isinstance(self.seed, int) and self.seed >= 2**32:
            raise InputError(f"seed={self.seed} must be below 2**32 = {2**32}.")
        if isinstance(self.ema, (int, float)) and not 0 < self.ema < 1:
            raise InputError(f"ema={self.ema} must lie between 0 and 1, for example 0.999.")
        if isinstance(self.split, tuple) and (len(self.split) != 2 or min(self.split) < 1):
            raise InputError(f"split={self.split} must be (rows, columns) of at least 1 each.")
        if self.device_transforms and self.split != (1, 1):
            raise InputError(
                f"device_transforms work on whole images, but split={self.split} spreads each "
                "image over devices: use transforms, which run on the host."
            )


def load(path: str | pathlib.Path) -> Experiment:
    """Returns the `experiment` of a Python file, its fields checked against their types.

    Raises:
      InputError: no such file, no `experiment` in it or a list of them, or a field of the wrong
        type.
      UserCodeError: the file itself raised.
    """
    found, is_list = load_all(path)
    if is_list:
        raise InputError(
            f"{path} defines a list of {len(found)} experiments, which only segjax.launch "
            "accepts: name a file with one experiment, or the folder of a run."
        )
    return found[0]


def load_all(path: str | pathlib.Path) -> tuple[list[Experiment], bool]:
    """Returns the experiments of a Python file, checked, and whether it is a list.

    A file defines one `experiment`, or the list `experiments` of an ablation.

    Raises:
      InputError: no such file, neither or both in it, or a field of the wrong type.
      UserCodeError: the file itself raised.
    """
    module = run_experiment_file(pathlib.Path(path))
    one, several = getattr(module, "experiment", None), getattr(module, "experiments", None)
    is_list = several is not None
    is_ablation = isinstance(several, (list, tuple))
    given = (
        {f"experiments[{i}]": value for i, value in enumerate(several)}
        if is_ablation
        else {"experiment": one}
    )
    if is_list != is_ablation or is_list == (one is not None) or not given:
        raise InputError(
            f"{path} must define either `experiment = Experiment(...)` or a list of them, "
            "`experiments = [...]`; give other names to experiments that you import."
        )
    found = []
    for name, value in given.items():
        if not isinstance(value, Experiment):
            kind = "a class" if isinstance(value, type) else f"of type {type(value).__name__}"
            raise InputError(f"{path}: {name} is {kind}; it must be Experiment(...).")
        found.append(checked(value, str(path)))
    return found, is_list


def checked(experiment: Experiment, where: str) -> Experiment:
    """Returns the experiment if every field has its type.

    Raises:
      InputError: fields of the wrong type.
    """
    if wrong := list(wrong_types(experiment)):
        raise InputError(f"{where}: {'; '.join(wrong)}.")
    return experiment
