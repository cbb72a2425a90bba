"""Carries out an ablation: every run of a list, none twice, and one page that compares them."""

import traceback
from collections.abc import Callable, Sequence
from functools import partial

import jax
import numpy as np

from segjax.errors import InputError, RunError
from segjax.parallel import cluster
from segjax.parallel.sums import sum_over_processes
from segjax.train.ablation_results import write_ablation_results
from segjax.train.checkpoint import Checkpoints, has_checkpoint
from segjax.train.completion import complete_run
from segjax.train.evaluation import INITIAL, evaluate_run
from segjax.train.plan import make_plan
from segjax.train.predictions import is_finished
from segjax.train.run import Run
from segjax.train.variants import COMPARISON
from segjax.train.workdir import recorded


def complete_ablation(
    runs: Sequence[Run], *, checkpoint: str = "best", note: Callable[[str], None] = print
) -> None:
    """Completes the runs that are not finished, and compares all of them.

    A run that fails does not stop the others where one process trains.

    Raises:
      InputError: something is wrong with one of the runs; nothing has been trained then.
      RunError: runs failed; the others are complete and compared.
      Interrupted: Ctrl-C or SIGTERM.
    """
    pending = [not (checkpoint == "best" and _is_finished(run)) for run in runs]
    # What is wrong with the last should not be found after the first has been trained.
    for run, is_pending in zip(runs, pending, strict=True):
        if is_pending:
            resume = has_checkpoint(run.workdir)
            make_plan(run.experiment, resume=resume, note=lambda _: None)
    complete = partial(complete_run, checkpoint=checkpoint, note=note)
    _carry_out(runs, pending, complete, note)


def evaluate_ablation(
    runs: Sequence[Run],
    *,
    checkpoint: str = "best",
    table: bool = False,
    note: Callable[[str], None] = print,
) -> None:
    """Evaluates every run as `evaluate_run` does, and compares them.

    Raises:
      InputError: no run has such a checkpoint.
      RunError: runs cannot be evaluated; the others are evaluated and compared.
      Interrupted: Ctrl-C or SIGTERM.
    """
    if checkpoint != INITIAL:
        _check_checkpoint(runs, checkpoint)
    evaluate = partial(evaluate_run, checkpoint=checkpoint, table=table, note=note)
    _carry_out(runs, [True] * len(runs), evaluate, note)


def _is_finished(run: Run) -> bool:
    """Returns whether there is nothing to do; the main process decides for all."""
    done = cluster.is_main() and is_finished(run.workdir, recorded(run.experiment, run.workdir))
    return bool(sum_over_processes(np.array(int(done))))


def _check_checkpoint(runs: Sequence[Run], which: str) -> None:
    problems = []
    for run in runs:
        with Checkpoints(run.workdir, read_only=True) as checkpoints:
            try:
                checkpoints.step_of(which)
            except InputError as error:
                problems.append(error)
    if len(problems) == len(runs):
        raise problems[0]


def _carry_out(
    runs: Sequence[Run],
    pending: Sequence[bool],
    work: Callable[[Run], None],
    note: Callable[[str], None],
) -> None:
    """Runs `work` on every pending run, then writes the comparison of all runs."""
    root, failed = runs[0].workdir.parents[1], []
    for run, is_pending in zip(runs, pending, strict=True):
        if not is_pending:
            note(f"{run.workdir}: already complete")
        elif not _attempt(run, work, note):
            failed.append(str(run.workdir))
    if cluster.is_main():
        write_ablation_results(root, runs)
    note(f"comparison: {root / COMPARISON}")
    if failed:
        raise RunError(
            f"{len(failed)} of {len(runs)} runs failed, see above: {', '.join(failed)}."
        )


def _attempt(run: Run, work: Callable[[Run], None], note: Callable[[str], None]) -> bool:
    """Returns whether `work` succeeded; prints an error instead of raising it."""
    try:
        work(run)
    except Exception as error:
        if not cluster.is_alone():
            raise  # The other processes wait in this run's collectives.
        if not isinstance(error, (InputError, RunError)):
            traceback.print_exc()
        note(f"{run.workdir} failed: {error}")
        return False
    finally:
        jax.clear_caches()
    return True
