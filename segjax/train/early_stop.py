"""Early stopping: a run ends where its score has not become better for some evaluations.

The decision is a function of the scores by step alone. So a run that was killed, and reads them
from its rows, stops at the same step as one that was not.
"""

import difflib
import json
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from segjax.announce import say
from segjax.errors import InputError, first_of
from segjax.experiment import EarlyStop, Experiment
from segjax.parallel.cluster import is_main
from segjax.parallel.sums import gather_bytes
from segjax.report.score import Score
from segjax.scores.counting import columns
from segjax.tasks.scorer import Scored
from segjax.train.log import METRICS, read_metrics


class Stopped(NamedTuple):
    """Why a run ended: the best score, its step, and the step of the last evaluation."""

    step: int
    best: float | None
    best_step: int | None


def stopped(
    scores: Mapping[int, float | None], stop: EarlyStop, *, higher_is_better: bool
) -> Stopped | None:
    """Returns where scores by step end a run; None if they do not.

    A score that is undefined or not finite is not better.

    >>> stopped({1: 0.5, 2: 0.4, 3: 0.5, 4: 0.9}, EarlyStop(patience=2), higher_is_better=True)
    Stopped(step=3, best=0.5, best_step=1)
    """
    best, best_step, waited = None, None, 0
    sign = 1 if higher_is_better else -1
    for step in sorted(scores):
        score = scores[step]
        if score is None or not math.isfinite(score):
            waited += 1
        elif best is None or sign * (score - best) > stop.min_change:
            best, best_step, waited = score, step, 0
        else:
            waited += 1
        if waited >= stop.patience:
            return Stopped(step, best, best_step)
    return None


def check_stop(experiment: Experiment) -> None:
    """Raises InputError unless the experiment's early stopping has a metric that is logged.

    Raises:
      InputError: it has another; names that are alike are listed.
    """
    if experiment.stop is None or experiment.stop.metric is None:
        return
    name, known = experiment.stop.metric, _logged(experiment)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known)
        raise InputError(
            f"stop.metric={name!r} is not a score that this run logs; use one of "
            f"{', '.join(near)}, or None for {next(iter(known))}."
        )


def _logged(experiment: Experiment) -> dict[str, Score]:
    """Returns {name: how it is read} of the scores in the rows, the primary one first."""
    metric = experiment.task.metric(experiment.eval_data)
    logged = {name: metric.shown[name] for name in (metric.primary, *metric.logged)}
    return logged | columns(experiment.evaluation.extra_metrics)


def early_stop_line(experiment: Experiment, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Returns where and why a run of these rows stopped early; None if it did not.

    `rows` are those of `metrics.jsonl`.
    """
    if (stop := experiment.stop) is None:
        return None
    rows = list(rows)
    name, how = _metric(experiment)
    found = stopped(_scores(rows, name), stop, higher_is_better=how.higher_is_better)
    last = max((row["step"] for row in rows), default=0)
    if found is None or last >= experiment.steps:
        return None
    best = "it was never defined"
    if found.best is not None:
        best = f"the best is {found.best:.4g} at step {found.best_step:,}"
    return (
        f"at step {last:,} of {experiment.steps:,}: {name} has not become better in "
        f"{stop.patience} evaluation{'s' * (stop.patience > 1)} ({best})"
    )


def _metric(experiment: Experiment) -> tuple[str, Score]:
    """Returns the name of the metric that stops a run, and how it is read."""
    assert experiment.stop is not None
    known = _logged(experiment)
    name = experiment.stop.metric or next(iter(known))
    return name, known[name]


def _scores(rows: Iterable[Mapping[str, Any]], name: str) -> dict[int, float | None]:
    return {row["step"]: row[name] for row in rows if name in row}


class EarlyStopping:
    """Early stopping while a run trains: all processes come to the same decision.

    `first` is the step that the run goes on from; rows after it do not count. `scored` says
    whether that step's evaluation was finished. A row that is missing changes where the run
    ends, so a line says which are.

    Attributes:
      has_come: whether the run should take no further step.
    """

    def __init__(
        self, experiment: Experiment, workdir: pathlib.Path, *, first: int, scored: bool = False
    ) -> None:
        self._stop, self.has_come = experiment.stop, False
        if self._stop is None:
            return
        self._name, self._how = _metric(experiment)
        # The rows are the main process's; the others take what it has read.
        rows = read_metrics(workdir) if is_main() else []
        mine = _scores((row for row in rows if row["step"] <= first), self._name)
        if is_main():
            every = experiment.evaluation.every or experiment.checkpoint_every
            due = range(every, first + scored, every)
            if lost := [f"{step:,}" for step in due if step not in mine]:
                say(
                    f"{workdir / METRICS} has no {self._name} of step {first_of(lost)}: early "
                    "stopping counts anew from the rows that are left."
                )
        read = json.dumps([*mine.items()]).encode()
        self._scores = dict(json.loads([*gather_bytes(lambda: read), read][0]))
        self._decide()

    def add(self, step: int, scored: Scored) -> None:
        """Notes the scores of an evaluation."""
        if self._stop is not None:
            self._scores[step] = scored.scores[self._name]
            self._decide()

    def _decide(self) -> None:
        assert self._stop is not None
        better = self._how.higher_is_better
        self.has_come = stopped(self._scores, self._stop, higher_is_better=better) is not None
