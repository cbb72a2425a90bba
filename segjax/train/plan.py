"""Everything that can be found wrong with an experiment, found before its first step."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from segjax.announce import announced
from segjax.conformity import canvas
from segjax.contracts import Traced, Variables
from segjax.data.by_aspect import ungrouped
from segjax.data.loader import batches
from segjax.data.prepare import FileDataset
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.initial import initial_state
from segjax.parallel.cluster import process_share
from segjax.parallel.sharing import check_batch_size
from segjax.tasks.scorer import Scorer
from segjax.train.augmentation import augmented_batch
from segjax.train.computed_weights import with_computed_weights, with_stand_in_weights
from segjax.train.coverage import data_coverage, uncounted_batches
from segjax.train.early_stop import check_stop
from segjax.train.evaluated import check_evaluation, evaluated, one_line, scorer
from segjax.train.parts import check_data, check_parts, datasets
from segjax.train.peaks import given_peak
from segjax.train.stand_in import signature, stand_in
from segjax.train.step import TrainState, init_state
from segjax.train.tracking import check_trackers

FIRST_BATCHES = 8
"""How many batches without a pixel that counts are looked at before it is said."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked experiment with what the loop needs of it.

    Attributes:
      experiment: the experiment itself, with numbers where its loss has rules for weights.
      channels: of its images.
      shapes: shape and dtype of all variables.
      optimizer: the optax transformation.
      trained_on: images of the evaluation data that are training images too; None: not known.
    """

    experiment: Experiment
    channels: int
    shapes: Any
    optimizer: optax.GradientTransformation
    trained_on: int | None = None

    def __repr__(self) -> str:
        return f"Plan({self.experiment.name}, {self.parameters:,} parameters)"

    def initial_state(self) -> TrainState:
        """Returns the state before step 0, random or from `init`."""
        experiment = self.experiment
        variables = (
            _initial(experiment, self.channels, note=lambda _: None)
            if experiment.init is not None
            else None
        )

        def build(variables, key):
            if variables is None:
                image = jnp.zeros((1, *self._canvas(), self.channels))
                variables = experiment.model.init(key, image, train=False)
            return init_state(variables, self.optimizer, ema=experiment.ema)

        # On the host: the first step donates what it is given, and a device copy may be shared.
        return initial_state(build, variables, jax.random.key(experiment.seed))

    def _canvas(self) -> tuple[int, int]:
        return canvas(self.experiment.model, 64, 64)

    def state_shapes(self) -> TrainState:
        """Returns the state's shapes; nothing is computed."""
        build = lambda v: init_state(v, self.optimizer, ema=self.experiment.ema)
        return jax.eval_shape(build, self.shapes)

    def batches(self, first_step: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process's share of every batch from `first_step` on."""
        return _seeded(self.experiment, first_step, channels=self.channels)

    def scorer(self) -> Scorer:
        """Returns the scorer for the evaluation data, as `evaluation` describes it."""
        return scorer(self.experiment)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(self.shapes["params"]))


def make_plan(
    experiment: Experiment, *, resume: bool = False, note: Callable[[str], None] = print
) -> Plan:
    """Returns the plan of an experiment that can be trained here.

    To `resume`, a run does not need `init`.

    What the experiment alone shows to be wrong is found before data are touched. `note` takes
    the lines about the data, and about what `init` does not give.

    Raises:
      InputError: devices, data, transforms, network, loss, optimizer or weights do not fit.
    """
    check_trackers(experiment)
    given_peak()  # A wrong one must not end a run at its first row.
    known = check_settings(with_stand_in_weights(experiment))
    if not resume and (find := getattr(experiment.init, "find", None)):
        find()
    check_data(experiment, "eval_data", "train_data")
    check_stop(experiment)
    found = data_coverage(experiment, "train_data", "eval_data")
    said: list[str] = []
    experiment = with_computed_weights(experiment, note=said.append)
    examples = _batches(experiment, 0)
    with contextlib.closing(examples):  # type: ignore[type-var]
        sample = next(examples)
        traced = known.get(_key(sample)) or _traced(experiment, sample)
        counts = lambda batch: experiment.task.counts(
            experiment.model, _augmented(experiment, batch), traced
        )
        more = lambda: next(examples)
        uncounted = uncounted_batches(sample, more, counts, most=FIRST_BATCHES)
    for line in (found.summary, *found.lines, *said, *([uncounted] if uncounted else [])):
        note(line)
    shapes = traced.variables
    optimizer = experiment.optimizer.build(experiment.steps, shapes["params"])
    channels = sample["image"].shape[-1]
    if experiment.init is not None and not resume:
        _initial(experiment, channels, note=note)
    check_evaluation(experiment, shapes)
    return Plan(experiment, channels, shapes, optimizer, found.trained_on)


def check_settings(experiment: Experiment) -> dict[str, Traced]:
    """Checks the experiment without data; returns traced networks by the stand-in's shapes.

    Raises:
      InputError: devices, classes, network, loss, optimizer or evaluation do not fit, as far as
        the experiment alone shows it; no data are touched.
    """
    check_fields(experiment)
    for data in map(ungrouped, datasets(experiment).values()):
        if isinstance(data, FileDataset):
            data.check_directory()
    if (made_up := stand_in(experiment)) is None:
        return {}
    batch, is_certain = made_up
    try:
        traced = _traced(experiment, batch)
    except Exception:
        if is_certain:
            raise
        return {}  # The data themselves may be such that it works.
    # Which parameters there are depends on no size.
    experiment.optimizer.build(experiment.steps, traced.variables["params"])
    return {_key(batch): traced}


def check_fields(experiment: Experiment) -> None:
    """Raises InputError unless devices, parts, schedule and evaluation fit each other.

    Raises:
      InputError: they do not; no file is read, nothing is traced.
    """
    check_batch_size(
        experiment.batch_size, split=experiment.split, accumulate=experiment.accumulate
    )
    check_parts(experiment)
    if (schedule := getattr(experiment.optimizer, "schedule", None)) is not None:
        schedule.build(experiment.steps)
    evaluated(experiment)


def _key(batch: Mapping[str, np.ndarray]) -> str:
    return repr(sorted(signature(batch).items()))


def initial_variables(
    experiment: Experiment, *, note: Callable[[str], None] = print
) -> Variables:
    """Returns the variables that `init` gives before any step.

    Raises:
      InputError: the experiment has no `init`, or its weights do not fit.
    """
    if experiment.init is None:
        raise InputError(
            f"--checkpoint init: {experiment.name} has init=None and starts from random "
            "weights; set init=segjax.weights.Pretrained(...), or train it."
        )
    channels = experiment.eval_data[0]["image"].shape[-1]
    return _initial(experiment, channels, note=note)


def _initial(
    experiment: Experiment, channels: int, *, note: Callable[[str], None]
) -> Variables:
    assert experiment.init is not None
    return experiment.init.load(
        experiment.model, channels=channels, seed=experiment.seed, note=note
    )


def _batches(
    experiment: Experiment, first_step: int, *, channels: int | None = None
) -> Iterator[dict[str, np.ndarray]]:
    loader = experiment.loader
    process_index, process_count = process_share()
    return batches(
        experiment.train_data,
        experiment.transforms,
        batch_size=experiment.batch_size,
        seed=experiment.seed,
        first_step=first_step,
        threads=loader.threads,
        buffer=loader.buffer,
        workers=loader.workers,
        process_index=process_index,
        process_count=process_count,
        channels=channels,
        check=partial(experiment.task.check_example, data=experiment.train_data),
    )


def _seeded(
    experiment: Experiment, first_step: int, *, channels: int | None
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the batches with the experiment's seed, as `make_train_step` takes it."""
    with contextlib.closing(
        _batches(experiment, first_step, channels=channels)  # type: ignore[type-var]
    ) as found:
        for batch in found:
            yield {**batch, "seed": np.full(len(batch["step"]), experiment.seed, np.uint32)}


def _traced(experiment: Experiment, sample: Mapping[str, np.ndarray]) -> Traced:
    """Returns the network's shapes, after the task has tried an example on it."""
    with announced("Checking network and loss", after=1), one_line():
        return experiment.task.trace(
            experiment.model,
            experiment.loss,
            _augmented(experiment, sample),
            normalize=experiment.normalize,
        )


def _augmented(experiment: Experiment, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return augmented_batch(batch, experiment.device_transforms, seed=experiment.seed)
