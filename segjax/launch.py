"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates, reports; again, and it goes on.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, said in one line
before any work; 1 the run failed: one line, or the traceback of the experiment's own code.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from segjax import experiment as experiments
from segjax import parallel
from segjax.errors import InputError, RunError, guarded
from segjax.evaluate.score import Scorer, Scores
from segjax.experiment import Experiment
from segjax.train.checkpoint import Checkpoints, has_checkpoint
from segjax.train.log import Progress
from segjax.train.loop import train
from segjax.train.plan import Plan, check_data, make_plan, scorer
from segjax.train.results import write_results
from segjax.train.workdir import check_owner, claim, default_workdir
from segjax.types import Variables


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segjax-launch",
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
    mode.add_argument("--describe", action="store_true", help="print every field and stop")
    parser.add_argument(
        "--checkpoint", default="best", help="which to evaluate: best (default), last or a step"
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    experiment, settings = _experiment(arguments)
    if arguments.describe:
        print(experiments.describe(experiment), end="")
        return
    workdir = arguments.workdir or default_workdir(experiment, arguments.set)
    check_owner(workdir, experiment)
    parallel.tune_cpu()
    parallel.initialize()
    devices = parallel.describe_devices()
    last = None
    if not arguments.evaluate:
        resume = has_checkpoint(workdir)
        plan = make_plan(experiment, resume=resume)
        if resume:
            with Checkpoints(workdir, read_only=True) as checkpoints:
                checkpoints.check(plan.state_shapes())
        _note(f"{experiment.name}: {plan.parameters:,} parameters, {devices}, {workdir}")
        if parallel.is_main():
            claim(workdir, experiment, arguments.experiment, settings)
        parallel.wait_for_all("claimed")
        last = _train(plan, workdir)
    _evaluate(experiment, workdir, arguments.checkpoint, last)


def _train(plan: Plan, workdir: pathlib.Path) -> Scores | None:
    try:
        return train(plan, workdir, quiet=not parallel.is_main())
    except InputError as error:
        # What is found now was not found before work started: the run has failed.
        raise RunError(str(error)) from error


def _experiment(arguments: argparse.Namespace) -> tuple[Experiment, list[str]]:
    """The experiment with all overrides, and these; `--data` counts as what it stands for."""
    experiment = experiments.load(arguments.experiment)
    settings = list(arguments.set)
    if arguments.data:
        settings += experiments.directory_settings(experiment, arguments.data)
    for setting in settings:
        experiment = experiments.override(experiment, setting)
    return experiments.checked(experiment, "--set"), settings


def _evaluate(
    experiment: Experiment, workdir: pathlib.Path, which: str, last: Scores | None
) -> None:
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step, variables = checkpoints.restore_variables(which)
    check_data(experiment, "eval_data")
    score = scorer(experiment)
    # The best checkpoint is often the one that training has just evaluated.
    fresh = last is not None and step == experiment.steps
    scores = last if fresh and last else _score(experiment, score, variables)
    evaluation = write_results(workdir, experiment, score, scores, variables, step=step)
    text = "  ".join(
        f"{name} {evaluation[name]:.4f}"
        for name in ("mean_iou", "pixel_accuracy", "mean_accuracy")
        if evaluation[name] is not None
    )
    _note(f"step {step}, {evaluation['images']} images: {text}")
    _note(f"report: {workdir / 'report.html'}")


def _score(experiment: Experiment, score: Scorer, variables: Variables) -> Scores:
    import jax

    progress = Progress(experiment.name, first=0, total=0, quiet=not parallel.is_main())
    return score(
        variables,
        share=(jax.process_index(), jax.process_count()),
        progress=progress.evaluating,
    )


def _note(text: str) -> None:
    if parallel.is_main():
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
