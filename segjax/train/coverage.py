"""What a run's data leave out or hold twice, said before its first step.

Classes that no label has, labels that are ignored altogether, and evaluation on the images of
training: all of them give numbers that look like results.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segjax.contracts import IGNORE, Dataset
from segjax.data.survey import SECONDS, Survey, shared_images, survey
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_alone

LISTED = 8
"""Names that a line gives before it counts the others."""


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What was found of a run's data.

    Attributes:
      lines: what a user should read before the run begins.
      trained_on: images of the evaluation data that are training images too, among those
        looked at; None where this is not known.
    """

    lines: tuple[str, ...]
    trained_on: int | None


def coverage(experiment: Experiment, *fields: str) -> Coverage:
    """Looks at the prepared datasets of these fields, "train_data" and "eval_data".

    Raises:
      InputError: every pixel of a dataset is ignored, or an example cannot be used.
    """
    found, lines = {}, []
    for field in fields:
        data = getattr(experiment, field)
        is_final = field == "eval_data" or not experiment.transforms
        # Several processes must see the same, and the clock of each is its own.
        seconds = SECONDS if is_alone() else float("inf")
        found[field] = survey(data, title=field, seconds=seconds, check=is_final)
        lines += _ignored(field, data, found[field], is_final=is_final)
        lines += _absent(field, data, found[field], is_final=is_final)
    trained_on, more = _trained_on(experiment, found)
    return Coverage(tuple(f"warning: {line}" for line in (*lines, *more)), trained_on)


def _extent(found: Survey, is_final: bool) -> str:
    """What was read; transforms may make other labels of it."""
    return found.extent if is_final else f"{found.extent}, before its transforms"


def _ignored(field: str, data: Dataset, found: Survey, *, is_final: bool) -> list[str]:
    if {label for label, count in found.pixels.items() if count} != {IGNORE}:
        return []
    line = (
        f"every pixel of the labels in {field} ({_extent(found, is_final)}) is {IGNORE}, "
        "which is ignored: "
        f"{'nothing would be learned' if field == 'train_data' else 'nothing would be scored'}"
    )
    if found.is_whole and is_final:
        raise InputError(f"{line}. Check its masks{_label_map_too(data)}.")
    return [f"{line} from them. Check the masks{_label_map_too(data)}."]


def _label_map_too(data: Dataset) -> str:
    return " and its label_map" if hasattr(data, "label_map") else ""


def _absent(field: str, data: Dataset, found: Survey, *, is_final: bool) -> list[str]:
    names = data.class_names
    absent = found.absent(len(names))
    if not absent or len(absent) == len(names):
        return []
    one = len(absent) == 1
    listed = _listed([f"{i} {names[i]!r}" for i in absent])
    line = (
        f"{'class' if one else 'classes'} {listed} occur{'s' if one else ''} nowhere in the "
        f"labels of {field} ({_extent(found, is_final)})"
    )
    if found.ignored:
        line += f"; {_percent(found.ignored)} of their pixels are {IGNORE}, which is ignored"
    return [f"{line}.{_meant(field, data, absent, found)}"]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _meant(field: str, data: Dataset, absent: Sequence[int], found: Survey) -> str:
    """The remedy where 255 may be a missing class, as in masks of 0 and 255.

    It may where one class alone is missing, or where one alone is there.
    """
    names, pairs = data.class_names, getattr(data, "label_map", None)
    if not found.ignored or 1 not in (len(absent), len(names) - len(absent)):
        return ""
    if pairs and any(pair[1] == IGNORE for pair in pairs):
        return ""  # The ignored pixels are meant to be.
    missing = absent[0]
    if pairs is None:
        remedy = f"let {type(data).__name__} give {missing} in its place"
    elif pairs:
        remedy = f"add ({IGNORE}, {missing}) to {field}.label_map"
    else:
        remedy = f"read it with {field}.label_map=(({IGNORE}, {missing}),)"
    return f" If {IGNORE} is {names[missing]!r}, {remedy}."


def _trained_on(
    experiment: Experiment, found: Mapping[str, Survey]
) -> tuple[int | None, list[str]]:
    """How many images of the evaluation data are training images, and the line about them."""
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
        names = f" ({_listed(shared)})"
    verb, remedy = "is" if count == 1 else "are", ""
    if all(hasattr(d, "split") for d in (experiment.train_data, experiment.eval_data)):
        remedy = "; give train_data and eval_data splits without common images"
    return count, [
        f"{which} images of eval_data {verb} in train_data too{names}: the scores are of "
        f"images that the network is trained on{remedy}."
    ]


def _is_same(one: Any, other: Any) -> bool:
    """Whether both are one dataset; what compares element by element is not known to be."""
    try:
        same = one is other or (type(one) is type(other) and one == other)
    except ValueError:
        return False  # Their arrays do not compare to one truth value.
    return same is True


def counted(batch: Mapping[str, np.ndarray]) -> bool:
    """Whether a pixel of a batch, on the grid of the logits, adds to the loss."""
    weight = np.asarray(batch.get("weight", 1.0))
    return bool(((np.asarray(batch["label"]) != IGNORE) & (weight > 0)).any())


def uncounted_batches(
    first: Mapping[str, np.ndarray], more: Callable[[], Mapping[str, np.ndarray]], *, most: int
) -> str | None:
    """The line about training that begins without a pixel that counts; None where one does.

    `more` gives one further batch; up to `most` are looked at in all.
    """
    batch = first
    for _ in range(most - 1):
        if counted(batch):
            return None
        batch = more()
    if counted(batch):
        return None
    return (
        f"warning: no pixel counts in the first {most} batches: what the transforms leave of "
        f"the labels is {IGNORE} (or has weight 0) wherever the network answers. Check the "
        "crop and its fill."
    )
