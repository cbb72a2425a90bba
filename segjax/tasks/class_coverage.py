"""Classes that no label of a dataset has, and labels that are ignored altogether.

Both give numbers that look like results, so they are said before the first step.
"""

from collections.abc import Mapping, Sequence

from segjax.conformity import declares, labelled
from segjax.contracts import IGNORE, LabelledDataset, Mapped
from segjax.data.survey import Survey
from segjax.errors import InputError, first_of


def known_early(datasets: Mapping[str, LabelledDataset]) -> list[str]:
    """Returns the fields of datasets whose classes are known before files are read.

    Raises:
      InputError: a dataset has no class names or palette.
    """
    for field, data in datasets.items():
        labelled(data, field=field)
    return [field for field in datasets if _are_known(datasets[field], datasets["train_data"])]


def _are_known(*datasets: LabelledDataset) -> bool:
    try:
        return all(data.class_names for data in datasets)
    except Exception:
        return False


def _extent(found: Survey, transformed: bool) -> str:
    """Returns what was read; transforms may make other labels of it."""
    return f"{found.extent}, before its transforms" if transformed else found.extent


def all_ignored(
    data: LabelledDataset, found: Survey, *, field: str, transformed: bool
) -> list[str]:
    """Returns a line where every pixel that was seen is ignored; see `Task.coverage`.

    Raises:
      InputError: all pixels there are were seen, so that nothing could be trained or scored.
    """
    if {label for label, count in found.pixels.items() if count} != {IGNORE}:
        return []
    line = (
        f"every pixel of the labels in {field} ({_extent(found, transformed)}) is {IGNORE}, "
        "which is ignored: "
        f"{'nothing would be learned' if field == 'train_data' else 'nothing would be scored'}"
    )
    if found.is_whole and not transformed:
        raise InputError(f"{line}. Check its masks{_label_map_too(data)}.")
    return [f"{line} from them. Check the masks{_label_map_too(data)}."]


def _label_map_too(data: LabelledDataset) -> str:
    return " and its label_map" if declares(data, Mapped) else ""


def absent_classes(
    data: LabelledDataset, found: Survey, *, field: str, transformed: bool
) -> list[str]:
    """Returns a line about the classes of which there is no pixel; see `Task.coverage`."""
    names = data.class_names
    absent = found.absent(len(names))
    if not absent or len(absent) == len(names):
        return []
    one = len(absent) == 1
    listed = first_of([f"{i} {names[i]!r}" for i in absent])
    line = (
        f"{'class' if one else 'classes'} {listed} occur{'s' if one else ''} nowhere in the "
        f"labels of {field} ({_extent(found, transformed)})"
    )
    if found.ignored:
        line += f"; {_percent(found.ignored)} of their pixels are {IGNORE}, which is ignored"
    return [f"{line}.{_meant(field, data, absent, found)}"]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


def _meant(field: str, data: LabelledDataset, absent: Sequence[int], found: Survey) -> str:
    """Returns the remedy where 255 may be a missing class, as in masks of 0 and 255.

    It may where one class alone is missing, or where one alone is there.
    """
    names, pairs = data.class_names, data.label_map if declares(data, Mapped) else None
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
