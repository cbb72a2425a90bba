"""The parts of a report that show planes: scores by class, curves over thresholds, pictures."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from segjax.contracts import IGNORE
from segjax.drawing.overlay import LUMINANCE, UNCOUNTED, WRONG, as_rgb, planes_overlay
from segjax.report.class_maps import error_marks
from segjax.report.curves import SHARE, chart, is_number
from segjax.report.examples import Panels, Picture, shrunk
from segjax.report.legend import legend_item, swatch
from segjax.report.scroll import scrolling
from segjax.report.svg import Line, percent

COLUMNS = {"dice": "Dice %", "iou": "IoU %", "precision": "Precision %", "recall": "Recall %"}
MOST_LINES = 5
"""Styles of lines that a page tells apart."""


def plane_table(
    scores: Mapping[str, Mapping[str, Any]], colours: np.ndarray, *, title: str
) -> str:
    """Returns scores by class as a table, the highest Dice first.

    `scores` is {score: {class: value}}, `colours` one a class.
    """
    names = list(scores["dice"])
    rank = [-value if is_number(value) else np.inf for value in scores["dice"].values()]
    rows = []
    for i in map(int, np.argsort(rank, kind="stable")):
        cells = "".join(f"<td>{_per_cent(scores[key].get(names[i]))}</td>" for key in COLUMNS)
        head = f'<th scope="row">{swatch(colours[i])}{escape(names[i])}</th>'
        rows.append(f"<tr>{head}{cells}</tr>")
    heads = "".join(f'<th scope="col">{text}</th>' for text in COLUMNS.values())
    table = (
        f'<table aria-label="{escape(title)}"><thead><tr><th scope="col">Class</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table>"
    )
    return f"<figure><h3>{escape(title)}</h3>{scrolling(table, name=title)}</figure>"


def _per_cent(value: Any) -> str:
    return f"{100 * value:.1f}" if is_number(value) else "–"


def threshold_chart(
    thresholds: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    title: str,
    caption: str,
    marker: tuple[float, str],
) -> str:
    """Returns a chart of shares over the threshold, without values that are NaN.

    The options are those of `line_chart`.
    """
    lines = []
    for name, values in list(curves.items())[:MOST_LINES]:
        there = ~np.isnan(values)
        if there.any():
            style = f"line-{1 + len(lines)}"
            lines.append(Line(name, thresholds[there], values[there], style))
    return chart(
        title,
        lines,
        caption,
        y_range=SHARE,
        y_limits=SHARE,
        y_format=percent,
        marker=marker,
        over="threshold",
    )


def plane_panels(
    image: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    *,
    names: Sequence[str],
    colours: np.ndarray,
    longest: int,
) -> Panels:
    """Returns image, truth, prediction and errors with sides up to `longest`, and a legend.

    Args:
      image: h w c.
      label: h w k of 0, 1 and 255.
      prediction: h w k of 0 and 1.
      names, colours: one a plane.
      longest: pixels.
    """
    small = shrunk(as_rgb(image), longest)
    truth, answer = (
        np.stack(
            [
                shrunk(np.ascontiguousarray(p), longest, nearest=True)
                for p in np.moveaxis(x, -1, 0)
            ],
            axis=-1,
        )
        for x in (label.astype(np.uint8), prediction.astype(np.uint8))
    )
    present = [
        k for k in range(len(names)) if (label[..., k] == 1).any() or prediction[..., k].any()
    ]
    wrong, ignored = _wrong_and_ignored(truth, answer)
    return Panels(
        (
            Picture("Image", small),
            Picture("Truth", planes_overlay(small, truth == 1, colours)),
        ),
        (Picture("Prediction", planes_overlay(small, answer == 1, colours)),),
        (Picture("Errors", _errors(small, wrong, ignored)),),
        tuple(legend_item(names[k], colours[k]) for k in present),
        error_marks(wrong=bool(wrong.any()), ignored=bool(ignored.any())),
    )


def _wrong_and_ignored(truth: np.ndarray, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where one of the planes is wrong, and where all of them are ignored."""
    counted = truth != IGNORE
    return ((truth != answer) & counted).any(-1), ~counted.any(-1)


def _errors(rgb: np.ndarray, wrong: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Returns the image in dark grey with wrong pixels orange and ignored ones flat grey."""
    picture = np.repeat((0.45 * (rgb @ LUMINANCE)).astype(np.uint8)[..., None], 3, axis=-1)
    picture[wrong] = WRONG
    picture[ignored] = UNCOUNTED
    return picture
