"""`launch --tune`: times the forms of a run's convolutions, and decides which it takes.

A run takes the forms of its table from the first step to the last, wherever it goes on: other
forms would change its last bits. So a table is only made before the first checkpoint.
"""

import pathlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import jax

from segjax.announce import announced
from segjax.conformity import declares
from segjax.contracts import Grouped
from segjax.data.survey import survey
from segjax.errors import InputError
from segjax.ops.conv_bounds import default_form
from segjax.ops.conv_forms import candidates
from segjax.ops.dispatch import on_cpu
from segjax.ops.forms import QUESTIONS, Case, noted
from segjax.parallel.cluster import is_alone, is_main
from segjax.parallel.data import replicated_shapes
from segjax.parallel.dry_run import dry_run, zeros
from segjax.parallel.sharing import over_devices
from segjax.train.checkpoint import has_checkpoint
from segjax.train.form_table import FILE, FormTable, read_table, table_from_here
from segjax.train.form_times import KeptTimes, Seconds, timed
from segjax.train.log import Progress
from segjax.train.loop import train_step
from segjax.train.plan import Plan
from segjax.train.stand_in import signature

MARGIN = 0.1
"""A form replaces the default one if it takes less time by this share: less may be noise."""

BATCHES = 8
"""Batches that are read where they have several sizes."""

SECONDS = 5.0
"""How long sizes of evaluation images are looked at, where no earlier run has noted them."""


class Cases(NamedTuple):
    """The cases of a run with a choice of forms, and how often each is traced in it.

    `training` counts what a step takes, in the mean over batches of several sizes.
    Micro-batches count, their values twice: the pass that looks for weights is traced too, most
    of which XLA drops. `evaluation` counts what
    a batch of the images of the most frequent size takes.
    """

    training: Mapping[Case, float]
    evaluation: Mapping[Case, float]


def table_of_run(
    plan: Plan, workdir: pathlib.Path, *, tune: bool, note: Callable[[str], None]
) -> FormTable | None:
    """Returns the table by which a run takes its forms; None for the default ones.

    A run that has a checkpoint keeps what it began with. Otherwise, with `tune`, the forms are
    timed here; nothing is written but their times in the cache.

    Raises:
      InputError: the run's table cannot be used, or several processes train it.
    """
    table, began = read_table(workdir), has_checkpoint(workdir)
    if table is not None and (began or not tune):
        if on_cpu():
            note(_said(table, workdir / FILE))
        return table
    if not tune:
        return None
    if began:
        note(
            f"--tune: this run has no {FILE}, as it began with the default forms; it keeps "
            "them, so that its results have the same bits. Tune in a new --workdir."
        )
        return None
    if not on_cpu():
        note(
            f"--tune: there is nothing to choose on a {jax.default_backend().upper()}, where "
            "all convolutions are XLA's own."
        )
        return None
    if not is_alone():
        raise InputError(
            "--tune: several processes train this run, and they would lose their connection "
            "while one of them measures; leave --tune out."
        )
    return tuned(plan, note=note)


def _said(table: FormTable, path: pathlib.Path) -> str:
    """Returns the line of a run that takes the forms of its table."""
    line = f"convolutions take the forms of {path}"
    if foreign := table.foreign():
        line += f", timed {foreign}: the run keeps them, so that its results have the same bits"
    return line


def tuned(plan: Plan, *, note: Callable[[str], None] = print) -> FormTable:
    """Returns the table of the fastest forms for a run on this machine.

    Times that an earlier run measured on this kind of machine are not measured again.

    Args:
      plan: of the run.
      note: takes a summary.
    """
    with announced("Finding the convolutions of a step", after=1):
        cases = cases_of(plan)
    kept = KeptTimes()
    every = [*{**cases.training, **cases.evaluation}]
    unknown = sum(kept.get(case) is None for case in every)
    with closing(
        Progress("tune", first=0, total=unknown, unit="shape", quiet=not is_main())
    ) as progress:
        seconds = timed(every, kept, progress=progress.update)
    note(_summary(cases.training, seconds, unknown=unknown, path=kept.path))
    return table_from_here(
        {str(case): fastest(case, times) for case, times in seconds.items()},
        {
            str(case): {name: round(1e3 * value, 4) for name, value in times.items()}
            for case, times in seconds.items()
        },
    )


def cases_of(plan: Plan) -> Cases:
    """Returns the cases of a training step and of an evaluation; nothing is computed.

    A batch is read for its shapes.
    """
    experiment = plan.experiment
    step = over_devices(
        train_step(plan), split=experiment.split, shard_state=experiment.shard_state
    )
    count = BATCHES if declares(experiment.train_data, Grouped) else 1
    with closing(plan.batches(0)) as batches:  # type: ignore[type-var]
        shapes = {repr(signature(batch)): batch for batch in islice(batches, count)}
    with noted() as training, dry_run():
        for batch in shapes.values():
            step(replicated_shapes(plan.state_shapes()), batch)
    with noted() as evaluation, dry_run():
        plan.scorer().predictions(jax.tree.map(zeros, plan.shapes), _images(plan))
    repeated = {case: n * experiment.accumulate / len(shapes) for case, n in training.items()}
    return Cases(with_choice(repeated), with_choice(evaluation))


def with_choice(cases: Mapping[Case, float]) -> dict[Case, float]:
    """Returns the counts of the cases that several forms can answer."""
    return {case: n for case, n in cases.items() if len(candidates(case)) > 1}


def _images(plan: Plan):
    """Returns zeros for a batch of evaluation images of the most frequent size."""
    evaluation, data = plan.experiment.evaluation, plan.experiment.eval_data
    shapes = survey(data, title="eval_data", seconds=SECONDS).shapes
    shape = max(shapes, key=lambda shape: shapes[shape])
    count = min(evaluation.batch_size, shapes[shape])
    return zeros(jax.ShapeDtypeStruct((count, *shape), data[0]["image"].dtype))


def fastest(case: Case, seconds: Seconds) -> str:
    """Returns the name of the form to take: the default one unless another one clearly wins."""
    default = default_form(case)
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < (1 - MARGIN) * seconds[default] else default


def _summary(
    training: Mapping[Case, float],
    seconds: Mapping[Case, Seconds],
    *,
    unknown: int,
    path: pathlib.Path,
) -> str:
    """Returns what was timed and what differs from the default forms, in a few lines."""
    gained, changed = 0.0, Counter[str]()
    for case, times in seconds.items():
        form, default = fastest(case, times), default_form(case)
        changed[case.question] += form != default
        gained += training.get(case, 0) * (times[default] - times[form])
    if not seconds:
        return "tune: no convolution of this run has a choice of forms."
    each = ", ".join(f"{question} {changed[question]}" for question in QUESTIONS)
    return (
        f"tune: {len(seconds)} shapes of convolutions and of their gradients; {unknown} timed "
        f"now, {len(seconds) - unknown} known from earlier runs ({path})\n"
        f"tune: {changed.total()} of them are computed in another form than by default "
        f"({each}), which should save about {gained:.2g} s of each training step"
    )
