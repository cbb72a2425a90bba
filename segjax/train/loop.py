"""The training loop: steps, and at fixed steps a row, an evaluation, a checkpoint."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from functools import partial

import jax
import numpy as np

from segjax.announce import announced
from segjax.errors import InputError, RunError
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_alone, is_main, process_share
from segjax.parallel.data import replicate
from segjax.parallel.sharing import over_devices
from segjax.tasks.scorer import Scored, Scorer
from segjax.train.augmentation import augmented
from segjax.train.checkpoint import Checkpoints
from segjax.train.data_wait import DataWait
from segjax.train.diagnosis import fault_in_batch
from segjax.train.early_stop import EarlyStopping
from segjax.train.interrupt import CtrlC, what_is_left
from segjax.train.log import Progress, RunLog
from segjax.train.plan import Plan
from segjax.train.rows import Rows
from segjax.train.step import TrainState, make_train_step
from segjax.train.telemetry import Telemetry
from segjax.train.tracking import Tracking


def train(plan: Plan, workdir: pathlib.Path, *, quiet: bool = False) -> Scored | None:
    """Trains from the latest checkpoint in `workdir`, or from the start, to the last step.

    Returns:
      The scores of the last step if it was evaluated now; None if the run was complete already.

    Raises:
      RunError: loss or gradients are not finite, an example cannot be trained on, or a
        checkpoint cannot be written.
      KeyboardInterrupt: Ctrl-C; the state is saved where one process trains.
    """
    experiment, scored = plan.experiment, None
    on_one_device = train_step(plan)
    telemetry = Telemetry(on_one_device, batch_size=experiment.batch_size)
    step_fn = _announced_once(over_devices(on_one_device, split=experiment.split))
    step_fn = telemetry.watched(step_fn)
    left = partial(what_is_left, workdir, experiment.steps)
    kept = Checkpoints(workdir, keep=experiment.keep)
    with CtrlC(left) as ctrl_c, kept as checkpoints, DataWait() as wait, telemetry:
        with announced("Making the initial state", after=1):
            state = checkpoints.restore(plan.state_shapes()) or plan.initial_state()
        first, state = int(state.step), replicate(state)
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
            early = EarlyStopping(experiment, workdir, first=first)
            score = partial(_score, plan.scorer(), checkpoints, progress, ctrl_c)
            if first and _is_evaluated(first, experiment) and not checkpoints.is_scored(first):
                # Its evaluation was interrupted, or failed.
                rows.add_evaluation(first, scored := score(state))
                early.add(first, scored)
                checkpoints.add_score(state, score=scored.standing)
            for step in range(first, experiment.steps):
                if ctrl_c.came or early.has_come:
                    break
                ctrl_c.saves = True
                state, measured = step_fn(state, _next(batches, rows, checkpoints, state))
                rows.add(step + 1, measured)
                evaluate = _is_evaluated(step + 1, experiment)
                save = _due(step + 1, experiment, experiment.checkpoint_every)
                if evaluate or save:
                    rows.flush()
                if rows.failed_at is not None:
                    break
                if evaluate:
                    rows.add_evaluation(step + 1, scored := score(state))
                    early.add(step + 1, scored)
                if evaluate or save:
                    standing = scored.standing if evaluate and scored else None
                    checkpoints.save(state, score=standing)
            rows.flush()
            rows.close()
            if rows.failed_at is not None:
                raise _not_finite(checkpoints, state, workdir, plan)
            if ctrl_c.came:
                if int(state.step):
                    _save_if_new(checkpoints, state)
                raise KeyboardInterrupt
    return scored


def _announced_once(step_fn: Callable) -> Callable:
    """Returns the step, whose first call says that it compiles, and how long it took."""
    calls = iter([announced("Compiling the training step")])

    def call(state, batch):
        with next(calls, nullcontext()):
            return step_fn(state, batch)

    return call


def train_step(plan: Plan) -> Callable:
    """Returns the step of a plan's experiment, for `over_devices`."""
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
        accumulate=experiment.accumulate,
    )


def _due(step: int, experiment: Experiment, every: int | None) -> bool:
    return step == experiment.steps or step % (every or experiment.checkpoint_every) == 0


def _is_evaluated(step: int, experiment: Experiment) -> bool:
    return _due(step, experiment, experiment.evaluation.every)


def _score(
    scorer: Scorer,
    checkpoints: Checkpoints,
    progress: Progress,
    ctrl_c: CtrlC,
    state: TrainState,
) -> Scored:
    try:
        with ctrl_c.stops_work():
            return scorer(
                jax.device_get(state.variables),
                share=process_share(),
                progress=progress.evaluating,
            )
    except KeyboardInterrupt:
        if ctrl_c.came:
            _save_if_new(checkpoints, state)
        raise
    except Exception:
        # An evaluation that fails, for want of memory say, must not cost what was trained.
        _save_if_new(checkpoints, state)
        raise


def _next(
    batches: Iterator[Mapping[str, np.ndarray]],
    rows: Rows,
    checkpoints: Checkpoints,
    state: TrainState,
) -> Mapping[str, np.ndarray]:
    """Returns the next batch; saves the state before it raises for a faulty example."""
    try:
        with rows.wait.fetching():
            return next(batches)
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
