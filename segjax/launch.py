"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates and reports an experiment.

Run the same command again to resume. A file with a list, `experiments = [...]`, is an ablation:
each of its experiments runs in its own folder, `<workdir>/<name>/seed<seed>`, and one page
compares them.

`--audit` checks the datasets instead: see `segjax.audit`.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, reported in one line
before training starts; 1 the run failed, reported in one line, or with the traceback of the
experiment's own code, or an audit found errors; 130 Ctrl-C, or 75 SIGTERM: the state is saved,
and the line says from which step the same command resumes; 75 also if another process of the
run was lost, or if the processes did not meet in time.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

from segjax.announce import LOGGER
from segjax.console import program, restart_in_utf8
from segjax.errors import InputError, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None:
        restart_in_utf8()
    return run_command(lambda: _run(_parser().parse_args(arguments)))


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
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="checkpoint to evaluate: best (default), last or a step; with --evaluate also "
        "init, the weights before training",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="with --evaluate: also print a table of scores in which the wrappers of "
        "evaluation.predictor are added one at a time",
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.experiment import describe
    from segjax.parallel import cluster
    from segjax.train.ablation import complete_ablation, evaluate_ablation
    from segjax.train.completion import complete_run
    from segjax.train.evaluation import evaluate_run
    from segjax.train.plan import check_parts
    from segjax.train.run import runs_of_file
    from segjax.train.workdir import check_owner

    _check_options(arguments)
    cluster.tune_cpu()
    runs = runs_of_file(
        arguments.experiment,
        workdir=arguments.workdir,
        settings=arguments.set,
        directory=arguments.data,
    )
    if arguments.describe:
        for run in runs:
            check_parts(run.experiment)
        print("\n".join(describe(run.experiment, short=True) for run in runs), end="")
        return
    if arguments.audit:
        from segjax.audit.report import audit_runs

        audit_runs([(run.experiment, run.workdir) for run in runs])
        return
    for run in runs:
        check_owner(run.workdir, run.experiment)
    cluster.initialize()
    cluster.describe_devices()  # Raises before any work if the platform is missing.
    if not cluster.is_main():
        LOGGER.setLevel(logging.WARNING)
    is_list = runs[0].place is not None
    options = {"checkpoint": arguments.checkpoint, "note": _note}
    if arguments.evaluate:
        options["table"] = arguments.table
        evaluate_ablation(runs, **options) if is_list else evaluate_run(runs[0], **options)
    else:
        complete_ablation(runs, **options) if is_list else complete_run(runs[0], **options)
    cluster.finish()


def _check_options(arguments: argparse.Namespace) -> None:
    """Raises InputError for an option that needs `--evaluate` and comes without it."""
    from segjax.train.evaluation import INITIAL

    initial = arguments.checkpoint == INITIAL
    for option, given in (("--table", arguments.table), ("--checkpoint init", initial)):
        if given and not arguments.evaluate:
            raise InputError(f"{option} needs --evaluate; add it.")


def _note(text: str) -> None:
    if LOGGER.isEnabledFor(logging.INFO):  # In the main process, as `_run` says.
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
