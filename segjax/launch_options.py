"""The options of `segjax.launch`: what they are called, and which go together."""

import argparse
import math
import pathlib

from segjax.console import program
from segjax.errors import InputError


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command."""
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
    _add_modes(parser)
    _add_options_of_modes(parser)
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


def _add_modes(parser: argparse.ArgumentParser) -> None:
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
        help="check the files of the run, and stop: checkpoints, experiment.txt, "
        "forms.json, model.safetensors and the predictions of an ablation against their "
        "checksums; of "
        "experiment.py, metrics.jsonl, evaluation.json and evaluations.json whether they can "
        "be read; a line each; exit status 1 if something is damaged, 2 if there is no run",
    )
    mode.add_argument(
        "--plan",
        action="store_true",
        help="say what the run needs, and stop: memory of each device, FLOPs, hours, the "
        "largest batch that fits; compiles the training step for several batches, times a few "
        "steps, and writes plan.json into the workdir; no other file of a run changes",
    )


def _add_options_of_modes(parser: argparse.ArgumentParser) -> None:
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
        "--tune",
        action="store_true",
        help="on a CPU, before training: time the ways to compute each convolution of the "
        "experiment on this machine, and train with the fastest; takes minutes, once for each "
        "machine and shape; the choice is written into the workdir, and a run keeps it when "
        "it resumes",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="with --evaluate: also print a table of scores in which the wrappers of "
        "evaluation.predictor are added one at a time",
    )


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


def check_options(arguments: argparse.Namespace) -> None:
    """Raises InputError for an option that comes without the one that it needs."""
    from segjax.train.evaluation import INITIAL

    initial = arguments.checkpoint == INITIAL
    for option, given in (("--table", arguments.table), ("--checkpoint init", initial)):
        if given and not arguments.evaluate:
            raise InputError(f"{option} needs --evaluate; add it.")
    for option in ("evaluate", "plan"):
        if arguments.together and getattr(arguments, option):
            raise InputError(f"--together trains; leave it out with --{option}.")
    if arguments.tune:
        for option in ("evaluate", "describe", "audit", "verify", "plan", "together"):
            if getattr(arguments, option):
                raise InputError(_not_with_tune(option))
    for option in ("memory", "price"):
        if getattr(arguments, option) is not None and not arguments.plan:
            raise InputError(f"--{option} needs --plan; add it.")


def _not_with_tune(option: str) -> str:
    reason = {
        "plan": "a plan is for the default forms of convolutions",
        "together": "the times of one run say nothing of several seeds in one program",
    }.get(option, f"it is for training, and --{option} does not train")
    return f"--tune: {reason}; leave one of --tune and --{option} out."
