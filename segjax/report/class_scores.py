"""The parts of a report that show one evaluation: scores by class, and confusions."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from segjax.report.curves import is_number
from segjax.report.svg import LABELLED_CLASSES, confusion_matrix_svg, strength

LONGEST_COLUMN = 12
MOST_CONFUSIONS = 10


def swatch(colour: np.ndarray) -> str:
    """Returns a small square of a palette's colour."""
    red, green, blue = (int(value) for value in colour)
    return f'<span class="swatch" style="background:#{red:02x}{green:02x}{blue:02x}"></span>'


def numbered(class_names: Sequence[str]) -> Sequence[str]:
    """Returns the names, each after its id where the confusion matrix has room for ids only."""
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
    return (
        f'<div class="scroll"><table aria-label="{name}"><thead><tr><th scope="col">Class</th>'
        '<td></td><th scope="col">IoU %</th>'
        '<th scope="col">Recall %</th><th scope="col" class="optional">Precision %</th>'
        '<th scope="col" class="optional">Pixels %</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _class_row(name: str, iou: Any, confusion: np.ndarray, i: int, colour: np.ndarray) -> str:
    head = f'<tr><th scope="row">{swatch(colour)}{escape(name)}</th>'
    if not is_number(iou):
        return head + '<td class="absent" colspan="5">absent</td></tr>'
    right = confusion[i, i]
    return (
        f'{head}<td class="bar"><span><span style="width:{100 * iou:.1f}%"></span></span></td>'
        f'<td class="value">{100 * iou:.1f}</td>'
        f"<td>{_per_cent(right, confusion[i].sum())}</td>"
        f'<td class="optional">{_per_cent(right, confusion[:, i].sum())}</td>'
        f'<td class="optional">{_per_cent(confusion[i].sum(), confusion.sum())}</td></tr>'
    )


def _per_cent(part: Any, whole: Any) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"


def confusions(confusion: np.ndarray, class_names: Sequence[str], palette: np.ndarray) -> str:
    """Returns the matrix as a heat map, and beside it the most frequent confusions as a
    table.
    """
    label = f"Confusion matrix of {len(class_names)} classes: row truth, column prediction"
    scale = "".join(_scale(style) for style in ("right", "wrong"))
    return (
        '<div class="matrix"><figure>'
        '<div class="scroll" role="region" aria-label="Confusion matrix" tabindex="0">'
        f"{confusion_matrix_svg(confusion, class_names, label=label)}</div>"
        f'<ul class="lines">{scale}</ul><figcaption>A row is a true class, a column what was '
        "predicted for it, a cell the share of the row in per cent. An empty row: no such "
        "pixel in the truth.</figcaption></figure>"
        f"{_top(confusion, numbered(class_names), palette)}</div>"
    )


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
        return '<p class="note">No pixel is confused.</p>'
    rows = (
        f'<tr><th scope="row">{swatch(palette[i])}{escape(class_names[i])}</th>'
        f'<td class="name">{swatch(palette[j])}{escape(class_names[j])}</td>'
        f"<td>{_per_cent(wrong[i, j], wrong.sum())}</td></tr>"
        for i, j in pairs
    )
    return (
        '<figure><div class="scroll"><table aria-label="Most frequent confusions"><thead><tr>'
        '<th scope="col">Truth</th><th scope="col" class="name">Taken for</th>'
        '<th scope="col">Errors %</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<figcaption>The confusions that cost the most pixels, as shares of all wrong "
        "pixels.</figcaption></figure>"
    )
