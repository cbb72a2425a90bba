"""What datasets hold, as a small table of text: a column a dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

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
        absent = [key for key, value in share.items() if not value and key != "ignored"]
        if len(share) > MOST + 1 and absent:
            lines.append(f"absent from {name}: {first_of(absent)}")
    return "\n".join(lines)


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


def _shares(data: Any, found: Survey) -> dict[str, float]:
    """Returns the share of each class and of ignored pixels; {} without classes or pixels."""
    total = sum(found.pixels.values())
    if not declares(data, LabelledDataset) or not total:
        return {}
    names, planes = data.class_names, has_planes(data)
    each = total / len(names) if planes else total
    # Two classes may share a name; the id tells them apart.
    key = lambda i: names[i] if names.count(names[i]) == 1 else f"{names[i]} ({i})"
    shares = {key(i): found.pixels.get(i, 0) / each for i in range(len(names))}
    known = {*range(len(names)), IGNORE} | ({OUTSIDE} if planes else set())
    if others := sum(count for i, count in found.pixels.items() if i not in known):
        shares["other ids"] = others / total
    return {**shares, "ignored": found.ignored}


def _class_rows(shares: Sequence[Mapping[str, float]]) -> list[Row]:
    """Returns a row for each class, or for the most frequent ones, and one for the ignored."""
    names = list(dict.fromkeys(name for each in shares for name in each if name != "ignored"))
    most = lambda name: -max(each.get(name, 0.0) for each in shares)
    shown = names if len(names) <= MOST else sorted(names, key=most)[:MOST]
    row = lambda name: (name, *(_percent(each.get(name)) for each in shares))
    rows = [row(name) for name in shown]
    if rest := [name for name in names if name not in shown]:
        sums = [sum(each.get(name, 0.0) for name in rest) if each else None for each in shares]
        rows.append((f"{len(rest)} more classes", *map(_percent, sums)))
    return [*rows, row("ignored")] if names else rows


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    if not share:
        return "none"
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"
