"""The parts of a report that show scores of objects and segments: tables by class, curves."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from segjax.report.curves import SHARE, chart, is_number
from segjax.report.legend import swatch
from segjax.report.scroll import scrolling
from segjax.report.svg import Line, percent

LONGEST_COLUMN = 12
"""Rows of a table, before a second one stands beside it."""

MOST_LINES = 5
"""Styles of lines that a page tells apart."""


class ClassRow(NamedTuple):
    """A class in a table: shares by column, the first one is its rank; counts by column."""

    name: str
    colour: Sequence[int]
    shares: Mapping[str, float | None]
    counts: Mapping[str, int]


def class_score_tables(rows: Sequence[ClassRow], *, title: str, absent: str) -> str:
    """Returns the classes in one table or two, the highest first share first.

    Columns are those of the first row. Classes without a first share are listed below.

    Args:
      rows: one a class.
      title: of the tables, for screen readers.
      absent: what is said before the list of the others, such as "Without an object".
    """
    value = lambda row: next(iter(row.shares.values()))
    ranked = sorted((row for row in rows if is_number(value(row))), key=lambda row: -value(row))
    others = ", ".join(row.name for row in rows if not is_number(value(row)))
    below = f"<figcaption>{escape(f'{absent}: {others}.')}</figcaption>" if others else ""
    half = len(ranked) if len(ranked) <= LONGEST_COLUMN else (len(ranked) + 1) // 2
    tables = "".join(
        _table(ranked[start : start + half], title, start)
        for start in range(0, len(ranked), max(half, 1))
    )
    return f'<figure><div class="classes">{tables}</div>{below}</figure>'


def _table(rows: Sequence[ClassRow], title: str, start: int) -> str:
    name = f"{title}, ranks {start + 1} to {start + len(rows)}"
    heads = [f"{column} %" for column in rows[0].shares] + [*rows[0].counts]
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    table = (
        f'<table aria-label="{escape(name)}"><thead><tr><th scope="col">Class</th>'
        f'<td class="bar"></td>{cells}</tr></thead>'
        f"<tbody>{''.join(map(_row, rows))}</tbody></table>"
    )
    return scrolling(table, name=name)


def _row(row: ClassRow) -> str:
    head = f'<tr><th scope="row">{swatch(row.colour)}{escape(row.name)}</th>'
    first, *others = row.shares.values()
    assert first is not None
    counts = "".join(f"<td>{count:,}</td>" for count in row.counts.values())
    bar = f'<span><span style="width:{100 * first:.1f}%"></span></span>'
    shares = "".join(f"<td>{_per_cent(share)}</td>" for share in others)
    return (
        f'{head}<td class="bar">{bar}</td><td class="value">{_per_cent(first)}</td>'
        f"{shares}{counts}</tr>"
    )


def size_table(rows: Mapping[str, Mapping[str, Any]], *, title: str) -> str:
    """Returns a table of shares, {row: {column: share}}; a dash where there is none."""
    columns = list(next(iter(rows.values())))
    heads = "".join(f'<th scope="col">{escape(column)} %</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{_per_cent(shares.get(column))}</td>" for column in columns)
        + "</tr>"
        for name, shares in rows.items()
    )
    table = (
        f'<table aria-label="{escape(title)}"><thead><tr><th scope="col"></th>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table>"
    )
    return f"<figure><h3>{escape(title)}</h3>{scrolling(table, name=title)}</figure>"


def precision_recall_chart(curves: Mapping[str, np.ndarray], *, title: str) -> str:
    """Returns precision over recall; each curve has values at equal steps of recall 0 to 1."""
    lines = []
    for name, precision in list(curves.items())[:MOST_LINES]:
        recall = np.linspace(0, 1, len(precision))
        there = np.isfinite(precision)
        if there.any():
            style = f"line-{1 + len(lines)}"
            lines.append(Line(name, recall[there], precision[there], style))
    return chart(
        title,
        lines,
        "Interpolated precision, a mean over classes. The area below a curve is the AP at that "
        "IoU.",
        y_range=SHARE,
        y_limits=SHARE,
        y_format=percent,
        over="recall",
    )


def _per_cent(value: Any) -> str:
    return f"{100 * value:.1f}" if is_number(value) else "–"
