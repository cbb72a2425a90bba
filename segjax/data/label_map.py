"""From the ids in mask files to class ids: pairs of ids, or of ranges, and classes."""

import re
from collections.abc import Sequence
from typing import Any

from segjax.contracts import IGNORE
from segjax.errors import InputError

LabelMap = tuple[tuple[int | str, int], ...]
"""Pairs (which ids of the file, class id or 255); the first pair that fits decides.

Which: an id; ">127", ">=128", "<10", "<=9"; "10-20", both included; "nonzero"; "else", which
comes last. An id that no pair fits stays as it is.
"""

_COMPARED = re.compile(r"(>=|>|<=|<)(-?\d+)")
_FROM_TO = re.compile(r"(\d+)-(\d+)")
_FORMS = "an id, '>127', '>=128', '<10', '<=9', '10-20', 'nonzero' or 'else'"


def check_label_map(label_map: Any, num_classes: int) -> None:
    """Raises InputError unless every pair can be read and leads to a class or to 255.

    Raises:
      InputError: one does not, or takes only ids that earlier pairs take, so never decides.
    """
    pairs = isinstance(label_map, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 for pair in label_map
    )
    if not pairs:
        raise InputError(
            f"label_map={label_map!r} must be pairs (id in the file, class id): write it as "
            "((255, 1),)."
        )
    for key, target in label_map:
        if not _is_id(key) and (not isinstance(key, str) or _fits(key, 0) is None):
            raise InputError(f"label_map cannot read {key!r}: write {_FORMS}.")
        if not _is_id(target) or not (0 <= target < num_classes or target == IGNORE):
            raise InputError(
                f"label_map leads to {target!r} in {(key, target)}, but class ids are 0 to "
                f"{num_classes - 1} (and 255 = ignored)."
            )
    keys = [key for key, _ in label_map]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise InputError(f"label_map names {twice[0]!r} twice: keep one of the pairs.")
    if "else" in keys[:-1]:
        raise InputError("label_map has pairs after 'else', which takes all ids: put it last.")
    _check_each_decides(label_map)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_each_decides(label_map: LabelMap) -> None:
    """Raises InputError for a pair other than 'else' that is the first to fit no id.

    Between two neighbouring bounds of ranges all ids are alike: those at the bounds and beside
    them stand for all.
    """
    ranges = [key for key, _ in label_map if isinstance(key, str)]
    if not ranges:
        return
    bounds = {int(number) for key in ranges for number in re.findall(r"(?<!\d)-?\d+", key)}
    bounds |= {0, *(key for key, _ in label_map if isinstance(key, int))}
    ids = {bound + step for bound in bounds for step in (-1, 0, 1)}
    taken = set()
    for place, (key, target) in enumerate(label_map):
        own = {i for i in ids if key == i or _fits(key, i)}
        if own <= taken and key != "else":
            raise InputError(_never_decides((key, target), own, label_map[:place]))
        taken |= own


def _never_decides(pair: tuple[int | str, int], own: set[int], earlier: LabelMap) -> str:
    """Returns the line on a pair that never decides; `own` are the ids that fit its key."""
    if not own:
        return f"label_map has {pair[0]!r}, which no id fits: write the smaller number first."
    i = min(own)
    first = next(other for other in earlier if i == other[0] or _fits(other[0], i))
    if isinstance(pair[0], int):
        reason = f"{first}, which takes {i} already"
    else:
        reason = f"pairs that take all its ids already, such as {first}"
    return f"label_map has {pair}, which comes after {reason}: put it first."


def classes_of(ids: Sequence[int], label_map: LabelMap) -> list[int]:
    """Returns what the label map makes of each id.

    >>> classes_of([0, 3, 128, 255], ((3, 255), (">127", 1), ("else", 0)))
    [0, 255, 1, 1]
    >>> classes_of([0, 7, 9], ((7, 1),))
    [0, 1, 9]
    """
    exact = {key: target for key, target in label_map if isinstance(key, int)}
    ranges = [pair for pair in label_map if isinstance(pair[0], str)]
    if not ranges:
        return [exact.get(i, i) for i in ids]
    return [_class_of(i, label_map) for i in ids]


def _class_of(i: int, label_map: LabelMap) -> int:
    return next((target for key, target in label_map if key == i or _fits(key, i)), i)


def _fits(key: int | str, i: int) -> bool | None:
    """Returns whether a range holds an id; None if the key is not a range."""
    if not isinstance(key, str):
        return None
    if key in ("else", "nonzero"):
        return key == "else" or i != 0
    if match := _FROM_TO.fullmatch(key):
        return int(match[1]) <= i <= int(match[2])
    if match := _COMPARED.fullmatch(key):
        bound = int(match[2])
        return {">": i > bound, ">=": i >= bound, "<": i < bound, "<=": i <= bound}[match[1]]
    return None


def ids_of_files(label_map: LabelMap, class_names: Sequence[str]) -> tuple[int, ...]:
    """Returns the id in the files of each class, and last that of ignored pixels.

    >>> ids_of_files(((0, 255), (1, 0), (2, 1)), ("road", "car"))
    (1, 2, 0)
    >>> ids_of_files(((255, 1),), ("background", "cell"))
    (0, 255, 255)

    Where the map names an id for each class, files hold these ids alone; so do masks of two
    classes in black and another grey level. Else a class's own id stays in the files too.

    Raises:
      InputError: a class is made of several ids, or of a range, so no single id is right.
    """
    found, targets = [], {target for _, target in label_map}
    are_renamed = targets >= {*range(len(class_names))}
    for index, name in enumerate(class_names):
        ids = [key for key, target in label_map if target == index]
        is_white = len(class_names) == 2 and index == 1 and bool(ids)
        stays = not any(key == index or _fits(key, index) for key, _ in label_map)
        ids += [index] if stays and not (are_renamed or is_white) else []
        if len(ids) != 1 or isinstance(ids[0], str):
            made = (
                f"label_map makes it of {', '.join(map(repr, ids))}"
                if ids
                else "none becomes it"
            )
            raise InputError(
                f"Class {index}, {name}, has no single id in the dataset's files: {made}. "
                "Leave --file-ids out, or map one id to each class."
            )
        found += ids
    ignored = [key for key, target in label_map if target == IGNORE and isinstance(key, int)]
    return (*found, ignored[0] if ignored else IGNORE)


def outside(ids: Sequence[int], label_map: LabelMap, num_classes: int) -> list[int]:
    """Returns the ids that become neither a class nor 255."""
    classes = classes_of(ids, label_map)
    return [
        i
        for i, found in zip(ids, classes, strict=True)
        if found != IGNORE and not 0 <= found < num_classes
    ]


def _from_1(num_classes: int, strange: Sequence[int]) -> str:
    """Returns the remedy where the one strange id is next to the last class, or ""."""
    if num_classes < 3 or [*strange] != [num_classes]:
        return ""
    return (
        f" If ids count from 1 and 0 is no class, set label_map=((0, {IGNORE}), "
        f"*((i + 1, i) for i in range({num_classes})))."
    )


def remedy(ids: Sequence[int], num_classes: int, *, strange: Sequence[int]) -> str:
    """Returns what a label map for such ids looks like, as a user would write it.

    `strange` are those of the ids that become no class.
    """
    if strange[0] < 0:
        is_one = len(strange) == 1 or strange[1] >= 0
        key, who = (
            (strange[0], f"{strange[0]} marks") if is_one else ('"<0"', "ids below 0 mark")
        )
        rest = [i for i in strange if i >= 0]
        then = (
            f", then the others: {remedy([*rest], num_classes, strange=rest)}" if rest else "."
        )
        return f"if {who} ignored pixels, set label_map=(({key}, {IGNORE}),){then}"
    others = [i for i in ids if i != 0]
    if num_classes != 2 or not others:
        return (
            "name all classes, or change ids with label_map; "
            f"(({strange[0]}, {IGNORE}),) ignores {strange[0]}.{_from_1(num_classes, strange)}"
        )
    if len(others) == 1:
        return f"if {others[0]} means class 1, set label_map=(({others[0]}, 1),)."
    half = max(others) // 2
    return (
        f'if these are grey levels, set label_map=((">{half}", 1), ("else", 0)) or '
        '(("nonzero", 1),).'
    )
