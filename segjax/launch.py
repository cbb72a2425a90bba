"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates, reports; again, and it goes on.

A file with a list, `experiments = [...]`, is an ablation: every experiment of it is run in a
folder of its own, `<workdir>/<name>/seed<seed>`, and one page compares them.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, said in one line
before any work; 1 the run failed: one line, or the traceback of the experiment's own code.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import jax

from segjax import experiment as experiments
from segjax import parallel
from segjax.errors import InputError, RunError, guarded
from segjax.evaluate.score import Scorer, Scores
from segjax.experiment import Experiment
from segjax.train.checkpoint import Checkpoints, has_checkpoint
from segjax.train.comparison import (
    COMPARISON,
    Run,
    check_variants,
    is_finished,
    save_predictions,
    write_comparison,
)
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
    listed, is_list, settings = _experiments(arguments)
    if arguments.describe:
        print("\n".join(experiments.describe(experiment) for experiment in listed), end="")
        return
    name = arguments.experiment.stem if is_list else listed[0].name
    root = arguments.workdir or default_workdir(name, arguments.set)
    runs = [
        Run(experiment, root / experiment.name / f"seed{experiment.seed}" if is_list else root)
        for experiment in listed
    ]
    for run in runs:
        check_owner(run.workdir, run.experiment)
    parallel.tune_cpu()
    parallel.initialize()
    if not is_list:
        _complete(runs[0], arguments, settings, place=None)
        return
    failed = [
        text for i, run in enumerate(runs) if (text := _attempt(run, arguments, settings, i))
    ]
    if parallel.is_main():
        write_comparison(root, name, runs)
    _note(f"comparison: {root / COMPARISON}")
    if failed:
        raise RunError(f"{len(failed)} of {len(runs)} runs failed: {' '.join(failed)}")


def _attempt(
    run: Run, arguments: argparse.Namespace, settings: list[str], place: int
) -> str | None:
    """Completes a run of a list, unless it is; returns what failed, so that others go on."""
    if is_finished(run):
        _note(f"{run.workdir}: done before")
        return None
    try:
        _complete(run, arguments, settings, place=place)
    except RunError as error:
        _note(f"{run.workdir} failed: {error}")
        return str(error)
    finally:
        jax.clear_caches()
    return None


def _complete(
    run: Run, arguments: argparse.Namespace, settings: list[str], *, place: int | None
) -> None:
    """Trains from where the run stands, evaluates it and writes its report."""
    experiment, workdir = run
    devices = parallel.describe_devices()
    last = None
    if not arguments.evaluate:
        resume = has_checkpoint(workdir)
        plan = make_plan(experiment, resume=resume, note=_note)
        if resume:
            with Checkpoints(workdir, read_only=True) as checkpoints:
                checkpoints.check(plan.state_shapes())
        _note(f"{experiment.name}: {plan.parameters:,} parameters, {devices}, {workdir}")
        if parallel.is_main():
            claim(workdir, experiment, arguments.experiment, settings, place=place)
        parallel.wait_for_all("claimed")
        last = _train(plan, workdir)
    _evaluate(run, arguments.checkpoint, last, compared=place is not None)


def _train(plan: Plan, workdir: pathlib.Path) -> Scores | None:
    try:
        return train(plan, workdir, quiet=not parallel.is_main())
    except InputError as error:
        # What is found now was not found before work started: the run has failed.
        raise RunError(str(error)) from error


def _experiments(arguments: argparse.Namespace) -> tuple[list[Experiment], bool, list[str]]:
    """The experiments with all overrides, whether they are a list, and the overrides.

    `--data` counts as what it stands for.
    """
    listed, is_list = experiments.load_all(arguments.experiment)
    settings = list(arguments.set)
    if arguments.data:
        settings += experiments.directory_settings(listed[0], arguments.data)
    for setting in settings:
        listed = [experiments.override(experiment, setting) for experiment in listed]
    listed = [experiments.checked(experiment, "--set") for experiment in listed]
    check_variants(listed, str(arguments.experiment))
    return listed, is_list, settings


def _evaluate(run: Run, which: str, last: Scores | None, *, compared: bool) -> None:
    experiment, workdir = run
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step, variables = checkpoints.restore_variables(which)
    check_data(experiment, "eval_data")
    score = scorer(experiment)
    # The best checkpoint is often the one that training has just evaluated.
    fresh = last is not None and step == experiment.steps
    scores = last if fresh and last else _score(experiment, score, variables)
    evaluation = write_results(workdir, experiment, score, scores, variables, step=step)
    if compared and parallel.is_main():
        save_predictions(workdir, experiment, score, variables)
    text = "  ".join(
        f"{name} {evaluation[name]:.4f}"
        for name in ("mean_iou", "pixel_accuracy", "mean_accuracy")
        if evaluation[name] is not None
    )
    _note(f"step {step}, {evaluation['images']} images: {text}")
    _note(f"report: {workdir / 'report.html'}")


def _score(experiment: Experiment, score: Scorer, variables: Variables) -> Scores:
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
