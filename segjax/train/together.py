"""Several seeds of one variant, trained by one compiled program.

The state has a leading axis of seeds, and the step is mapped over it by `vmap`. Each seed has
its own order of examples, augmentation and dropout, its own checkpoints and its own rows. So
each run is the one that its seed alone would give, up to rounding.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from typing import Any

import jax
import numpy as np

from segjax.announce import announced
from segjax.conformity import declares
from segjax.contracts import Grouped
from segjax.errors import InputError, RunError, is_out_of_memory
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_alone
from segjax.parallel.data import replicate
from segjax.parallel.sharing import over_devices
from segjax.stopping import Stops, listening
from segjax.tasks.scorer import Scored, Scorer
from segjax.train.checkpoint import Checkpoints
from segjax.train.data_wait import DataWait
from segjax.train.diagnosis import fault_in_batch
from segjax.train.form_table import FILE as FORMS
from segjax.train.log import Progress, RunLog
from segjax.train.loop import is_due, train_step
from segjax.train.plan import Plan
from segjax.train.rows import Rows
from segjax.train.step import TrainState
from segjax.train.telemetry import Telemetry


def check_together(experiment: Experiment, workdir: pathlib.Path) -> None:
    """Raises InputError unless several seeds of an experiment can share a program here."""
    reason = ""
    if (workdir / FORMS).exists():
        reason = f"{workdir} was tuned by itself, and keeps the forms of its {FORMS}"
    elif not is_alone():
        reason = "several processes train each run; add --by-host"
    elif experiment.split != (1, 1):
        reason = f"split={experiment.split} spreads each image over devices"
    elif experiment.shard_state:
        reason = "shard_state=True spreads each state over devices"
    elif experiment.stop is not None:
        reason = "stop ends each seed at a step of its own"
    elif experiment.trackers:
        reason = "trackers follow one run at a time"
    elif declares(experiment.train_data, Grouped):
        reason = "the batches of train_data have different sizes (it has groups)"
    if reason:
        raise InputError(
            f"--together: {reason}. Leave --together out, and the seeds are trained one after "
            "another."
        )


class Member:
    """A run that is trained together with others.

    Attributes:
      plan: of the run.
      scored: the scores of the last step, if it was evaluated now.
      error: why the run failed; the others go on.
    """

    def __init__(self, plan: Plan, workdir: pathlib.Path):
        self.plan, self.workdir = plan, workdir
        self.scored: Scored | None = None
        self.error: Exception | None = None
        self._opened = ExitStack()

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Notes an error in the block as the reason why this run fails."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def restored(self) -> TrainState | None:
        """Returns the state from which the run goes on; None if there is none: it has failed.

        What it opens stays so until `close`.
        """
        with self.attempt():
            kept = Checkpoints(self.workdir, keep=self.plan.experiment.keep)
            self.checkpoints = self._opened.enter_context(kept)
            restored = self.checkpoints.restore(self.plan.state_shapes())
            return restored or self.plan.initial_state()

    def begin(self, first: int, telemetry: Telemetry, *, quiet: bool) -> None:
        """Opens the log and the data of a run that goes on from the step `first`."""
        plan, experiment = self.plan, self.plan.experiment
        with self.attempt():
            log = self._opened.enter_context(RunLog(self.workdir, first_step=first))
            batches = closing(plan.batches(first))  # type: ignore[type-var]
            self._batches = self._opened.enter_context(batches)
            name = f"{experiment.name} seed {experiment.seed}"
            progress = Progress(name, first=first, total=experiment.steps, quiet=quiet)
            wait = self._opened.enter_context(DataWait())
            self.rows = Rows(experiment, log, progress, first, wait, telemetry)

    def close(self) -> None:
        """Closes what is open, when the last checkpoint is written."""
        with self.attempt():
            self._opened.close()

    def next(self) -> Mapping[str, np.ndarray] | None:
        """Returns the next batch; None if there is none, because the run has failed."""
        if self.error is None:
            with self.attempt():
                return next(self._batches)

    def flush(self) -> None:
        """Writes the row of the last step."""
        with self.attempt():
            self.rows.flush()

    @property
    def has_just_failed(self) -> bool:
        """Whether a step was not finite, and the run does not know yet that it failed."""
        return self.error is None and self.rows.failed_at is not None

    def save(self, state: TrainState) -> None:
        """Saves the state unless there is a checkpoint of its step, or nothing to save."""
        with self.attempt():
            if int(state.step) and int(state.step) not in self.checkpoints.steps:
                self.checkpoints.save(state)

    def evaluate(self, state: TrainState, scorer: Scorer) -> None:
        """Evaluates the state, writes the row, and adds the score to the checkpoint."""
        with self.attempt():
            self.scored = scorer(state.variables)
            self.rows.add_evaluation(int(state.step), self.scored)
            self.checkpoints.add_score(state, score=self.scored.standing)

    def fail(self, state: TrainState) -> None:
        """Saves the state before the step that was not finite, and notes why the run failed."""
        step, experiment = int(state.step), self.plan.experiment
        self.save(state)
        what = f"Loss or gradients are not finite at step {step + 1} of {experiment.name}"
        kept = f"the state of step {step} is saved" if step else "nothing has been trained"
        remedy = "Lower the learning rate or set optimizer.clip_norm, in a new --workdir."
        with self.attempt():
            fault = fault_in_batch(self.plan, step)
            raise RunError(f"{what}, seed {experiment.seed}; {kept}. {fault or remedy}")


def train_together(members: Sequence[Member]) -> None:
    """Trains runs that differ in their seed alone, each from its latest checkpoint to the end.

    Runs whose latest checkpoints are of different steps do not share a program: those of each
    step are trained together, one group after another. A run that fails has its `error`, and
    the others go on.

    Raises:
      RunError: the devices have too little memory for all seeds at once.
      KeyboardInterrupt: Ctrl-C or SIGTERM; the states are saved.
    """
    with listening() as stops, stops.deferred(), ExitStack() as stack:
        with stops.at_once(), announced("Making the initial states", after=1):
            opened = []
            for member in members:
                stack.callback(member.close)
                opened.append((member, member.restored()))
        pairs = [(member, state) for member, state in opened if state is not None]
        for first in sorted({int(state.step) for _, state in pairs}):
            _train_group([pair for pair in pairs if int(pair[1].step) == first], stops)


def _train_group(pairs: Sequence[tuple[Member, TrainState]], stops: Stops) -> None:
    experiment, first = pairs[0][0].plan.experiment, int(pairs[0][1].step)
    counted = _of_seeds(train_step(pairs[0][0].plan, accumulate=1))
    with Telemetry(counted, batch_size=len(pairs) * experiment.batch_size) as telemetry:
        for i, (member, _) in enumerate(pairs):
            member.begin(first, telemetry, quiet=i > 0)
        if pairs := [pair for pair in pairs if pair[0].error is None]:
            _train_steps(pairs, telemetry, stops)
        for member, _ in pairs:
            member.close()


def _of_seeds(step: Callable) -> Callable:
    """Returns the step of several seeds: of a state s … and a batch b s …."""
    return jax.vmap(step, in_axes=(0, 1))


def _train_steps(
    pairs: Sequence[tuple[Member, TrainState]], telemetry: Telemetry, stops: Stops
) -> None:
    members, states = zip(*pairs, strict=True)
    plan, first = members[0].plan, int(states[0].step)
    experiment, scorer = plan.experiment, plan.scorer()
    step_fn = telemetry.watched(over_devices(_of_seeds(train_step(plan))))
    if first and is_due(first, experiment, experiment.evaluation.every):
        _evaluate([p for p in pairs if not p[0].checkpoints.is_scored(first)], scorer, stops)
        _restart_clocks(members, first)
    state = replicate(jax.tree.map(lambda *each: np.stack(each), *states))
    for step in range(first, experiment.steps):
        if stops.came or not any(batches := _batches(members, state, stops)):
            break
        for member in members:
            member.rows.wait.dispatching()
        with _compiling(len(members), stops) if step == first else nullcontext():
            state, measured = step_fn(state, _stacked(batches))
        _add_rows(members, step + 1, measured)
        evaluate = is_due(step + 1, experiment, experiment.evaluation.every)
        save = evaluate or is_due(step + 1, experiment, experiment.checkpoint_every)
        if save or any(member.has_just_failed for member in members):
            going = _still_going(members, state)
            for member, part in going if save else ():
                member.save(part)
            if evaluate:
                _evaluate([p for p in going if p[0].error is None], scorer, stops)
                _restart_clocks(members, step + 1)
    for member, part in _still_going(members, state):
        member.save(part)
    for member in members:
        with member.attempt():
            member.rows.close()


def _batches(
    members: Sequence[Member], state: TrainState, stops: Stops
) -> list[Mapping[str, np.ndarray] | None]:
    """Returns the runs' next batches; saves rows and states if that is interrupted."""
    had_failed = [member.error is not None for member in members]
    try:
        with stops.at_once(), ExitStack() as fetching:
            # All seeds wait for the batches of each.
            for member in members:
                fetching.enter_context(member.rows.wait.fetching())
            return [member.next() for member in members]
    finally:
        failed = [member.error is not None for member in members]
        if stops.came or failed != had_failed:
            for member, part in zip(members, _parts(state, len(members)), strict=True):
                member.flush()
                member.save(part)


@contextlib.contextmanager
def _compiling(count: int, stops: Stops) -> Iterator[None]:
    """Says that the step compiles; a lack of memory becomes one line.

    Raises:
      RunError: the devices have too little memory.
    """
    try:
        with stops.at_once(), announced(f"Compiling the training step of {count} seeds"):
            yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            f"The devices have too little memory for {count} seeds at once: list fewer of them "
            "in --seeds, or leave --together out."
        ) from error


def _stacked(batches: Sequence[Mapping[str, np.ndarray] | None]) -> dict[str, np.ndarray]:
    """Returns the seeds' batches as one, b … → b s …: the first axis is spread over devices.

    A seed without one gets another's, of a step that is not its own: its state ignores it.

    Raises:
      RunError: they differ in shape.
    """
    first = next(batch for batch in batches if batch)
    ignored = {**first, "step": np.full_like(first["step"], -1)}
    batches = [batch or ignored for batch in batches]
    for key, value in first.items():
        if any(batch[key].shape != value.shape for batch in batches):
            raise RunError(
                f"--together: the seeds' batches differ in the shape of {key!r}; let the last "
                "transform fix the size, or leave --together out."
            )
    return {key: np.stack([batch[key] for batch in batches], axis=1) for key in first}


class _Of:
    """One seed's number of an array of all seeds', fetched when it is read."""

    def __init__(self, values: Any, index: int):
        self._values, self._index = values, index

    def block_until_ready(self) -> "_Of":
        jax.block_until_ready(self._values)
        return self

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(np.asarray(self._values)[self._index], dtype)


def _add_rows(members: Sequence[Member], step: int, measured: Mapping[str, Any]) -> None:
    for i, member in enumerate(members):
        if member.error is None and member.rows.failed_at is None:
            with member.attempt():
                member.rows.add(step, {name: _Of(v, i) for name, v in measured.items()})


def _parts(state: TrainState, count: int) -> list[TrainState]:
    """Returns each seed's state, in host memory."""
    fetched = jax.device_get(state)
    return [jax.tree.map(lambda x, i=i: np.asarray(x[i]), fetched) for i in range(count)]


def _still_going(
    members: Sequence[Member], state: TrainState
) -> list[tuple[Member, TrainState]]:
    """Returns the runs that have not failed with their states; notes those that fail now."""
    pairs = list(zip(members, _parts(state, len(members)), strict=True))
    for member, part in pairs:
        member.flush()
        if member.has_just_failed:
            member.fail(part)
    return [pair for pair in pairs if pair[0].error is None]


def _restart_clocks(members: Sequence[Member], step: int) -> None:
    """Leaves the time of all evaluations out of every run's next row."""
    for member in members:
        member.rows.restart_clock(step)


def _evaluate(pairs: Sequence[tuple[Member, TrainState]], scorer: Scorer, stops: Stops) -> None:
    """Evaluates states that are saved, or being written."""
    is_safe = lambda: all(m.checkpoints.is_saved(int(part.step)) for m, part in pairs)
    for member, part in pairs:
        with stops.at_once(is_safe=is_safe):
            member.evaluate(part, scorer)
