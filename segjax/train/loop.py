"""The training loop: steps, and at fixed steps a row, an evaluation, a checkpoint."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext

import numpy as np

from segjax.announce import announced
from segjax.errors import InputError, RunError
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_alone, is_main, process_share
from segjax.parallel.sharing import on_devices, over_devices
from segjax.parallel.state import gathered
from segjax.stopping import Stops, listening
from segjax.tasks.scorer import Scored, Scorer
from segjax.train.agreement import Agreement, asking
from segjax.train.augmentation import augmented
from segjax.train.checkpoint import Checkpoints
from segjax.train.data_wait import DataWait
from segjax.train.diagnosis import fault_in_batch
from segjax.train.early_stop import EarlyStopping
from segjax.train.log import Progress, RunLog
from segjax.train.plan import Plan
from segjax.train.profile import Profile, Span
from segjax.train.rows import Rows
from segjax.train.step import TrainState, make_train_step
from segjax.train.telemetry import Telemetry
from segjax.train.tracking import Tracking


def train(
    plan: Plan, workdir: pathlib.Path, *, quiet: bool = False, profile: Span | None = None
) -> Scored | None:
    """Trains from the latest checkpoint in `workdir`, or from the start, to the last step.

    The steps of `profile` are traced.

    Returns:
      The scores of the last step if it was evaluated now; None if the run was complete already.

    Raises:
      RunError: loss or gradients are not finite, an example cannot be trained on, or a
        checkpoint cannot be written.
      KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
    """
    experiment, scored = plan.experiment, None
    shared = {"split": experiment.split, "shard_state": experiment.shard_state}
    on_one_device = asking(train_step(plan))
    # Micro-batches do not change the FLOPs of the model.
    counted = asking(train_step(plan, accumulate=1))
    telemetry = Telemetry(counted, batch_size=experiment.batch_size)
    profiler = Profile(profile, workdir)
    step_fn = profiler.watched(telemetry.watched(over_devices(on_one_device, **shared)))
    kept = Checkpoints(workdir, keep=experiment.keep)
    # The step donates its state: an exception in the middle of one would lose it.
    with (
        listening() as stops,
        stops.deferred(),
        kept as checkpoints,
        DataWait() as wait,
        telemetry,
        profiler,
    ):
        agreement = Agreement(stops)
        with stops.at_once(), announced("Making the initial state", after=1):
            state = checkpoints.restore(plan.state_shapes()) or plan.initial_state()
            first, state = int(state.step), on_devices(state, **shared)
        # One process writes the rows; where there are several, the others have no log.
        trackers = Tracking(experiment, workdir)
        rows_log = (
            RunLog(workdir, first_step=first, trackers=trackers) if is_main() else nullcontext()
        )
        with rows_log as log, closing(plan.batches(first)) as batches:  # type: ignore[type-var]
            progress = Progress(
                experiment.name, first=first, total=experiment.steps, quiet=quiet
            )
            rows = Rows(experiment, log, progress, first, wait, telemetry)
            is_scored = checkpoints.is_scored(first)
            early = EarlyStopping(experiment, workdir, first=first, scored=is_scored)
            score = _Scoring(plan.scorer(), checkpoints, rows, stops, progress)
            if first and _is_evaluated(first, experiment) and not is_scored:
                # Its evaluation was interrupted, or failed.
                early.add(first, scored := score(state))
            for step in range(first, experiment.steps):
                if agreement.reached or early.has_come:
                    break
                batch = agreement.ask(_next(batches, rows, checkpoints, stops, state))
                rows.wait.dispatching()
                with _compiling(stops) if step == first else nullcontext():
                    state, measured = step_fn(state, batch)
                rows.add(step + 1, agreement.hear(step + 1, measured))
                evaluate = _is_evaluated(step + 1, experiment)
                save = evaluate or is_due(step + 1, experiment, experiment.checkpoint_every)
                if save:
                    rows.flush()
                if rows.failed_at is not None:
                    break
                if save:
                    checkpoints.save(state)
                if evaluate:
                    early.add(step + 1, scored := score(state))
            rows.flush()
            rows.close()
            if rows.failed_at is not None:
                raise _not_finite(checkpoints, state, workdir, plan)
            trackers.may_go_on = agreement.reached
            if agreement.reached and int(state.step):
                _save_if_new(checkpoints, state)
    return scored


@contextmanager
def _compiling(stops: Stops) -> Iterator[None]:
    """Says that the step compiles, and how long it took; nothing is lost if it is stopped.

    On a CPU that includes the first step itself.
    """
    with stops.at_once(), announced("Compiling the training step"):
        yield


def train_step(plan: Plan, *, accumulate: int | None = None) -> Callable:
    """Returns the step of a plan's experiment, for `over_devices`.

    `accumulate` replaces that of the experiment.
    """
    experiment = plan.experiment
    objective = experiment.task.objective(
        experiment.model, experiment.loss, normalize=experiment.normalize
    )
    return make_train_step(
        augmented(objective, experiment.device_transforms),
        plan.optimizer,
        auxiliary_weight=experiment.auxiliary_weight,
        ema=experiment.ema,
        seed=experiment.seed,
        accumulate=accumulate or experiment.accumulate,
    )


def is_due(step: int, experiment: Experiment, every: int | None) -> bool:
    """Returns whether something is done after a step: `every` so many, and after the last."""
    return step == experiment.steps or step % (every or experiment.checkpoint_every) == 0


def _is_evaluated(step: int, experiment: Experiment) -> bool:
    return is_due(step, experiment, experiment.evaluation.every)


class _Scoring:
    """The evaluation of a state whose checkpoint is saved, or being written."""

    def __init__(
        self,
        scorer: Scorer,
        checkpoints: Checkpoints,
        rows: Rows,
        stops: Stops,
        progress: Progress,
    ):
        self._scorer, self._checkpoints, self._rows = scorer, checkpoints, rows
        self._stops, self._progress = stops, progress

    def __call__(self, state: TrainState) -> Scored:
        """Returns the scores; writes their row, and adds them to the checkpoint."""
        step = int(state.step)
        # It may compile for minutes, and a request to stop does not wait for that.
        with self._stops.at_once(is_safe=lambda: self._checkpoints.is_saved(step)):
            scored = self._scorer(
                gathered(state.variables),
                share=process_share(),
                progress=self._progress.evaluating,
            )
        self._rows.add_evaluation(step, scored)
        self._checkpoints.add_score(state, score=scored.standing)
        return scored


def _next(
    batches: Iterator[Mapping[str, np.ndarray]],
    rows: Rows,
    checkpoints: Checkpoints,
    stops: Stops,
    state: TrainState,
) -> Mapping[str, np.ndarray]:
    """Returns the next batch; saves the state before it raises, for a faulty example say."""
    # Several processes take the step in which they agree to stop, so that one needs its batch.
    at_once = stops.at_once() if is_alone() else nullcontext()
    try:
        with rows.wait.fetching(), at_once:
            return next(batches)
    except KeyboardInterrupt:
        rows.flush()
        _keep(checkpoints, state)
        raise
    except InputError as error:
        rows.flush()
        # The other processes know nothing of it, and saving would wait for them.
        kept = _keep(checkpoints, state) if is_alone() else ""
        remedy = f" {kept} Fix it, and the same command resumes from there." if kept else ""
        raise RunError(f"{error}{remedy}") from error
    except Exception:
        # The dataset's or a transform's own error is the user's to see, traceback and all.
        rows.flush()
        if is_alone() and (kept := _keep(checkpoints, state)):
            rows.line(kept)
        raise


def _keep(checkpoints: Checkpoints, state: TrainState) -> str:
    """Saves the state of a run that stops, and says so; "" where nothing has been trained."""
    if not (step := int(state.step)):
        return ""
    _save_if_new(checkpoints, state)
    return f"The state of step {step} is saved."


def _save_if_new(checkpoints: Checkpoints, state: TrainState) -> None:
    if int(state.step) not in checkpoints.steps:
        checkpoints.save(state)


def _not_finite(
    checkpoints: Checkpoints, state: TrainState, workdir: pathlib.Path, plan: Plan
) -> RunError:
    """Returns the error of a run that stopped; the state before the bad step is saved first."""
    step, name = int(state.step), plan.experiment.name
    what = f"Loss or gradients are not finite at step {step + 1} of {name}"
    kept = _keep(checkpoints, state)
    if fault := fault_in_batch(plan, step):
        return RunError(f"{what}: {fault} {kept}".rstrip())
    rate = "Lower the learning rate or set optimizer.clip_norm"
    if not step:
        return RunError(f"{what}; nothing has been trained. {rate}.")
    return RunError(
        f"{what}; the state before it is saved in {workdir / 'checkpoints' / str(step)}. "
        f"{rate}, in a new --workdir."
    )
