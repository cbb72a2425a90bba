"""What a run's data hold, leave out or hold twice: said before the first step.

Classes that never occur, and evaluation on the images of training, give numbers that look like
results.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from segjax.announce import announced
from segjax.data.by_aspect import ungrouped
from segjax.data.folder import Folder
from segjax.data.survey import SECONDS, Survey, shared_images, survey
from segjax.errors import InputError, first_of
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_alone, is_main
from segjax.report.data_sheet import write_data_sheet
from segjax.report.data_table import data_table


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What was found of a run's data.

    Attributes:
      summary: a table of images, sizes and classes, and where the contact sheets are.
      lines: warnings that a user should read before the run begins.
      trained_on: images of the evaluation data that are training images too, among those
        looked at; None where this is not known.
    """

    summary: str
    lines: tuple[str, ...]
    trained_on: int | None


def data_coverage(experiment: Experiment, *fields: str) -> Coverage:
    """Returns what the prepared datasets of these fields, "train_data" and "eval_data", hold.

    Raises:
      InputError: every pixel of a dataset is ignored, an example cannot be used, or an image
        may be in both splits.
    """
    check_held_out({f: getattr(experiment, f) for f in ("train_data", "eval_data")})
    task, found, lines = experiment.task, {}, []
    for field in fields:
        data = getattr(experiment, field)
        transformed = field == "train_data" and bool(experiment.transforms)
        # Several processes must see the same, and the clock of each is its own.
        seconds = SECONDS if is_alone() else float("inf")
        check = None if transformed else partial(task.check_example, data=data)
        found[field] = survey(data, title=field, seconds=seconds, check=check)
        lines += task.coverage(data, found[field], field=field, transformed=transformed)
    trained_on, more = _trained_on(experiment, found)
    warnings = tuple(f"warning: {line}" for line in (*lines, *more))
    return Coverage(_summary(experiment, found), warnings, trained_on)


def check_held_out(datasets: Mapping[str, Any]) -> None:
    """Raises InputError where the shares of two fields may put an image into both splits.

    Raises:
      InputError: they may; no file is read.
    """
    for (one, a), (other, b) in itertools.combinations(datasets.items(), 2):
        a, b = ungrouped(a), ungrouped(b)
        if isinstance(a, Folder) and isinstance(b, Folder) and a.shares_images_with(b):
            raise InputError(
                f"{one}.held_out={a.held_out} and {other}.held_out={b.held_out} divide the "
                f"images of {a.directory} differently, so that an image may be in both splits: "
                f"set the same held_out in {one} and {other}."
            )


def _summary(experiment: Experiment, found: Mapping[str, Survey]) -> str:
    """Returns the table of the datasets, and a line for each contact sheet.

    The main process alone writes the sheets.
    """
    datasets = {field: getattr(experiment, field) for field in found}
    lines = [data_table({field: (datasets[field], found[field]) for field in found})]
    if is_main():
        with announced("Drawing contact sheets", after=1):
            sheets = [_sheet(field, data) for field, data in datasets.items()]
        lines += filter(None, sheets)
    return "\n".join(lines)


def _sheet(field: str, data: Any) -> str | None:
    """Returns a line on the contact sheet of a dataset; None where it can have none."""
    try:
        path = write_data_sheet(data)
    except OSError as error:
        return f"{field} has no contact sheet: {error.strerror or error}"
    return path and f"{field} on one page: {path}"


def _trained_on(
    experiment: Experiment, found: Mapping[str, Survey]
) -> tuple[int | None, list[str]]:
    """Returns how many evaluation images are training images, and a line on them."""
    evaluated = found.get("eval_data")
    if evaluated is None:
        return None, []
    if _is_same(experiment.train_data, experiment.eval_data):
        shared = [name for _, name in evaluated.images]
        whole = True
        count = evaluated.total
    elif "train_data" in found:
        shared = shared_images(found["train_data"], evaluated)
        whole = found["train_data"].is_whole and evaluated.is_whole
        count = len(shared)
    else:
        return None, []
    if not count:
        return (0 if whole else None), []
    if count == evaluated.total:
        which, names = f"all {count}", ""
    else:
        which = f"{'' if whole else 'at least '}{count} of the {evaluated.total}"
        names = f" ({first_of(shared)})"
    verb, remedy = "is" if count == 1 else "are", ""
    if all(hasattr(d, "split") for d in (experiment.train_data, experiment.eval_data)):
        remedy = "; give train_data and eval_data splits without common images"
    return count, [
        f"{which} images of eval_data {verb} in train_data too{names}: the scores are of "
        f"images that the network is trained on{remedy}."
    ]


def _is_same(one: Any, other: Any) -> bool:
    """Returns whether both are one dataset; False where that cannot be told."""
    try:
        one, other = ungrouped(one), ungrouped(other)
        same = one is other or (type(one) is type(other) and one == other)
    except ValueError:
        return False  # Their arrays do not compare to one truth value.
    return same is True


def uncounted_batches(
    first: Mapping[str, np.ndarray],
    more: Callable[[], Mapping[str, np.ndarray]],
    counts: Callable[[Mapping[str, np.ndarray]], bool],
    *,
    most: int,
) -> str | None:
    """Returns a line if the first `most` batches hold nothing that counts, else None.

    `more` gives one further batch, up to `most` are looked at in all; `counts` says whether a
    batch adds to the loss.
    """
    batch = first
    for _ in range(most - 1):
        if counts(batch):
            return None
        batch = more()
    if counts(batch):
        return None
    return (
        f"warning: no pixel counts in the first {most} batches: wherever the network answers, "
        "what the transforms leave is ignored (255, or of weight 0). Check the crop and its "
        "fill."
    )
