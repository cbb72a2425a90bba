"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates and reports an experiment.

Run the same command again to resume. A file with a list, `experiments = [...]`, is an ablation:
each of its experiments runs in its own folder, `<workdir>/<name>/seed<seed>`, and one page
compares them.

`--audit` checks the datasets instead: see `segjax.audit`. `--plan` says what a run needs, and
keeps nothing of the steps that it tries: see `segjax.planning`.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, reported in one line
before training starts; 1 the run failed, reported in one line, or with the traceback of the
experiment's own code, or an audit or `--verify` found errors; 130 Ctrl-C, or 75 SIGTERM: the
state is saved, and the line says from which step the same command resumes; 75 also if another
process of the run was lost, if the processes did not meet in time, or if another run uses the
workdir.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segjax.announce import LOGGER
from segjax.errors import InputError, run_command
from segjax.launch_options import check_options, parser
from segjax.restart import restart_as_needed
from segjax.stopping import ignore_signals

if TYPE_CHECKING:
    from segjax.train.profile import Span
    from segjax.train.run import Run
    from segjax.train.share import Share


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None:
        restart_as_needed()
    status = run_command(lambda: _run(parser().parse_args(arguments)))
    if arguments is None:
        ignore_signals()
    return status


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.parallel import cluster
    from segjax.train.run import runs_of_file

    check_options(arguments)
    cluster.tune_cpu()
    runs = runs_of_file(
        arguments.experiment,
        workdir=arguments.workdir,
        settings=arguments.set,
        directory=arguments.data,
        grid=arguments.grid,
        seeds=arguments.seeds,
    )
    share = _share(arguments, runs)
    steps = _profiled(arguments, runs)
    if arguments.describe:
        _describe(runs, is_swept=bool(arguments.grid or arguments.seeds))
    elif arguments.audit:
        from segjax.audit.report import audit_runs

        audit_runs([(run.experiment, run.workdir) for run in runs])
    elif arguments.verify:
        from segjax.train.verify import verify_runs

        verify_runs(runs, note=_note)
    else:
        mine = share.of(runs, whole_variants=arguments.together)
        _join(arguments, mine)
        if share.count > 1:
            _note(f"{share.why}: {len(mine)} of {len(runs)} runs")
        if arguments.plan:
            _plan(arguments, mine)
        else:
            _carry_out(arguments, runs, mine, steps)
        cluster.finish()


def _describe(runs: Sequence["Run"], *, is_swept: bool) -> None:
    """Prints the runs' fields; of a grid the first run's, and what tells the others apart."""
    from segjax.experiment import describe
    from segjax.train.parts import check_parts
    from segjax.train.variants import listing

    for run in runs:
        check_parts(run.experiment)
    if is_swept:
        print(listing([run.experiment for run in runs]))
        runs = runs[:1]
    print("\n".join(describe(run.experiment, short=True) for run in runs), end="")


def _join(arguments: argparse.Namespace, mine: Sequence["Run"]) -> None:
    """Checks the runs' folders, joins the other processes, and finds the devices."""
    from segjax.data.cache import cache_root
    from segjax.parallel import cluster
    from segjax.parallel.programs import keep_programs
    from segjax.train.workdir import check_owner

    for run in mine:
        check_owner(run.workdir, run.experiment)
    if arguments.plan:
        # A run may hold the devices: take no more of their memory than the plan needs.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not arguments.by_host:
        cluster.initialize()
    cluster.describe_devices()  # Raises before any work if the platform is missing.
    keep_programs(cache_root)
    if not cluster.is_main():
        LOGGER.setLevel(logging.WARNING)


def _plan(arguments: argparse.Namespace, mine: Sequence["Run"]) -> None:
    from segjax.planning.command import plan_runs

    plan_runs(
        [(run.experiment, run.workdir) for run in mine],
        memory=arguments.memory,
        price=arguments.price,
        note=_note,
    )


def _carry_out(
    arguments: argparse.Namespace,
    runs: Sequence["Run"],
    mine: Sequence["Run"],
    steps: "Span | None",
) -> None:
    """Trains and evaluates, or evaluates: one run, or this process's share of several."""
    from segjax.train.ablation import complete_ablation, evaluate_ablation
    from segjax.train.completion import complete_run
    from segjax.train.evaluation import evaluate_run

    options: dict[str, Any] = {"checkpoint": arguments.checkpoint, "note": _note}
    if arguments.evaluate:
        options["table"] = arguments.table
    if steps is not None:
        options["profile"] = steps
    if arguments.together:
        options["together"] = True
    if arguments.tune:
        options["tune"] = True
    if runs[0].is_compared:
        command = evaluate_ablation if arguments.evaluate else complete_ablation
        command(runs, mine=mine, **options)
    else:
        command = evaluate_run if arguments.evaluate else complete_run
        command(runs[0], **options)


def _profiled(arguments: argparse.Namespace, runs: Sequence["Run"]) -> "Span | None":
    """Returns the steps that `--profile` names.

    Raises:
      InputError: it names none, or nothing or more than one run is trained.
    """
    from segjax.train.profile import span

    if arguments.profile is None:
        return None
    for option in ("evaluate", "describe", "audit", "verify", "plan"):
        if getattr(arguments, option):
            raise InputError(f"--profile traces training, and --{option} does not train.")
    if runs[0].is_compared:
        raise InputError(
            f"--profile traces one run, but this command has {len(runs)}: name a file with one "
            "experiment, and leave out --grid and --seeds."
        )
    return span(arguments.profile)


def _share(arguments: argparse.Namespace, runs: Sequence["Run"]) -> "Share":
    """Returns which runs this process carries out; a single run is not shared out.

    Raises:
      InputError: an option that shares out runs comes with an experiment that is one run.
    """
    from segjax.train.share import Share, share_of

    if runs[0].is_compared:
        return share_of(arguments.share, by_host=arguments.by_host)
    for option in ("share", "by_host", "together"):
        if getattr(arguments, option):
            raise InputError(
                f"--{option.replace('_', '-')} is for the runs of a list, a grid or several "
                f"seeds, but {arguments.experiment} is one run: leave it out, or add --grid or "
                "--seeds."
            )
    return Share()


def _note(text: str) -> None:
    if LOGGER.isEnabledFor(logging.INFO):  # In the main process, as `_run` says.
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
