"""`python -m segjax.launch EXPERIMENT.py`: trains, evaluates, reports; again, and it goes on.

A file with a list, `experiments = [...]`, is an ablation: every experiment of it is run in a
folder of its own, `<workdir>/<name>/seed<seed>`, and one page compares them.

Exit status: 0 done; 2 the arguments, the experiment or the data are wrong, said in one line
before any work; 1 the run failed: one line, or the traceback of the experiment's own code; 130
Ctrl-C: the state was saved, and the line says from which step the same command goes on.
"""

import argparse
import contextlib
import logging
import pathlib
import sys
import traceback
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from segjax import experiment as experiments
from segjax.announce import LOGGER
from segjax.console import program, restart_in_utf8
from segjax.contracts import Variables
from segjax.errors import InputError, Interrupted, RunError, run_command
from segjax.experiment import Experiment
from segjax.parallel import cluster
from segjax.parallel.sums import sum_over_processes
from segjax.report.comparison import (
    COMPARISON,
    Run,
    check_variants,
    forget_scores,
    is_finished,
    save_predictions,
    write_comparison,
)
from segjax.tasks.scorer import Scorer
from segjax.tasks.task import Metric
from segjax.train.checkpoint import Checkpoints, has_checkpoint
from segjax.train.coverage import coverage
from segjax.train.interrupt import what_is_left
from segjax.train.log import Progress
from segjax.train.loop import train
from segjax.train.plan import (
    Plan,
    check_data,
    check_evaluation,
    initial_variables,
    make_plan,
    scorer,
)
from segjax.train.results import evaluation_of, write_results
from segjax.train.table import evaluation_stages, table_lines, write_table
from segjax.train.workdir import DESCRIPTION, check_owner, claim, default_workdir

INITIAL = "init"
"""The checkpoint that is none yet: the weights of the experiment's `init`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
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
    mode.add_argument("--describe", action="store_true", help="print every field and stop")
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
    runs = _runs(arguments)
    if arguments.describe:
        texts = [experiments.describe(run.experiment, short=True) for run in runs]
        print("\n".join(texts), end="")
        return
    for run in runs:
        check_owner(run.workdir, run.experiment)
    cluster.initialize()
    devices = cluster.describe_devices()
    if not cluster.is_main():
        LOGGER.setLevel(logging.WARNING)
    source = arguments.experiment.read_bytes()
    if runs[0].place is None:
        _complete(runs[0], arguments, source, devices)
        return
    open_runs = [run for run in runs if arguments.evaluate or not _is_finished(run, arguments)]
    if arguments.evaluate and arguments.checkpoint != INITIAL:
        _check_checkpoint(runs, arguments.checkpoint)
    if not arguments.evaluate:
        # What is wrong with the last should not be found after the first has been trained.
        for run in open_runs:
            make_plan(run.experiment, resume=has_checkpoint(run.workdir), note=lambda _: None)
    failed = []
    for run in runs:
        if run not in open_runs:
            _note(f"{run.workdir}: done before")
        elif not _attempt(run, arguments, source, devices):
            failed.append(str(run.workdir))
    if cluster.is_main():
        write_comparison(_root(runs), _root(runs).name, runs)
    _note(f"comparison: {_root(runs) / COMPARISON}")
    if failed:
        raise RunError(
            f"{len(failed)} of {len(runs)} runs failed, as said above: {', '.join(failed)}."
        )


def _check_options(arguments: argparse.Namespace) -> None:
    """Raises InputError for what only goes with `--evaluate`."""
    initial = arguments.checkpoint == INITIAL
    for option, given in (("--table", arguments.table), ("--checkpoint init", initial)):
        if given and not arguments.evaluate:
            raise InputError(f"{option} is for evaluating alone: give it with --evaluate.")


def _root(runs: Sequence[Run]) -> pathlib.Path:
    return runs[0].workdir.parents[1]


def _is_finished(run: Run, arguments: argparse.Namespace) -> bool:
    """Whether there is nothing to do; the main process decides for all."""
    done = cluster.is_main() and arguments.checkpoint == "best" and is_finished(run)
    return bool(sum_over_processes(np.array(int(done))))


def _check_checkpoint(runs: Sequence[Run], which: str) -> None:
    """Raises InputError where no run of a list has the checkpoint that is named."""
    problems = []
    for run in runs:
        with Checkpoints(run.workdir, read_only=True) as checkpoints:
            try:
                checkpoints.step_of(which)
            except InputError as error:
                problems.append(error)
    if len(problems) == len(runs):
        raise problems[0]


@contextlib.contextmanager
def _saying_what_is_left(run: Run, *, evaluate: bool) -> Iterator[None]:
    """Makes of a Ctrl-C the line that says what the run's folder holds, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        if evaluate:
            left = "the same command evaluates again, from the first image."
        else:
            left = what_is_left(run.workdir, run.experiment.steps)
        where = "" if run.place is None else f"{run.workdir}: "
        raise Interrupted(f"{where}{left}") from None


def _attempt(run: Run, arguments: argparse.Namespace, source: bytes, devices: str) -> bool:
    """Completes a run of a list; says what failed, so that the others go on."""
    try:
        _complete(run, arguments, source, devices)
    except Exception as error:
        if not cluster.is_alone():
            raise  # The other processes wait in this run's collectives.
        if not isinstance(error, (InputError, RunError)):
            traceback.print_exc()
        _note(f"{run.workdir} failed: {error}")
        return False
    finally:
        jax.clear_caches()
    return True


def _complete(run: Run, arguments: argparse.Namespace, source: bytes, devices: str) -> None:
    """Trains from where the run stands, unless `--evaluate`, evaluates it and reports."""
    with _saying_what_is_left(run, evaluate=arguments.evaluate):
        _carry_out(run, arguments, source, devices)


def _carry_out(run: Run, arguments: argparse.Namespace, source: bytes, devices: str) -> None:
    """As `_complete`; Ctrl-C passes through."""
    experiment, workdir = run.experiment, run.workdir
    last = None
    if not arguments.evaluate:
        resume = has_checkpoint(workdir)
        plan = make_plan(experiment, resume=resume, note=_note)
        if resume:
            with Checkpoints(workdir, read_only=True) as checkpoints:
                checkpoints.check(plan.state_shapes())
        _note(f"{experiment.name}: {plan.parameters:,} parameters, {devices}, {workdir}")
        _claim(run, arguments, source)
        _forget(run)
        last, trained_on = _train(plan, workdir), plan.trained_on
        step, variables = _restored(run, arguments.checkpoint)
    elif arguments.checkpoint == INITIAL:
        trained_on = _covered(experiment)
        step, variables = 0, initial_variables(experiment, note=_note)
        if not (workdir / DESCRIPTION).is_file():
            _claim(run, arguments, source)
    else:
        step, variables = _restored(run, arguments.checkpoint)
        trained_on = _covered(experiment)
    _evaluate(run, step, variables, last, table=arguments.table, trained_on=trained_on)


def _covered(experiment: Experiment) -> int | None:
    """Prepares the evaluation data and says what they lack; how many are training images."""
    check_data(experiment, "eval_data")
    found = coverage(experiment, "eval_data")
    for line in found.lines:
        _note(line)
    return found.trained_on


def _claim(run: Run, arguments: argparse.Namespace, source: bytes) -> None:
    if cluster.is_main():
        claim(
            run.workdir,
            run.experiment,
            arguments.experiment,
            source,
            settings=run.settings,
            place=run.place,
        )
    cluster.wait_for_all("claimed")


def _restored(run: Run, which: str) -> tuple[int, Variables]:
    if run.experiment.init is not None and not has_checkpoint(run.workdir):
        raise InputError(
            f"{run.workdir} holds no checkpoint; train the run first, or evaluate the weights "
            "that it starts from: --evaluate --checkpoint init."
        )
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        return checkpoints.restore_variables(which)


def _train(plan: Plan, workdir: pathlib.Path) -> Metric | None:
    try:
        return train(plan, workdir, quiet=not cluster.is_main())
    except InputError as error:
        # What is found now was not found before work started: the run has failed.
        raise RunError(str(error)) from error


def _runs(arguments: argparse.Namespace) -> list[Run]:
    """The experiments of the file with all overrides; `--data` counts as what it stands for."""
    listed, is_list = experiments.load_all(arguments.experiment)
    name = arguments.experiment.stem if is_list else listed[0].name
    # How a run is evaluated does not make it another run.
    changed = [s for s in arguments.set if not s.strip().startswith("evaluation")]
    root = arguments.workdir or default_workdir(name, changed)
    fixed = [s for s in arguments.set if s.partition("=")[0].strip() in ("seed", "name")]
    if is_list and fixed:
        raise InputError(
            f"--set {fixed[0]}: a list of experiments tells its runs apart by name and seed; "
            f"change them in {arguments.experiment}."
        )
    runs = []
    for place, experiment in enumerate(listed):
        settings = list(arguments.set)
        if arguments.data:
            settings += experiments.directory_settings(experiment, arguments.data)
        for setting in settings:
            experiment = experiments.override(experiment, setting)
        experiment = experiments.checked(experiment, "--set")
        folder = root / experiment.name / f"seed{experiment.seed}" if is_list else root
        runs.append(Run(experiment, folder, tuple(settings), place if is_list else None))
    if is_list:
        check_variants([run.experiment for run in runs], str(arguments.experiment))
    return runs


def _evaluate(
    run: Run,
    step: int,
    variables: Variables,
    last: Metric | None,
    *,
    table: bool,
    trained_on: int | None,
) -> None:
    experiment, workdir = run.experiment, run.workdir
    check_data(experiment, "eval_data")
    *earlier, final = evaluation_stages(experiment)
    # What is wrong with the last stage should not be found after the first has been scored.
    for _, stage in (*earlier, final) if table else (final,):
        check_evaluation(stage, variables)
    _forget(run)
    rows = []
    for name, stage in earlier if table else ():
        scores = _score(stage, scorer(stage), variables).scores()
        rows.append((name, stage, evaluation_of(stage, scores, step=step)))
        _write_table(workdir, rows)
    score = scorer(experiment)
    # The best checkpoint is often the one that training has just evaluated.
    fresh = last is not None and step == experiment.steps
    metric = last if fresh and last else _score(experiment, score, variables)
    evaluation = write_results(
        workdir, experiment, score, metric, variables, step=step, trained_on=trained_on
    )
    if table:
        rows.append((final[0], experiment, evaluation))
        _write_table(workdir, rows)
        _note("\n".join(table_lines(rows)))
    if run.place is not None and cluster.is_main():
        save_predictions(workdir, experiment, score, variables)
    shown = metric.line(evaluation) or "no score, since no pixel of their labels counts"
    _note(f"step {step}, {evaluation['images']} images: {shown}")
    _note(f"report: {workdir / 'report.html'}")


def _forget(run: Run) -> None:
    if cluster.is_main():
        forget_scores(run)


def _write_table(workdir: pathlib.Path, rows: list) -> None:
    if cluster.is_main():
        write_table(workdir, rows)


def _score(experiment: Experiment, score: Scorer, variables: Variables) -> Metric:
    progress = Progress(experiment.name, first=0, total=0, quiet=not cluster.is_main())
    return score(
        variables,
        share=cluster.process_share(),
        progress=progress.evaluating,
    )


def _note(text: str) -> None:
    if cluster.is_main():
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
