"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates and reports an experiment.

Run the same command again to resume. A file with a list, `experiments = [...]`, is an ablation:
each of its experiments runs in its own folder, `<workdir>/<name>/seed<seed>`, and one page
compares them.

`--audit` checks the datasets instead: see `segjax.audit`. `--plan` says what a run needs, and
runs nothing: see `segjax.planning`.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, reported in one line
before training starts; 1 the run failed, reported in one line, or with the traceback of the
experiment's own code, or an audit or `--verify` found errors; 130 Ctrl-C, or 75 SIGTERM: the
state is saved, and the line says from which step the same command resumes; 75 also if another
process of the run was lost, if the processes did not meet in time, or if another run uses the
workdir.
"""

import argparse
import logging
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segjax.announce import LOGGER
from segjax.console import program, restart_in_utf8
from segjax.errors import InputError, run_command
from segjax.stopping import ignore_signals

if TYPE_CHECKING:
    from segjax.train.profile import Span
    from segjax.train.run import Run
    from segjax.train.share import Share


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None:
        restart_in_utf8()
    status = run_command(lambda: _run(_parser().parse_args(arguments)))
    if arguments is None:
        ignore_signals()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("launch"),
        description="Train, evaluate and report an experiment. Run the same command again to "
        "resume.",
        epilog="Example: python -m segjax.launch experiments/quickstart.py --set steps=200",
    )
    parser.add_argument(
        "experiment",
        type=pathlib.Path,
        metavar="EXPERIMENT.py",
        help="the file that defines the experiment, such as experiments/quickstart.py",
    )
    parser.add_argument(
        "--workdir",
        type=pathlib.Path,
        metavar="DIR",
        help="folder for checkpoints, scores and the report (default: runs/NAME, with a suffix "
        "if you change fields with --set)",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the folder of your data, for every dataset"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change one field of the experiment; repeat it for several: steps=200, "
        "model.rates=1,2,5, transforms.1.size=257",
    )
    _add_sweep_options(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--evaluate", action="store_true", help="evaluate a checkpoint; do not train"
    )
    mode.add_argument(
        "--describe",
        action="store_true",
        help="print every field of the experiment and stop; no data is read",
    )
    mode.add_argument(
        "--audit",
        action="store_true",
        help="check both datasets, list everything that is wrong with them, and stop: broken "
        "files, unknown label ids, copies, class frequencies and weights; writes "
        "audit/audit.html and audit/audit.json into the workdir; exit status 1 if there are "
        "errors, 0 if there are only warnings",
    )
    mode.add_argument(
        "--verify",
        action="store_true",
        help="check every file that the run has written, and stop: the checkpoints and "
        "model.safetensors against their checksums, metrics.jsonl, evaluation.json and the "
        "description; a line each; exit status 1 if something is damaged",
    )
    mode.add_argument(
        "--plan",
        action="store_true",
        help="say what the run needs, and stop: memory of each device, FLOPs, hours, the "
        "largest batch that fits; compiles the training step for several batches, times a few "
        "steps, and writes plan.json into the workdir; no other file of a run changes",
    )
    parser.add_argument(
        "--memory",
        type=_positive,
        metavar="GIB",
        help="with --plan: memory of one device, to plan for another kind of device than this "
        "machine's; sizes and FLOPs are those of the program that is compiled here",
    )
    parser.add_argument(
        "--price",
        type=_positive,
        metavar="PER_HOUR",
        help="with --plan: price of one device for one hour, in any currency; the plan then "
        "says what the run costs",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="checkpoint to evaluate: best (default), last or a step; with --evaluate also "
        "init, the weights before training",
    )
    parser.add_argument(
        "--profile",
        metavar="START:STOP",
        help="trace the training steps after START up to STOP into the folder profile of the "
        "workdir, to see what the devices did: 100:110",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="with --evaluate: also print a table of scores in which the wrappers of "
        "evaluation.predictor are added one at a time",
    )
    return parser


def _add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="PATH=VALUE,VALUE",
        help="train a variant for each value of a field, and compare them; repeat it for every "
        "combination of several fields: optimizer.schedule.rate=0.1,0.01, "
        "model.rates=(1,1,1),(1,2,4)",
    )
    parser.add_argument(
        "--seeds",
        metavar="COUNT|SEED,SEED",
        help="train each variant with so many seeds, from the experiment's own on, or with the "
        "seeds that you list: 3, or 0,4,7",
    )
    parser.add_argument(
        "--share",
        metavar="INDEX/COUNT",
        help="carry out only this share of the runs, counted from 0: 0/8 to 7/8 (default: the "
        "share of the SLURM array task, in an array; otherwise all)",
    )
    parser.add_argument(
        "--by-host",
        action="store_true",
        help="with several processes: each carries out its own share of the runs, instead of "
        "all of them training one run together",
    )

    parser.add_argument(
        "--together",
        action="store_true",
        help="train all seeds of a variant in one compiled program, for networks that are too "
        "small to fill a GPU or a TPU (on a CPU it is slower); each run is the same, up to "
        "rounding",
    )


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.data.cache import cache_root
    from segjax.experiment import describe
    from segjax.parallel import cluster
    from segjax.parallel.programs import keep_programs
    from segjax.train.ablation import complete_ablation, evaluate_ablation
    from segjax.train.completion import complete_run
    from segjax.train.evaluation import evaluate_run
    from segjax.train.plan import check_parts
    from segjax.train.run import runs_of_file
    from segjax.train.variants import listing
    from segjax.train.workdir import check_owner

    _check_options(arguments)
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
        for run in runs:
            check_parts(run.experiment)
        if arguments.grid or arguments.seeds:
            print(listing([run.experiment for run in runs]))
            runs = runs[:1]
        print("\n".join(describe(run.experiment, short=True) for run in runs), end="")
        return
    if arguments.audit:
        from segjax.audit.report import audit_runs

        audit_runs([(run.experiment, run.workdir) for run in runs])
        return
    if arguments.verify:
        from segjax.train.verify import verify_runs

        verify_runs(runs, note=_note)
        return
    mine = share.of(runs, whole_variants=arguments.together)
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
    if arguments.plan:
        from segjax.planning.command import plan_runs

        plan_runs(
            [(run.experiment, run.workdir) for run in mine],
            memory=arguments.memory,
            price=arguments.price,
            note=_note,
        )
        return
    options = {"checkpoint": arguments.checkpoint, "note": _note}
    if arguments.evaluate:
        options["table"] = arguments.table
    if steps is not None:
        options["profile"] = steps
    if share.count > 1:
        _note(f"{share.why}: {len(mine)} of {len(runs)} runs")
    if arguments.together:
        options["together"] = True
    if runs[0].is_compared:
        command = evaluate_ablation if arguments.evaluate else complete_ablation
        command(runs, mine=mine, **options)
    else:
        command = evaluate_run if arguments.evaluate else complete_run
        command(runs[0], **options)
    cluster.finish()


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


def _positive(text: str) -> float:
    """Returns a number above 0 of the command line.

    Raises:
      ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _check_options(arguments: argparse.Namespace) -> None:
    """Raises InputError for an option that comes without the one that it needs."""
    from segjax.train.evaluation import INITIAL

    initial = arguments.checkpoint == INITIAL
    for option, given in (("--table", arguments.table), ("--checkpoint init", initial)):
        if given and not arguments.evaluate:
            raise InputError(f"{option} needs --evaluate; add it.")
    for option in ("evaluate", "plan"):
        if arguments.together and getattr(arguments, option):
            raise InputError(f"--together trains; leave it out with --{option}.")
    for option in ("memory", "price"):
        if getattr(arguments, option) is not None and not arguments.plan:
            raise InputError(f"--{option} needs --plan; add it.")


def _note(text: str) -> None:
    if LOGGER.isEnabledFor(logging.INFO):  # In the main process, as `_run` says.
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
