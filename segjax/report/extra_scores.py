"""The parts of a report that show extra scores: tables, trimap curve, reliability diagram."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from segjax.report.curves import SHARE, chart, is_number
from segjax.report.score import Score
from segjax.report.scroll import scrolling
from segjax.report.svg import Line, percent


def score_table(rows: Sequence[tuple[Score, Any, str]]) -> str:
    """Returns a table of (score, value, definition), with the definitions as its last column.

    A score without a definition shares that of the row before.
    """
    body = "".join(
        f'<tr><th scope="row">{escape(score.title)}</th>'
        f'<td class="value">{escape(_text(score, value))}</td>'
        f'<td class="definition">{escape(definition)}</td></tr>'
        for score, value, definition in rows
    )
    heads = (
        '<th scope="col">Score</th><th scope="col">Value</th>'
        '<th scope="col" class="definition">Definition</th>'
    )
    return _table("Other scores", heads, body)


def by_class_table(
    columns: Mapping[Score, Mapping[str, Any]], class_names: Sequence[str]
) -> str:
    """Returns a row for each class and a column for each score, {score: {class: value}}."""
    heads = '<th scope="col">Class</th>' + "".join(
        f'<th scope="col">{escape(score.title)}{" %" * score.is_share}</th>'
        for score in columns
    )
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{_bare(s, values.get(name))}</td>" for s, values in columns.items())
        + "</tr>"
        for name in class_names
    )
    return _table("Other scores by class", heads, body)


def interval_table(
    scores: Mapping[str, Any], intervals: Mapping[str, Any], names: Sequence[str]
) -> str:
    """Returns a table of scores with the ends of their confidence intervals.

    `scores` are entries of an evaluation, which may lack some of the `names`; `intervals` is
    {name: [low, high]}, with "confidence" and "resamples".
    """
    body = ""
    for name in names:
        title = {"mean_iou": "Mean IoU", "mean_dice": "Mean Dice"}.get(name, name)
        cells = "".join(
            f"<td>{_bare(Score(title), value)}</td>"
            for value in (scores.get(name), *intervals[name])
        )
        body += f'<tr><th scope="row">{escape(title)}</th>{cells}</tr>'
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("Score", "Value %", "From %", "To %")
    )
    title = f"{100 * intervals['confidence']:g} % confidence intervals"
    return (
        f"<figure><h3>{title}</h3>{_table(title, heads, body)}"
        "<figcaption>Percentile bootstrap over the images, "
        f"{intervals['resamples']:,} resamples. The intervals do not show the spread over "
        "training seeds.</figcaption></figure>"
    )


def trimap_chart(values: Mapping[str, Any]) -> str:
    """Returns mean IoU over the width of the trimap, from {width: mean IoU}."""
    there = {int(width): value for width, value in values.items() if is_number(value)}
    lines = [Line("mean IoU", np.array([*there]), np.array([*there.values()]), dots=True)]
    return chart(
        "Mean IoU in a trimap",
        lines if there else [],
        "Mean IoU of the pixels within so many pixels of a border of the truth. A low start "
        "means inexact borders.",
        y_limits=SHARE,
        y_format=percent,
        over="width in pixels",
    )


def reliability_diagram(reliability: Mapping[str, Sequence[Any]]) -> str:
    """Returns accuracy over confidence, with the diagonal of perfect calibration."""
    bins = zip(*(reliability[name] for name in ("confidence", "accuracy")), strict=True)
    points = np.array([pair for pair in bins if all(map(is_number, pair))]).reshape(-1, 2)
    if not len(points):
        return ""
    diagonal = Line("perfect calibration", np.array([0.0, 1.0]), np.array([0.0, 1.0]), "line-3")
    return chart(
        "Reliability diagram",
        [Line("accuracy", points[:, 0], points[:, 1], dots=True), diagonal],
        "Each dot is a bin of pixels with similar confidence. Below the diagonal the network "
        "is too confident, above it not confident enough.",
        y_range=SHARE,
        y_limits=SHARE,
        over="confidence",
    )


def _table(title: str, heads: str, body: str) -> str:
    table = (
        f'<table aria-label="{escape(title)}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    return scrolling(table, name=title)


def _text(score: Score, value: Any) -> str:
    return score.text(value) if is_number(value) else "–"


def _bare(score: Score, value: Any) -> str:
    """Returns a value without its unit, which the head of the column has."""
    if not is_number(value):
        return "–"
    return f"{100 * value:.2f}" if score.is_share else f"{value:.4g}"
