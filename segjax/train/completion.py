"""Completes a run: trains it from where it stands, then evaluates and reports it."""

import pathlib
from collections.abc import Callable
from functools import partial

from segjax.ops.forms import chosen
from segjax.parallel import cluster
from segjax.tasks.scorer import Scored
from segjax.train.agreement import what_is_left
from segjax.train.checkpoint import Checkpoints, has_checkpoint, last_step
from segjax.train.computed_weights import weight_rules
from segjax.train.evaluation import failing, save_trained
from segjax.train.form_table import write_table
from segjax.train.lock import locked
from segjax.train.loop import train
from segjax.train.plan import Plan, make_plan
from segjax.train.predictions import forget_predictions
from segjax.train.profile import Span, check_span
from segjax.train.run import Run, claim_run, leaving_run
from segjax.train.tune import table_of_run
from segjax.train.workdir import check_owner


def complete_run(
    run: Run,
    *,
    checkpoint: str = "best",
    profile: Span | None = None,
    tune: bool = False,
    note: Callable[[str], None] = print,
) -> None:
    """Trains the steps that a run lacks, evaluates a checkpoint and writes the results.

    Args:
      run: the run.
      checkpoint: which is evaluated: "best", "last" or a step.
      profile: the steps that are traced.
      tune: whether a run that begins now times the forms of its convolutions.
      note: takes each line about the data, the weights and the scores.

    Raises:
      InputError: something is wrong with the experiment, the data or the folder; nothing has
        been written then.
      InUseError: another process uses the folder.
      RunError: the run failed.
      Interrupted: Ctrl-C or SIGTERM; the state is saved.
    """
    workdir = run.workdir
    left = partial(what_is_left, workdir, run.experiment.steps)
    with leaving_run(run, left), locked(workdir):
        check_span(profile, total=run.experiment.steps, taken=last_step(workdir) or 0)
        plan = _checked_plan(run, note)
        experiment, rules = plan.experiment, weight_rules(run.experiment)
        run = run._replace(experiment=experiment)
        check_owner(workdir, experiment)  # Weights are numbers by now.
        devices = cluster.describe_devices()
        note(f"{experiment.name}: {plan.parameters:,} parameters, {devices}, {workdir}")
        table = table_of_run(plan, workdir, tune=tune, note=note)
        claim_run(run, rules=rules)
        if table is not None and cluster.is_main():
            write_table(table, workdir)
        forget_predictions(workdir)
        with chosen(table.names if table else {}):
            last = _trained(plan, workdir, profile)
            save_trained(run, checkpoint, trained_on=plan.trained_on, note=note, last=last)


def _checked_plan(run: Run, note: Callable[[str], None]) -> Plan:
    resume = has_checkpoint(run.workdir)
    plan = make_plan(run.experiment, resume=resume, note=note)
    if resume:
        with Checkpoints(run.workdir, read_only=True) as checkpoints:
            checkpoints.check(plan.state_shapes())
    return plan


def _trained(plan: Plan, workdir: pathlib.Path, profile: Span | None) -> Scored | None:
    """Returns the scores of the last step, where they were computed now."""
    with failing():
        return train(plan, workdir, quiet=not cluster.is_main(), profile=profile)
