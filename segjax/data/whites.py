"""Black-and-white masks: whether all files of a set mean one class by white."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from segjax.contracts import IGNORE
from segjax.data.label_map import LabelMap, classes_of
from segjax.data.lossy_masks import Levels

EVERYWHERE = (255, 65535)
"""White whatever the file's depth; 1 may be white too, or class 1."""

MOST_NAMES = 128
"""A longer label map of single ids is a threshold, written out."""


@dataclass(frozen=True)
class Found:
    """What one mask holds.

    Attributes:
      path: of the mask.
      ids: its three lowest, and 255.
      classes: what all its ids but 0 become.
      largest: the largest id that its file could store.
      levels: of a mask that is stored with loss, else None.
    """

    path: pathlib.Path
    ids: tuple[int, ...]
    classes: frozenset[int]
    largest: int
    levels: Levels | None = None

    @classmethod
    def of(
        cls,
        path: pathlib.Path,
        ids: Sequence[int],
        classes: Sequence[int],
        *,
        largest: int,
        levels: Levels | None = None,
    ) -> "Found":
        """Returns what is noted of a mask's ids, given in rising order, and their classes."""
        few = (*ids[:3], *(i for i in ids[3:] if i == 255))
        made = frozenset(c for i, c in zip(ids, classes, strict=True) if i != 0)
        return cls(path, few, made, largest, levels)


def mixed_whites(masks: Sequence[Found], label_map: LabelMap) -> str | None:
    """Returns a line if some masks store white as 1 and others as 255, else None.

    White is 1, 255, 65535 or the largest sample of 2 or 4 bits, alone beside 0; where the label
    map makes a class of 255, that is white beside grey levels too. Two whites that become
    different classes are mixed, unless the label map names each of them, or 255 stands beside
    class ids elsewhere and so is what is ignored.

    White may also be any grey level that a threshold cuts off: where the label map makes one
    class of 0 and 1, masks of nothing but these would lose what they show. Masks that are
    stored with loss have no exact white, and do not count.
    """
    masks = [mask for mask in masks if mask.levels is None]
    return _different_whites(masks, label_map) or _emptied(masks, label_map)


def _different_whites(masks: Sequence[Found], label_map: LabelMap) -> str | None:
    levels = classes_of([255], label_map) != [IGNORE]
    if not levels and any(255 in mask.ids and {*mask.ids} - {0, 255} for mask in masks):
        return None
    groups: dict[int, list[Found]] = {}
    for mask in masks:
        if white := _white(mask, levels=levels):
            groups.setdefault(white, []).append(mask)
    classes = dict(zip(groups, classes_of(list(groups), label_map), strict=True))
    if not groups.keys() & {*EVERYWHERE} or len({*classes.values()}) < 2:
        return None
    if groups.keys() <= _named(label_map):
        return None
    counted = " and ".join(
        f"{len(group)} hold 0 and {white} (class {classes[white]}; first {group[0].path})"
        for white, group in sorted(groups.items())
    )
    return (
        f"The masks store white in different ways: {counted}. If white is one class, set "
        'label_map=(("nonzero", 1),); if not, name each id in label_map.'
    )


def _emptied(masks: Sequence[Found], label_map: LabelMap) -> str | None:
    black, lost = classes_of([0, 1], label_map)
    if black != lost or not _is_threshold(label_map):
        return None
    empty = [mask for mask in masks if 1 in mask.ids and {*mask.ids} <= {0, 1}]
    others = [mask for mask in masks if mask.classes - {lost, IGNORE}]
    if not empty or not others:
        return None
    shown = min(others[0].classes - {lost, IGNORE})
    return (
        f"The masks store white in different ways: {len(empty)} hold nothing above 1 (class "
        f"{lost}; first {empty[0].path}) and {len(others)} hold larger ids (class {shown}; "
        f"first {others[0].path}). If 1 is white there, let label_map begin with (1, {shown}); "
        f"if not, with (1, {lost})."
    )


def _is_threshold(label_map: LabelMap) -> bool:
    """Returns whether a range decides on 1, or a list of ids that spells out a range."""
    if len(label_map) > MOST_NAMES and not any(isinstance(key, str) for key, _ in label_map):
        classes = [c for c in classes_of(range(256), label_map) if c != IGNORE]
        return sum(one != other for one, other in pairwise(classes)) == 1
    return 1 not in _named(label_map)


def _named(label_map: LabelMap) -> set[int]:
    """Returns ids of which the label map speaks by name, and not only as one of many levels."""
    if len(label_map) > MOST_NAMES:
        return set()
    ranges = any(isinstance(key, str) for key, _ in label_map)
    return {key for key, _ in label_map if isinstance(key, int)} | (set() if ranges else {1})


def _white(mask: Found, *, levels: bool) -> int | None:
    others = {*mask.ids} - {0}
    if levels and 255 in others:
        return 255
    if len(others) != 1:
        return None
    (white,) = others
    return white if white in (1, *EVERYWHERE) or white == mask.largest else None
