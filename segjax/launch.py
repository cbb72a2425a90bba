"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates, reports; again, and it goes on.

A file with a list, `experiments = [...]`, is an ablation: every experiment of it is run in a
folder of its own, `<workdir>/<name>/seed<seed>`, and one page compares them.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, said in one line
before any work; 1 the run failed: one line, or the traceback of the experiment's own code; 130
Ctrl-C: the state was saved, and the line says from which step the same command goes on.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

from segjax.announce import LOGGER
from segjax.console import program, restart_in_utf8
from segjax.errors import InputError, run_command
from segjax.experiment import describe
from segjax.parallel import cluster
from segjax.train.ablation import complete_ablation, evaluate_ablation
from segjax.train.completion import complete_run
from segjax.train.evaluation import INITIAL, evaluate_run
from segjax.train.plan import check_parts
from segjax.train.run import runs_of_file
from segjax.train.workdir import check_owner


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the command; returns its exit status."""
    if arguments is None:
        restart_in_utf8()
    return run_command(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("launch"),
        description="Train, evaluate and report an experiment; run again, it goes on.",
        epilog="Example: python -m segjax.launch experiments/quickstart.py --set steps=200",
    )
    parser.add_argument("experiment", type=pathlib.Path, metavar="EXPERIMENT.py")
    parser.add_argument(
        "--workdir", type=pathlib.Path, metavar="DIR", help="default: runs/<name>[-<overrides>]"
    )
    parser.add_argument("--data", metavar="DIR", help="the datasets' directory")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a field: steps=200, model.rates=1,2,5, transforms.1.size=257",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--evaluate", action="store_true", help="evaluate a checkpoint only")
    mode.add_argument(
        "--describe",
        action="store_true",
        help="print every field and stop. Network, loss and datasets must have what the task "
        "needs; sizes are not tried and no file is read",
    )
    parser.add_argument(
        "--checkpoint",
        default="best",
        help="which to evaluate: best (default), last, a step; with --evaluate also init, the "
        "weights that the experiment starts from",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="with --evaluate: scores as the wrappers of evaluation.predictor join one by one",
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
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
    for run in runs:
        check_owner(run.workdir, run.experiment)
    cluster.initialize()
    cluster.describe_devices()  # A platform that is not there is said before any work.
    if not cluster.is_main():
        LOGGER.setLevel(logging.WARNING)
    is_list = runs[0].place is not None
    options = {"checkpoint": arguments.checkpoint, "note": _note}
    if arguments.evaluate:
        options["table"] = arguments.table
        evaluate_ablation(runs, **options) if is_list else evaluate_run(runs[0], **options)
    else:
        complete_ablation(runs, **options) if is_list else complete_run(runs[0], **options)


def _check_options(arguments: argparse.Namespace) -> None:
    """Raises InputError for what only goes with `--evaluate`."""
    initial = arguments.checkpoint == INITIAL
    for option, given in (("--table", arguments.table), ("--checkpoint init", initial)):
        if given and not arguments.evaluate:
            raise InputError(f"{option} is for evaluating alone: give it with --evaluate.")


def _note(text: str) -> None:
    if cluster.is_main():
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
