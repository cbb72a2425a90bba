"""Black-and-white masks: whether all files of a set mean one class by white."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from segjax.data.label_map import LabelMap, classes_of
from segjax.types import IGNORE

EVERYWHERE = (255, 65535)
"""White whatever the file's depth; 1 may be white too, or class 1."""

MOST_NAMES = 128
"""A longer label map of single ids is a threshold, written out."""


@dataclass(frozen=True)
class Found:
    """What one mask holds: 255, its three lowest ids, and the largest that its file could."""

    path: pathlib.Path
    ids: tuple[int, ...]
    largest: int

    @classmethod
    def of(cls, path: pathlib.Path, ids: Sequence[int], *, largest: int) -> "Found":
        """From all ids in rising order: of many, a few tell as much about white."""
        return cls(path, (*ids[:3], *(i for i in ids[3:] if i == 255)), largest)


def mixed_whites(masks: Sequence[Found], label_map: LabelMap) -> str | None:
    """The line that says so where some masks store white as 1 and others as 255, or None.

    White is 1, 255, 65535 or the largest sample of 2 or 4 bits, alone beside 0; where the label
    map makes a class of 255, that is white beside grey levels too. Two whites that become
    different classes are mixed, unless the label map names each of them, or 255 stands beside
    class ids elsewhere and so is what is ignored.
    """
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


def _named(label_map: LabelMap) -> set[int]:
    """Ids of which the label map speaks by name, and not only as one of many levels."""
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
