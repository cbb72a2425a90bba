"""What datasets hold, as a small table of text: a column a dataset."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from segjax.conformity import declares, has_planes
from segjax.contracts import IGNORE, LabelledDataset
from segjax.data.survey import OUTSIDE, Survey
from segjax.errors import first_of

MOST = 12
"""Classes that have a row of their own."""

Row = tuple[str, ...]


def data_table(datasets: Mapping[str, tuple[Any, Survey]]) -> str:
    """Returns lines that say how many images of which sizes there are, and what is in them.

    `datasets` are (dataset, what was found in it) by the name of their column. Shares are of
    all pixels of the labels; those of classes that may overlap are each of one plane's pixels.
    Of more than `MOST` classes the most frequent have a row each.

    >>> found = Survey({}, (("d", "a"), ("e", "b")), 2, {(360, 480, 3): 1, (375, 500, 3): 1})
    >>> print(data_table({"train_data": (None, found)}))
                          train_data
    images                         2
    size          480x360 to 500x375
    channels                       3
    """
    found = [survey for _, survey in datasets.values()]
    rows: list[Row] = [
        ("", *datasets),
        ("images", *map(_images, found)),
        ("size", *map(_sizes, found)),
        ("channels", *map(_channels, found)),
    ]
    shares = [_shares(data, survey) for data, survey in datasets.values()]
    lines = _aligned([*rows, *_class_rows(shares)])
    for name, share in zip(datasets, shares, strict=True):
        absent = [key.name for key, value in share.items() if not value and key.id is not None]
        if len(share) > MOST + 1 and absent:
            lines.append(f"absent from {name}: {first_of(absent)}")
    return "\n".join(lines)


class Pixels(NamedTuple):
    """The pixels that a row is about: those of a class, or of no class (`id` is None).

    Names may be equal; ids tell classes apart.
    """

    name: str
    id: int | None = None


OTHERS, IGNORED = Pixels("other ids"), Pixels("ignored")


def _aligned(rows: Sequence[Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _images(found: Survey) -> str:
    return f"{found.total}" if found.is_whole else f"{len(found.images)} of {found.total} read"


def _sizes(found: Survey) -> str:
    """Returns width x height: one size, or the smallest and the largest."""
    sizes = sorted({(h * w, w, h) for h, w, _ in found.shapes})
    ends = [f"{w}x{h}" for _, w, h in (sizes[:1] + sizes[-1:] if sizes[1:] else sizes)]
    return " to ".join(ends) or "–"


def _channels(found: Survey) -> str:
    return ", ".join(map(str, sorted({c for _, _, c in found.shapes}))) or "–"


def _shares(data: Any, found: Survey) -> dict[Pixels, float]:
    """Returns the share of each class and of ignored pixels; {} without classes or pixels."""
    total = sum(found.pixels.values())
    if not declares(data, LabelledDataset) or not total:
        return {}
    names, planes = data.class_names, has_planes(data)
    each = total / len(names) if planes else total
    # A class may have the name of another, or of a row of pixels without class.
    taken = [*names, OTHERS.name, IGNORED.name]
    name = lambda i: names[i] if taken.count(names[i]) == 1 else f"{names[i]} ({i})"
    shares = {Pixels(name(i), i): found.pixels.get(i, 0) / each for i in range(len(names))}
    known = {*range(len(names)), IGNORE} | ({OUTSIDE} if planes else set())
    if others := sum(count for i, count in found.pixels.items() if i not in known):
        shares[OTHERS] = others / total
    return {**shares, IGNORED: found.ignored}


def _class_rows(shares: Sequence[Mapping[Pixels, float]]) -> list[Row]:
    """Returns a row for each class, or for the most frequent ones, and one for the ignored."""
    keys = list(dict.fromkeys(key for each in shares for key in each if key != IGNORED))
    most = lambda key: -max(each.get(key, 0.0) for each in shares)
    shown = keys if len(keys) <= MOST else sorted(keys, key=most)[:MOST]
    row = lambda key: (key.name, *(_percent(each.get(key)) for each in shares))
    rows = [row(key) for key in shown]
    if rest := [key for key in keys if key not in shown]:
        sums = [sum(each.get(key, 0.0) for key in rest) if each else None for each in shares]
        rows.append((f"{len(rest)} more classes", *map(_percent, sums)))
    return [*rows, row(IGNORED)] if keys else rows


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    if not share:
        return "none"
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"
