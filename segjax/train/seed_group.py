"""Completes the runs of one variant: trained together, evaluated and reported one by one."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from segjax.errors import InputError
from segjax.parallel import cluster
from segjax.stopping import leaving
from segjax.train.checkpoint import Checkpoints, has_checkpoint, last_step
from segjax.train.computed_weights import weight_rules
from segjax.train.evaluation import restored_variables, save_evaluation
from segjax.train.lock import InUseError, locked
from segjax.train.plan import Plan, make_plan
from segjax.train.predictions import forget_predictions
from segjax.train.run import Run, claim_run
from segjax.train.together import Member, train_together
from segjax.train.workdir import check_owner


def what_is_left(runs: Sequence[Run]) -> str:
    """Returns what runs that stop together have saved and what their command does next."""
    steps = [last_step(run.workdir) for run in runs]
    where = runs[0].workdir.parent
    if not any(steps):
        return f"{where}: nothing is saved yet; the same command starts again."
    seeds = ", ".join(
        f"seed {run.experiment.seed} {f'at step {step}' if step else 'not yet'}"
        for run, step in zip(runs, steps, strict=True)
    )
    return f"{where}: saved are {seeds}; the same command resumes from there."


def complete_together(
    runs: Sequence[Run], *, checkpoint: str = "best", note: Callable[[str], None] = print
) -> list[Exception | None]:
    """Completes runs that differ in their seed alone, as `complete_run` does; returns errors.

    For each run that is why it failed, an `InUseError` if another process works at it, and None
    if it is complete.

    Raises:
      InputError: something is wrong with the experiment or the data.
      Interrupted: Ctrl-C or SIGTERM; the states were saved.
    """
    errors: dict[int, Exception] = {}
    with ExitStack() as stack, leaving(lambda: what_is_left(runs)):
        for i, run in enumerate(runs):
            try:
                stack.enter_context(locked(run.workdir))
            except (InputError, InUseError) as error:
                errors[i] = error
        mine = [i for i in range(len(runs)) if i not in errors]
        members = _members([runs[i] for i in mine], note)
        if members:
            train_together(members)
        for i, member in zip(mine, members, strict=True):
            try:
                if member.error:
                    raise member.error
                _evaluate(runs[i], member, checkpoint, note)
            except Exception as error:
                errors[i] = error
    return [errors.get(i) for i in range(len(runs))]


def _members(runs: Sequence[Run], note: Callable[[str], None]) -> list[Member]:
    """Returns the runs with their plans, and claims their folders."""
    if not runs:
        return []
    resume = all(has_checkpoint(run.workdir) for run in runs)
    first = make_plan(runs[0].experiment, resume=resume, note=note)
    members = []
    for run in runs:
        plan = _with_seed(first, run)
        with Checkpoints(run.workdir, read_only=True) as checkpoints:
            checkpoints.check(plan.state_shapes())
        check_owner(run.workdir, plan.experiment)
        members.append(Member(plan, run.workdir))
    seeds = ", ".join(str(run.experiment.seed) for run in runs)
    where = f"{cluster.describe_devices()}, {runs[0].workdir.parent}"
    note(
        f"{runs[0].experiment.name}: {first.parameters:,} parameters, seeds {seeds} together, "
        f"{where}"
    )
    for run, member in zip(runs, members, strict=True):
        rules = weight_rules(run.experiment)
        claim_run(run._replace(experiment=member.plan.experiment), rules=rules)
        forget_predictions(run.workdir)
    return members


def _with_seed(plan: Plan, run: Run) -> Plan:
    experiment = dataclasses.replace(plan.experiment, seed=run.experiment.seed)
    return dataclasses.replace(plan, experiment=experiment)


def _evaluate(run: Run, member: Member, checkpoint: str, note: Callable[[str], None]) -> None:
    experiment = member.plan.experiment
    run = run._replace(experiment=experiment)
    step, variables = restored_variables(run, checkpoint)
    save_evaluation(
        run,
        step,
        variables,
        trained_on=member.plan.trained_on,
        note=note,
        scored=member.scored if step == experiment.steps else None,
    )
