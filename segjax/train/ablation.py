"""Carries out an ablation: every run of a list, none twice, and one page that compares them."""

import traceback
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from segjax.errors import InputError, RunError, TryAgain, first_of
from segjax.parallel import cluster
from segjax.parallel.kept_memory import forget_programs
from segjax.parallel.sums import sum_over_processes
from segjax.train.ablation_results import Comparison, by_variant
from segjax.train.checkpoint import Checkpoints, has_checkpoint
from segjax.train.completion import complete_run
from segjax.train.evaluation import INITIAL, evaluate_run
from segjax.train.failures import failure_of, forget_failure, record_failure
from segjax.train.lock import InUseError
from segjax.train.plan import make_plan
from segjax.train.predictions import is_finished
from segjax.train.run import Run
from segjax.train.seed_group import complete_together
from segjax.train.together import check_together
from segjax.train.workdir import recorded


def complete_ablation(
    runs: Sequence[Run],
    *,
    mine: Sequence[Run] | None = None,
    checkpoint: str = "best",
    together: bool = False,
    tune: bool = False,
    note: Callable[[str], None] = print,
) -> None:
    """Completes the runs that are not finished, and compares all that are.

    A run that fails does not stop the others where one process trains. The runs that failed
    before are tried last.

    Args:
      runs: all that are compared.
      mine: those of them that this process carries out; None: all.
      checkpoint: which is evaluated: "best", "last" or a step.
      together: whether all seeds of a variant are trained by one program.
      tune: whether runs that begin now time the forms of their convolutions.
      note: takes each line about the runs.

    Raises:
      InputError: something is wrong with one of the runs; nothing has been trained then.
      RunError: runs failed; the others are complete and compared.
      TryAgain: none failed, but another process works at some that are not complete.
      Interrupted: Ctrl-C or SIGTERM.
    """
    mine = runs if mine is None else mine
    is_done = lambda run: checkpoint == "best" and _is_finished(run)
    pending = [run for run in mine if not is_done(run)]
    for run in pending if together else ():
        check_together(run.experiment, run.workdir)
    _check_plans(pending)
    said = _without_repeats(note)
    complete = partial(complete_run, checkpoint=checkpoint, tune=tune, note=said)
    complete_group = partial(complete_together, checkpoint=checkpoint, note=said)
    _carry_out(
        runs, mine, complete, note, is_done, together=complete_group if together else None
    )


def evaluate_ablation(
    runs: Sequence[Run],
    *,
    mine: Sequence[Run] | None = None,
    checkpoint: str = "best",
    table: bool = False,
    note: Callable[[str], None] = print,
) -> None:
    """Evaluates every run of `mine` as `evaluate_run` does, and compares all runs.

    Raises:
      InputError: no run has such a checkpoint.
      RunError: runs cannot be evaluated; the others are evaluated and compared.
      TryAgain: all can be evaluated, but another process works at some.
      Interrupted: Ctrl-C or SIGTERM.
    """
    mine = runs if mine is None else mine
    if checkpoint != INITIAL:
        _check_checkpoint(mine, checkpoint)
    evaluate = partial(evaluate_run, checkpoint=checkpoint, table=table, note=note)
    # Whether a run has failed is what training it has shown.
    _carry_out(runs, mine, evaluate, note, lambda _: False, remembers=False)


def _check_plans(runs: Sequence[Run]) -> None:
    """Raises InputError unless each variant can be trained, with its first seed.

    What is wrong with the last should not be found after the first has been trained.
    """
    firsts = {run.experiment.name: run for run in reversed(runs)}
    for run in reversed(firsts.values()):
        resume = has_checkpoint(run.workdir)
        try:
            make_plan(run.experiment, resume=resume, note=lambda _: None)
        except InputError as error:
            raise InputError(f"{run.experiment.name}: {error}") from error


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
    if problems and len(problems) == len(runs):
        raise problems[0]


def _carry_out(
    runs: Sequence[Run],
    mine: Sequence[Run],
    work: Callable[[Run], None],
    note: Callable[[str], None],
    is_done: Callable[[Run], bool],
    *,
    together: Callable[[Sequence[Run]], list[Exception | None]] | None = None,
    remembers: bool = True,
) -> None:
    """Runs `work` on every run of `mine` that is not done; keeps the comparison up to date.

    With `together`, the runs of a variant are one piece of work: it returns why each failed.
    `remembers`: whether a run's folder says afterwards that it failed, or no longer does.
    """
    failed, left, comparison = [], [], Comparison(runs)
    groups = by_variant(mine) if together else [[run] for run in mine]
    for group in sorted(groups, key=lambda group: any(map(_failed_before, group))):
        # Another process may have completed some since this one started.
        done = {run.workdir: is_done(run) for run in group}
        pending = [run for run in group if not done[run.workdir]]
        for run in group:
            if done[run.workdir]:
                note(f"{run.workdir}: already complete")
        if together and len(pending) > 1:
            errors = _attempt(partial(together, pending), len(pending))
        else:
            errors = [_attempt(partial(_alone, work, run), 1)[0] for run in pending]
        for run, error in zip(pending, errors, strict=True):
            if isinstance(error, InUseError):
                left.append(run)
                note(f"{error}".partition(": ")[0])
            elif _settle(run, error, note, remembers=remembers):
                failed.append(str(run.workdir))
        comparison.update_if_cheap()
    note(comparison.update())
    # The other processes may have completed them meanwhile.
    left = [str(run.workdir) for run in left if not is_done(run)]
    are = "run is" if len(left) == 1 else "runs are"
    waiting = f"{len(left)} {are} left to other processes: {first_of(left)}"
    if failed:
        if left:
            note(waiting)
        raise RunError(
            f"{len(failed)} of {len(mine)} runs failed, see above: {first_of(failed)}. The "
            "same command tries them again."
        )
    if left:
        raise TryAgain(f"{waiting}; run the same command again.")


def _failed_before(run: Run) -> bool:
    """Returns whether the run failed; the main process decides for all."""
    failed = cluster.is_main() and failure_of(run.workdir) is not None
    return bool(sum_over_processes(np.array(int(failed))))


def _attempt(
    work: Callable[[], Sequence[Exception | None]], count: int
) -> Sequence[Exception | None]:
    """Returns why each of `count` runs failed; one error of `work` is all runs'."""
    try:
        return work()
    except InUseError as error:
        return [error] * count
    except TryAgain:
        raise
    except Exception as error:
        return [error] * count
    finally:
        forget_programs()


def _alone(work: Callable[[Run], None], run: Run) -> list[Exception | None]:
    work(run)
    return [None]


def _settle(
    run: Run, error: Exception | None, note: Callable[[str], None], *, remembers: bool
) -> bool:
    """Returns whether a run has failed; prints the error, and records it if it `remembers`."""
    if error is None:
        if remembers:
            forget_failure(run.workdir)
        return False
    if remembers:
        record_failure(run.workdir, error)
    if not cluster.is_alone():
        raise error  # The other processes wait in this run's collectives.
    if not isinstance(error, (InputError, RunError)):
        traceback.print_exception(error)
    note(f"{run.workdir} failed: {error}")
    return True


def _without_repeats(note: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a `note` that leaves out a text of several lines, a table, that it has said."""
    said = set()

    def once(text: str) -> None:
        if text not in said:
            note(text)
        if "\n" in text:
            said.add(text)

    return once
