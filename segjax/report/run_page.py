"""A run as one self-contained HTML page: scores, curves, confusions, worst and best images.

The page asks the network for nothing: style, figures and pictures are inside, and a content
security policy forbids the rest.
"""

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from segjax.atomic import write_text
from segjax.evaluate.score import over_classes
from segjax.report.class_scores import class_tables, confusions
from segjax.report.curves import curves, is_number
from segjax.report.examples import ExampleResult, gallery
from segjax.report.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

SCORES = {
    "mean_iou": "Mean IoU",
    "mean_iou_over_true_classes": "Mean IoU of true classes",
    "pixel_accuracy": "Pixel accuracy",
    "mean_accuracy": "Mean accuracy",
    "frequency_weighted_iou": "Frequency-weighted IoU",
}

CONVENTION = (
    "Mean IoU of one confusion matrix over the whole set; classes absent from truth and "
    "prediction are left out, and ignored pixels are not counted. A class that is predicted "
    "but has no truth counts as 0; mean IoU of true classes leaves it out."
)

CLASSES = (
    "From the highest IoU to the lowest. Recall is the share of a class's pixels that is "
    "found, precision the share of what is predicted that is right, pixels its share of the "
    "truth."
)

EXAMPLES = (
    "Tints are classes, edged by a line; a class whose colour is black is not tinted. "
    "Under Errors, orange is a wrong pixel and flat grey one that does not count. The score is "
    "of the single image, over the classes that occur in its truth or prediction."
)


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    description: str,
    history: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    confusion: np.ndarray,
    class_names: Sequence[str],
    palette: np.ndarray,
    worst: Sequence[ExampleResult] = (),
    best: Sequence[ExampleResult] = (),
) -> None:
    """Writes the page whole or not at all, replacing an earlier one.

    `history` is the rows of `metrics.jsonl`, training and evaluation mixed, in which keys may
    miss and values may be None or not finite; `evaluation` is the content of `evaluation.json`;
    `confusion` is k × k, row truth and column prediction; `palette` is 256 × 3, uint8.

    Raises:
      ValueError: the matrix does not fit the names, or the palette is not 256 × 3.
    """
    k = len(class_names)
    if confusion.shape != (k, k):
        raise ValueError(f"{k} class names need a {k} × {k} matrix, got {confusion.shape}.")
    if palette.shape != (256, 3):
        raise ValueError(f"A palette has a colour for each of 256 labels, got {palette.shape}.")
    sections = [
        section("Training", "", curves(history, evaluation.get("step"))),
        section(
            "Classes",
            CLASSES,
            class_tables(evaluation.get("iou") or {}, confusion, class_names, palette),
        ),
        section("Confusions", "", confusions(confusion, class_names, palette)),
    ]
    for heading, examples in (("Worst images", worst), ("Best images", best)):
        if examples:
            sections.append(section(heading, EXAMPLES, gallery(examples, class_names, palette)))
    sections.append(
        section("Description", "All that decides this run's numbers.", _pre(description))
    )
    write_text(path, page(title, _headline(title, evaluation), "".join(sections)))


def section(heading: str, note: str, inner: str) -> str:
    """A part of a page: heading, remark, content; all three are markup."""
    remark = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{heading}</h2>{remark}{inner}</section>"


def _pre(description: str) -> str:
    summary = "<summary>The whole description</summary>"
    return f"<details>{summary}<pre>{escape(description)}</pre></details>"


def _headline(title: str, evaluation: Mapping[str, Any]) -> str:
    scores = "".join(
        _figure(
            name,
            evaluation.get(key),
            "%",
            main=key == "mean_iou",
            note=over_classes(key, evaluation),
        )
        for key, name in SCORES.items()
        if key in evaluation or key != "mean_iou_over_true_classes"
    )
    counts = _figure("Step", evaluation.get("step")) + _figure(
        "Images", evaluation.get("images")
    )
    return (
        f'<p class="kicker">Segmentation report</p><h1>{escape(title)}</h1>'
        f'<dl class="headline">{scores}{counts}</dl><p class="note">{CONVENTION}</p>'
        f"{_trained_on(evaluation)}"
    )


def _trained_on(evaluation: Mapping[str, Any]) -> str:
    count = evaluation.get("images_trained_on")
    if not count:
        return ""
    return (
        f'<p class="note"><strong>Training images too: {count:,} of these images; the scores '
        "do not say how well the network does on new ones.</strong></p>"
    )


def _figure(
    name: str, value: Any, unit: str = "", *, main: bool = False, note: str = ""
) -> str:
    text = "–"
    if is_number(value):
        text = f"{100 * value:.2f}" if unit else f"{value:,}"
    mark = f'<span class="unit">{unit}</span>' if unit and text != "–" else ""
    return (
        f"<div{' class=main' if main else ''}><dt>{name}{note}</dt><dd>{text}{mark}</dd></div>"
    )


def page(title: str, headline: str, sections: str) -> str:
    """A whole page without anything from elsewhere; `title` is text, the rest markup."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><header>{headline}</header>{sections}</main></body></html>\n"
    )
