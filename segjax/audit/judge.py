"""Findings about what was read: classes and masks of one dataset, copies within and across."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from segjax.audit.copies import near_copies
from segjax.audit.findings import Finding, Shown
from segjax.audit.holdings import Holdings
from segjax.audit.look import Look
from segjax.contracts import IGNORE
from segjax.data.faults import Fault
from segjax.errors import first_of

MOST_CLASSES = 12
"""Absent classes that a line names."""


def of_faults(field: str, faults: Iterable[tuple[Fault, Any]]) -> Iterator[Finding]:
    """Yields a finding for each fault of a dataset's files or examples."""
    for fault, place in faults:
        name = fault.files[0].name if fault.files else field
        shown = () if place is None else (Shown(field, name, place),)
        values = {"ids": {str(i): n for i, n in fault.pixels.items()}} if fault.pixels else {}
        text = str(fault)
        if fault.pixels:
            text += f" Pixels: {_pixels(fault.pixels)}."
        yield Finding(fault.kind, (field,), text, tuple(map(str, fault.files)), shown, values)


def _pixels(counts: Mapping[int, int]) -> str:
    most = sorted(counts.items(), key=lambda pair: -pair[1])
    return first_of([f"{n:,} of id {i}" for i, n in most])


def of_masks(field: str, looks: Sequence[Look], held: Holdings) -> Iterator[Finding]:
    """Yields a finding for each mask that is ignored altogether, or of one class."""
    for look in looks:
        k = len(held.class_names)
        shown = (Shown(field, look.name, look.place),)
        if (
            k
            and not look.counts.unknown
            and sum(look.counts.ignored) == look.counts.area * len(look.counts.ignored)
        ):
            text = (
                f"{look.name}: every pixel of the mask is {IGNORE}, which is ignored, so the "
                "image adds nothing. Mend the mask, or leave the image out."
            )
            yield Finding("all_ignored", (field,), text, shown=shown)
        elif held.counts.planes and not any(look.counts.pixels) and not look.counts.unknown:
            text = (
                f"{look.name}: no plane has a pixel inside. That is right if the image shows "
                "none of the classes; otherwise its masks are missing or empty."
            )
            yield Finding("no_class", (field,), text, shown=shown)
        elif not held.counts.planes and _alone(look) is not None:
            i = _alone(look) or 0
            text = (
                f"{look.name}: every pixel that counts is {i} {held.class_names[i]!r}. That is "
                "right if the image shows nothing else; otherwise the mask is empty."
            )
            yield Finding("one_class", (field,), text, shown=shown, values={"class": i})


def _alone(look: Look) -> int | None:
    """Returns the one class of a mask; None where it has more, or none."""
    there = [k for k, count in enumerate(look.counts.pixels) if count]
    return there[0] if len(there) == 1 and not look.counts.unknown else None


def of_classes(field: str, held: Holdings) -> Iterator[Finding]:
    """Yields findings about classes without a pixel, and about a dataset without any class."""
    absent, names = held.counts.absent, held.class_names
    if not held.read or not names:
        return
    # 255 of some planes may be ignored while others are 0.
    if len(absent) == len(names) and held.ignored == held.pixels:
        text = (
            f"Every pixel of {field} is {IGNORE}, which is ignored, so nothing can be learned "
            "or scored. Check its masks and label_map."
        )
        yield Finding("nothing_counts", (field,), text)
        return
    if absent:
        listed = first_of([f"{i} {names[i]!r}" for i in absent], most=MOST_CLASSES)
        several = len(absent) > 1
        part = "" if held.complete else f" in the {held.read:,} of {held.total:,} examples read"
        text = (
            f"{field} has no pixel of class{'es' * several} {listed}{part}: a network "
            f"cannot learn {'them' if several else 'it'} from these labels, and IoU is "
            "undefined on them. If that is wrong, check label_map and the order of class_names."
        )
        yield Finding("absent_class", (field,), text, values={"classes": absent})


class _Copy(NamedTuple):
    field: str
    look: Look


def of_copies(looks: Mapping[str, Sequence[Look]]) -> Iterator[Finding]:
    """Yields a finding for each group of equal images, and for each of near-copies.

    In a group of near-copies, equal images stand once for each dataset.
    """
    copies = [_Copy(field, look) for field, found in looks.items() for look in found]
    by_digest: dict[str, list[_Copy]] = defaultdict(list)
    for copy in copies:
        by_digest[copy.look.image_digest].append(copy)
    groups = list(by_digest.values())
    for group in groups:
        if len(group) > 1:
            yield _exact(group)
    if not groups:
        return
    for near in near_copies(np.stack([group[0].look.grey for group in groups])):
        alike = [_Copy(field, look) for i in near for field, look in _once(groups[i])]
        yield _near(alike, across=len({copy.field for i in near for copy in groups[i]}) > 1)


def _once(group: Sequence[_Copy]) -> list[_Copy]:
    """Returns the first copy of each dataset."""
    return list({copy.field: copy for copy in reversed(group)}.values())[::-1]


def _exact(group: Sequence[_Copy]) -> Finding:
    fields = tuple(dict.fromkeys(copy.field for copy in group))
    differ = len({copy.look.label_digest for copy in group}) > 1
    masks = "; their masks differ" if differ else ""
    if len(fields) > 1:
        text = (
            f"{_listed(group)} are one image, pixel for pixel{masks}: a score on it does not "
            "show how well the network does on new images. Keep it in one of the splits."
        )
        kind = "copy_across"
    elif differ:
        text = (
            f"{_listed(group)} are one image, pixel for pixel, but their masks differ: keep "
            "the right mask, and leave the other copy out."
        )
        kind = "copy_labels_differ"
    else:
        text = f"{_listed(group)} are one image, pixel for pixel: keep one of them."
        kind = "copy_inside"
    return Finding(kind, fields, text, shown=_shown(group), values={"masks_differ": differ})


def _near(group: Sequence[_Copy], *, across: bool) -> Finding:
    fields = tuple(dict.fromkeys(copy.field for copy in group))
    text = f"{_listed(group)} look almost the same"
    if across:
        text += (
            ": copies that were compressed or resized, or frames of one video. Keep them in "
            "one split, or scores are too high."
        )
    else:
        text += ": copies, or frames of one video. Keep all of them in this split."
    kind = "near_copy_across" if across else "near_copy_inside"
    return Finding(kind, fields, text, shown=_shown(group))


def _listed(group: Sequence[_Copy]) -> str:
    several = len({copy.field for copy in group}) > 1
    names = [f"{copy.field}: {copy.look.name}" if several else copy.look.name for copy in group]
    shown = names[:6]
    if several and len(names) > 6:  # Name one of each dataset at least.
        first = {copy.field: name for copy, name in zip(group[::-1], names[::-1], strict=True)}
        shown = list(dict.fromkeys([*first.values(), *names]))[:6]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def _shown(group: Sequence[_Copy]) -> tuple[Shown, ...]:
    return tuple(Shown(copy.field, copy.look.name, copy.look.place) for copy in group)
