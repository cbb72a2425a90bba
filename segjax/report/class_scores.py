"""The parts of a report that show one evaluation: scores by class, and confusions."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from segjax.report.curves import is_number
from segjax.report.legend import swatch
from segjax.report.matrix import (
    LABELLED_CLASSES,
    confusion_matrix_svg,
    least_width,
    strength,
)
from segjax.report.scroll import scrolling

LONGEST_COLUMN = 12
MOST_CONFUSIONS = 10


def numbered(class_names: Sequence[str]) -> Sequence[str]:
    """Returns the names; for a matrix that shows ids only, each name after its id."""
    if len(class_names) <= LABELLED_CLASSES:
        return class_names
    return [f"{i} {name}" for i, name in enumerate(class_names)]


def class_tables(
    iou: Mapping[str, Any],
    confusion: np.ndarray,
    class_names: Sequence[str],
    palette: np.ndarray,
) -> str:
    """Returns IoU by class, the highest first and absent classes last, in one table or two.

    Raises:
      ValueError: the matrix does not fit the names, or the palette is not 256 × 3.
    """
    k = len(class_names)
    if confusion.shape != (k, k):
        raise ValueError(f"{k} class names need a {k} × {k} matrix, got {confusion.shape}.")
    if palette.shape != (256, 3):
        raise ValueError(f"A palette has a colour for each of 256 labels, got {palette.shape}.")
    names, values = numbered(class_names), [iou.get(name) for name in class_names]
    rank = [-value if is_number(value) else np.inf for value in values]
    rows = [
        _class_row(names[i], values[i], confusion, i, palette[i])
        for i in map(int, np.argsort(rank, kind="stable"))
    ]
    half = len(rows) if len(rows) <= LONGEST_COLUMN else (len(rows) + 1) // 2
    tables = (_class_table(rows[i : i + half], i) for i in range(0, len(rows), half))
    return f'<div class="classes">{"".join(tables)}</div>'


def _class_table(rows: Sequence[str], start: int) -> str:
    name = f"IoU by class, ranks {start + 1} to {start + len(rows)}"
    table = (
        f'<table aria-label="{name}"><thead><tr><th scope="col">Class</th>'
        '<td class="bar"></td><th scope="col">IoU %</th><th scope="col">Recall %</th>'
        '<th scope="col">Precision %</th><th scope="col">Pixels %</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return scrolling(table, name=name)


def _class_row(name: str, iou: Any, confusion: np.ndarray, i: int, colour: np.ndarray) -> str:
    head = f'<tr><th scope="row">{swatch(colour)}{escape(name)}</th>'
    if not is_number(iou):
        # One cell a column: the bar's has no place on a narrow page.
        return head + '<td class="bar"></td><td class="absent" colspan="4">absent</td></tr>'
    right = confusion[i, i]
    return (
        f'{head}<td class="bar"><span><span style="width:{100 * iou:.1f}%"></span></span></td>'
        f'<td class="value">{100 * iou:.1f}</td>'
        f"<td>{_per_cent(right, confusion[i].sum())}</td>"
        f"<td>{_per_cent(right, confusion[:, i].sum())}</td>"
        f"<td>{_per_cent(confusion[i].sum(), confusion.sum())}</td></tr>"
    )


def _per_cent(part: Any, whole: Any) -> str:
    """Returns a share as "12.3", "< 0.1" where it is not quite 0, "–" where it is of nothing.

    >>> _per_cent(1, 8), _per_cent(1, 10_000), _per_cent(0, 8), _per_cent(0, 0)
    ('12.5', '< 0.1', '0.0', '–')
    """
    if not whole:
        return "–"
    value = 100 * part / whole
    return "< 0.1" if 0 < value < 0.05 else f"{value:.1f}"


def confusions(confusion: np.ndarray, class_names: Sequence[str], palette: np.ndarray) -> str:
    """Returns the matrix as a heat map and a table of the most frequent confusions."""
    label = f"Confusion matrix of {len(class_names)} classes: rows truth, columns prediction"
    matrix = scrolling(
        confusion_matrix_svg(confusion, class_names, label=label),
        name="Confusion matrix",
        needs=least_width(class_names),
    )
    scale = "".join(_scale(style) for style in ("right", "wrong"))
    return (
        f'<div class="matrix"><figure>{matrix}<ul class="lines">{scale}</ul>'
        "<figcaption>Rows are true classes, columns are predicted classes. A cell is the "
        f"percentage of the row's pixels. {_sides(class_names)}</figcaption></figure>"
        f"{_top(confusion, numbered(class_names), palette)}</div>"
    )


def _sides(class_names: Sequence[str]) -> str:
    if len(class_names) > LABELLED_CLASSES:
        return "The sides show class ids. The row of a class without true pixels is empty."
    return "The row of a class without true pixels is empty, and its name is in italics."


def _scale(style: str) -> str:
    samples = "".join(
        f'<svg viewBox="0 0 22 10" aria-hidden="true"><rect class="{style}" width="22" '
        f'height="10" fill-opacity="{strength(share):.2f}"/></svg>'
        for share in (0.05, 0.25, 1.0)
    )
    return f"<li>{samples}{style}: 5, 25, 100 %</li>"


def _top(confusion: np.ndarray, class_names: Sequence[str], palette: np.ndarray) -> str:
    wrong = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = [divmod(int(at), len(wrong)) for at in order if wrong.flat[at]]
    if not pairs:
        right = "Every pixel has its true class." if confusion.any() else "No pixel is counted."
        return f'<p class="note">{right}</p>'
    rows = (
        f'<tr><th scope="row">{swatch(palette[i])}{escape(class_names[i])}</th>'
        f'<td class="name">{swatch(palette[j])}{escape(class_names[j])}</td>'
        f"<td>{_per_cent(wrong[i, j], wrong.sum())}</td></tr>"
        for i, j in pairs
    )
    name = "Most frequent confusions"
    table = (
        f'<table aria-label="{name}"><thead><tr>'
        '<th scope="col">Truth</th><th scope="col" class="name">Predicted</th>'
        '<th scope="col">Errors %</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return (
        f"<figure>{scrolling(table, name=name)}"
        "<figcaption>The confusions with the most pixels, in per cent of all wrong "
        "pixels.</figcaption></figure>"
    )
