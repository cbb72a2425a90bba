"""Evaluates a run: restores a checkpoint, scores it and writes what a run leaves behind."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

from segjax.contracts import Variables
from segjax.errors import InputError, RunError
from segjax.experiment import Experiment
from segjax.ops.forms import chosen
from segjax.parallel import cluster
from segjax.tasks.scorer import Scored, Scorer
from segjax.train.checkpoint import Checkpoints, has_checkpoint, last_step
from segjax.train.coverage import data_coverage
from segjax.train.evaluated import check_evaluation, scorer
from segjax.train.form_table import read_table
from segjax.train.lock import locked
from segjax.train.log import Progress
from segjax.train.parts import check_data
from segjax.train.plan import initial_variables
from segjax.train.predictions import forget_predictions, save_predictions
from segjax.train.results import REPORT, evaluation_of, write_results
from segjax.train.run import Run, claim_run, leaving_run
from segjax.train.table import evaluation_stages, table_lines, write_table
from segjax.train.workdir import DESCRIPTION, recorded

INITIAL = "init"
"""The name of the weights before the first step, which no checkpoint holds."""


def evaluate_run(
    run: Run,
    *,
    checkpoint: str = "best",
    table: bool = False,
    note: Callable[[str], None] = print,
) -> None:
    """Evaluates a checkpoint of a run and writes its results again; trains nothing.

    Args:
      run: the run.
      checkpoint: "best", "last", a step, or `INITIAL`: the weights of the experiment's `init`.
      table: also score the evaluation as its wrappers join one by one.
      note: takes each line about the data and the scores.

    Raises:
      InputError: the checkpoint, the data or the evaluation is wrong.
      InUseError: another process uses the run's folder.
      Interrupted: Ctrl-C or SIGTERM.
    """
    left = "the same command evaluates again, from the first image."
    with leaving_run(run, lambda: left), locked(run.workdir):
        experiment = recorded(run.experiment, run.workdir)
        run = run._replace(experiment=experiment)
        if checkpoint == INITIAL:
            trained_on = _trained_on(experiment, note)
            step, variables = 0, initial_variables(experiment, note=note)
            if not (run.workdir / DESCRIPTION).is_file():
                claim_run(run)
        else:
            step, variables = restored_variables(run, checkpoint)
            trained_on = _trained_on(experiment, note)
        forms = read_table(run.workdir)
        save = partial(save_evaluation, run, step, variables, trained_on=trained_on, note=note)
        with chosen(forms.names if forms else {}):
            save(stages=evaluation_stages(experiment)) if table else save()


def _trained_on(experiment: Experiment, note: Callable[[str], None]) -> int | None:
    """Returns how many evaluation images are training images; None if not known.

    `note` takes the lines about the data.
    """
    check_data(experiment, "eval_data")
    found = data_coverage(experiment, "eval_data")
    for line in (found.summary, *found.lines):
        note(line)
    return found.trained_on


def save_trained(
    run: Run,
    checkpoint: str,
    *,
    trained_on: int | None,
    note: Callable[[str], None],
    last: Scored | None,
) -> None:
    """Evaluates a checkpoint of a run that has just been trained, and writes its results.

    A damaged best is set aside, and the next best evaluated. `last` are the scores of the last
    step, where they are known: the best checkpoint is often the one just evaluated. For
    `trained_on` and `note` see `save_evaluation`.

    Raises:
      RunError: there is no such checkpoint, or it cannot be evaluated.
    """
    trained = last_step(run.workdir)  # Before a damaged one is set aside.
    with failing():
        with Checkpoints(run.workdir, read_only=True) as checkpoints:
            step, variables = checkpoints.restore_variables(checkpoint, sets_aside=True)
        scored = last if step == trained else None
        save_evaluation(run, step, variables, trained_on=trained_on, note=note, scored=scored)


@contextmanager
def failing() -> Iterator[None]:
    """Turns an InputError in the block into a RunError: it was not found before work began."""
    try:
        yield
    except InputError as error:
        raise RunError(str(error)) from error


def restored_variables(run: Run, checkpoint: str) -> tuple[int, Variables]:
    """Returns (step, variables) of a run's checkpoint "best", "last" or of a step.

    Raises:
      InputError: there is no such checkpoint.
    """
    if run.experiment.init is not None and not has_checkpoint(run.workdir):
        raise InputError(
            f"{run.workdir} holds no checkpoint; train the run first, or evaluate the weights "
            "that it starts from: --evaluate --checkpoint init."
        )
    with Checkpoints(run.workdir, read_only=True) as checkpoints:
        return checkpoints.restore_variables(checkpoint)


def save_evaluation(
    run: Run,
    step: int,
    variables: Variables,
    *,
    trained_on: int | None,
    note: Callable[[str], None],
    scored: Scored | None = None,
    stages: Sequence[tuple[str, Experiment]] = (),
) -> None:
    """Evaluates the variables of a step and writes the run's results.

    Args:
      run: the run.
      step: of the variables.
      variables: of the experiment's network.
      trained_on: images of the evaluation data that are training images; None if not known.
      note: takes the lines about the scores.
      scored: of these variables, where they have been scored already.
      stages: (name, experiment) of a table's rows, the last one the run's own experiment;
        without them there is no table.

    Raises:
      InputError: the network or a stage cannot be evaluated; nothing has been written then.
    """
    experiment, workdir = run.experiment, run.workdir
    check_data(experiment, "eval_data")
    # What is wrong with the last stage should not be found after the first has been scored.
    for stage in [stage for _, stage in stages] or [experiment]:
        check_evaluation(stage, variables)
    forget_predictions(workdir)
    rows = []
    for name, stage in stages[:-1]:
        scores = _score(stage, scorer(stage), variables).scores
        rows.append((name, stage, evaluation_of(stage, scores, step=step)))
        _write_table(run, rows)
    own = scorer(experiment)
    scored = _score(experiment, own, variables) if scored is None else scored
    evaluation = write_results(
        workdir, experiment, own, scored, variables, step=step, trained_on=trained_on
    )
    if stages:
        rows.append((stages[-1][0], experiment, evaluation))
        _write_table(run, rows)
        note("\n".join(table_lines(rows)))
    if run.is_compared:
        save_predictions(workdir, experiment, own, variables)
    if stopped := evaluation.get("stopped_early"):
        note(f"training stopped early {stopped}")
    shown = scored.line() or "no score is defined"
    note(f"step {step}, {evaluation['images']} images: {shown}")
    note(f"report: {workdir / REPORT}")


def _write_table(run: Run, rows: Sequence) -> None:
    if cluster.is_main():
        write_table(run.workdir, rows)


def _score(experiment: Experiment, score: Scorer, variables: Variables) -> Scored:
    i, n = share = cluster.process_share()
    total = len(range(i, len(experiment.eval_data), n))
    quiet = not cluster.is_main()
    with closing(
        Progress(experiment.name, first=0, total=total, unit="image", quiet=quiet)
    ) as progress:
        return score(variables, share=share, progress=lambda done, _: progress.update(done))
