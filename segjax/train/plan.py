"""Everything that can be found wrong with an experiment, found before its first step."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from segjax.data.checks import check_example
from segjax.data.loader import batches
from segjax.errors import InputError
from segjax.evaluate.compiled import HostPredictor, predictor
from segjax.evaluate.score import Scorer
from segjax.experiment import Experiment
from segjax.parallel import check_batch_size
from segjax.train.step import TrainState, init_state, loss_terms
from segjax.types import IGNORE, Dataset, Variables


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked experiment with what the loop needs of it.

    Attributes:
      experiment: the experiment itself.
      channels: of its images.
      shapes: shape and dtype of all variables.
      optimizer: the optax transformation.
    """

    experiment: Experiment
    channels: int
    shapes: Any
    optimizer: optax.GradientTransformation

    def initial_state(self) -> TrainState:
        """The state before step 0: the network's own initialisation, or `init`'s variables."""
        experiment = self.experiment
        variables = (
            _initial(experiment, self.channels, note=lambda _: None)
            if experiment.init is not None
            else None
        )

        def build(variables):
            if variables is None:
                key = jax.random.key(experiment.seed)
                image = jnp.zeros((1, *self._canvas(), self.channels))
                variables = experiment.model.init(key, image, train=False)
            return init_state(variables, self.optimizer, ema=experiment.ema)

        # On the host: the first step donates what it is given, and a device copy may be shared.
        return jax.tree.map(np.array, jax.device_get(jax.jit(build)(variables)))

    def _canvas(self) -> tuple[int, int]:
        return getattr(self.experiment.model, "canvas", lambda *size: size)(64, 64)

    def state_shapes(self) -> TrainState:
        """The state's shapes; nothing is computed."""
        build = lambda v: init_state(v, self.optimizer, ema=self.experiment.ema)
        return jax.eval_shape(build, self.shapes)

    def batches(self, first_step: int) -> Iterator[dict[str, np.ndarray]]:
        """This process's share of every batch from `first_step` on."""
        return _batches(self.experiment, first_step)

    def scorer(self) -> Scorer:
        """Scores on the evaluation data, as `evaluation` says."""
        return scorer(self.experiment)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(self.shapes["params"]))


def scorer(experiment: Experiment) -> Scorer:
    """Scores an experiment's network on its evaluation data, as `evaluation` says."""
    return Scorer(
        evaluated(experiment),
        experiment.eval_data,
        batch_size=experiment.evaluation.batch_size,
    )


def evaluated(experiment: Experiment) -> HostPredictor:
    """What an experiment predicts with: its network, as `evaluation` says.

    Raises:
      InputError: the network has no such output stride, or a wrapper cannot stand where it is.
    """
    evaluation = experiment.evaluation
    return predictor(
        experiment.model,
        experiment.normalize,
        output_stride=evaluation.output_stride,
        wrappers=evaluation.wrappers,
        split=experiment.split,
    )


def make_plan(
    experiment: Experiment, *, resume: bool = False, note: Callable[[str], None] = print
) -> Plan:
    """The plan of an experiment that can be trained here; to `resume` it needs no `init`.

    `note` takes the lines about what `init` does not give.

    Raises:
      InputError: devices, data, transforms, network, loss, optimizer or weights do not fit.
    """
    check_batch_size(experiment.batch_size, split=experiment.split)
    check_data(experiment, "eval_data", "train_data")
    sample = next(examples := _batches(experiment, 0))
    examples.close()  # type: ignore[attr-defined]
    shapes = _checked_shapes(experiment, sample)
    optimizer = experiment.optimizer.build(experiment.steps, shapes["params"])
    channels = sample["image"].shape[-1]
    if experiment.init is not None and not resume:
        _initial(experiment, channels, note=note)
    check_evaluation(experiment, shapes)
    return Plan(experiment, channels, shapes, optimizer)


def initial_variables(
    experiment: Experiment, *, note: Callable[[str], None] = print
) -> Variables:
    """What `init` gives, before any step, for images as in the prepared evaluation data.

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


def check_data(experiment: Experiment, *fields: str) -> None:
    """Prepares datasets and holds their classes against the training set's and the network's.

    Raises:
      InputError: what a dataset finds, or the classes differ.
    """
    for field in fields:
        data = getattr(experiment, field)
        data.prepare()
        _check_classes(experiment, field, data)


def _check_classes(experiment: Experiment, field: str, data: Dataset) -> None:
    ours, theirs = data.class_names, experiment.train_data.class_names
    if len(data) == 0:
        raise InputError(f"{field} has no examples; check its split and directory.")
    if ours != theirs:
        raise InputError(
            f"{field} has the classes {ours}, train_data {theirs}; they must agree."
        )
    if len(ours) == 1:
        raise InputError(
            f"{field} has one class, {ours[0]!r}, which every pixel would be; name the "
            "background as a class too, such as class_names=('background', "
            f"{ours[0]!r}), and give its pixels the id 0."
        )
    if len(ours) > IGNORE:
        raise InputError(
            f"{field} has {len(ours)} classes, and labels hold {IGNORE}; merge some of them."
        )
    wanted = getattr(experiment.model, "num_classes", len(ours))
    if wanted != len(ours):
        raise InputError(
            f"model.num_classes={wanted}, but {field} has {len(ours)} classes; "
            f"set model.num_classes={len(ours)}."
        )


def _batches(experiment: Experiment, first_step: int) -> Iterator[dict[str, np.ndarray]]:
    loader = experiment.loader
    return batches(
        experiment.train_data,
        experiment.transforms,
        batch_size=experiment.batch_size,
        seed=experiment.seed,
        first_step=first_step,
        threads=loader.threads,
        buffer=loader.buffer,
        workers=loader.workers,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _checked_shapes(experiment: Experiment, sample: Mapping[str, np.ndarray]) -> Any:
    """Shapes of the variables, once normalisation, network and loss have taken an example."""

    def trial():
        """Initialises the network on one example and takes its loss; traced, never run."""
        batch = {key: jnp.asarray(value[:1]) for key, value in sample.items()}
        image = experiment.normalize(batch["image"])
        logits, variables = experiment.model.init_with_output(
            jax.random.key(0), image, train=False
        )
        assert isinstance(logits, jax.Array)
        loss_terms(experiment.model, experiment.loss, logits, {}, batch)
        return variables

    with _one_line():
        return jax.eval_shape(trial)


def check_evaluation(experiment: Experiment, variables: Any) -> None:
    """Returns nothing when what is evaluated takes an image of its data; nothing is computed.

    Raises:
      InputError: the network, the normalisation or a wrapper refuses it, or a network that
        undoes the normalisation undoes another one.
    """
    undone = getattr(experiment.model, "normalize", experiment.normalize)
    if undone != experiment.normalize:
        raise InputError(
            f"model.normalize={undone} undoes another normalisation than the experiment's, "
            f"{experiment.normalize}; give both the same."
        )
    data = experiment.eval_data
    check_example(data[0], data.class_names)
    image = data[0]["image"][None]
    with _one_line():
        shape = jax.ShapeDtypeStruct(image.shape, image.dtype)
        classes = evaluated(experiment).check(variables, shape)
    if classes != len(data.class_names):
        raise InputError(
            f"{type(experiment.model).__name__} tells {classes} classes apart, but eval_data "
            f"has {len(data.class_names)}; the numbers must agree."
        )


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """What a network or a normalisation refuses becomes the one line of an InputError."""
    try:
        yield
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(" ".join(str(error).split())) from error
