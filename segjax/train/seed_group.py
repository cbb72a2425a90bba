"""Completes the runs of one variant: trained together, evaluated and reported one by one."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from segjax.parallel import cluster
from segjax.stopping import leaving
from segjax.train.checkpoint import Checkpoints, has_checkpoint, last_step
from segjax.train.computed_weights import weight_rules
from segjax.train.evaluation import save_trained
from segjax.train.lock import locked
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
            with _noted(errors, i):
                stack.enter_context(locked(run.workdir))
        mine = {i: run for i, run in enumerate(runs) if i not in errors}
        members = _members(mine, errors, note)
        if members:
            train_together([*members.values()])
        for i, member in members.items():
            with _noted(errors, i):
                if member.error:
                    raise member.error
                _evaluate(runs[i], member, checkpoint, note)
    return [errors.get(i) for i in range(len(runs))]


@contextlib.contextmanager
def _noted(errors: dict[int, Exception], index: int) -> Iterator[None]:
    """Notes an error in the block as that of one run; the others go on."""
    try:
        yield
    except Exception as error:
        errors[index] = error


def _members(
    runs: Mapping[int, Run], errors: dict[int, Exception], note: Callable[[str], None]
) -> dict[int, Member]:
    """Returns the runs with their plans, and claims their folders; notes what is wrong."""
    if not runs:
        return {}
    first = next(iter(runs.values()))
    resume = all(has_checkpoint(run.workdir) for run in runs.values())
    plan = make_plan(first.experiment, resume=resume, note=note)
    members = {}
    for i, run in runs.items():
        with _noted(errors, i):
            members[i] = _claimed(_with_seed(plan, run), run)
    seeds = ", ".join(str(member.plan.experiment.seed) for member in members.values())
    where = f"{cluster.describe_devices()}, {first.workdir.parent}"
    if members:
        note(
            f"{first.experiment.name}: {plan.parameters:,} parameters, seeds {seeds} together, "
            f"{where}"
        )
    return members


def _claimed(plan: Plan, run: Run) -> Member:
    """Returns a run with its plan, whose folder is checked and claimed."""
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        checkpoints.check(plan.state_shapes())
    check_owner(run.workdir, plan.experiment)
    rules = weight_rules(run.experiment)
    claim_run(run._replace(experiment=plan.experiment), rules=rules)
    forget_predictions(run.workdir)
    return Member(plan, run.workdir)


def _with_seed(plan: Plan, run: Run) -> Plan:
    experiment = dataclasses.replace(plan.experiment, seed=run.experiment.seed)
    return dataclasses.replace(plan, experiment=experiment)


def _evaluate(run: Run, member: Member, checkpoint: str, note: Callable[[str], None]) -> None:
    experiment = member.plan.experiment
    run = run._replace(experiment=experiment)
    save_trained(
        run, checkpoint, trained_on=member.plan.trained_on, note=note, last=member.scored
    )
