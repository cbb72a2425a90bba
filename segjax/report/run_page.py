"""A run as one self-contained HTML page: scores, curves, confusions, worst and best images.

The page loads nothing from the network: style, figures and pictures are inside the file, and a
content security policy forbids everything else.
"""

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from segjax.atomic import write_text
from segjax.report.curves import curves, is_number, speed
from segjax.report.examples import ShownExample, gallery
from segjax.report.score import Score
from segjax.report.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Section(NamedTuple):
    """A part of a page: heading, remark and content, all three markup."""

    heading: str
    note: str
    content: str


class Scores(NamedTuple):
    """How the entries of `evaluation.json` are shown.

    Attributes:
      shown: {entry: how people read it}, the most important first.
      remarks: {entry: what is said behind its name}, such as " over 18 of 21 classes".
      convention: of what they are scores.
    """

    shown: Mapping[str, Score]
    remarks: Mapping[str, str]
    convention: str


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    description: str,
    history: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    scores: Scores,
    steps: int | None = None,
    sections: Sequence[Section] = (),
    worst: Sequence[ShownExample] = (),
    best: Sequence[ShownExample] = (),
    examples_note: str = "",
) -> None:
    """Writes the page, or leaves an earlier one as it is if that fails.

    Args:
      path: of the page.
      title, description: texts.
      history: rows of `metrics.jsonl`, of training and evaluation. Keys may be missing; values
        may be None, NaN or infinite.
      evaluation: content of `evaluation.json`.
      scores: how its entries are shown.
      steps: of the whole run, if known.
      sections: parts between the curves and the images.
      worst, best: images.
      examples_note: a remark on the images, as markup.
    """
    step, primary = evaluation.get("step"), next(iter(scores.shown.values())).name
    parts = [Section("Training", "", curves(history, step, scores.shown)), *sections]
    for heading, examples in (("Worst images", worst), ("Best images", best)):
        if examples:
            parts.append(Section(heading, examples_note, gallery(examples, score=primary)))
    if charts := speed(history):
        parts.append(Section("Speed and memory", "", charts))
    parts.append(
        Section("Description", "Every setting that affects this run.", _pre(description))
    )
    body = "".join(section(*part) for part in parts)
    write_text(path, page(title, _headline(title, evaluation, scores, steps), body))


def section(heading: str, note: str, inner: str) -> str:
    """Returns a part of a page with heading, remark and content; all three are markup."""
    remark = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{heading}</h2>{remark}{inner}</section>"


def _pre(description: str) -> str:
    summary = "<summary>The whole description</summary>"
    return f"<details>{summary}<pre>{escape(description)}</pre></details>"


def _headline(
    title: str, evaluation: Mapping[str, Any], scores: Scores, steps: int | None
) -> str:
    primary = next(iter(scores.shown))
    figures = "".join(
        _figure(
            score.title,
            evaluation.get(key),
            is_share=score.is_share,
            main=key == primary,
            note=scores.remarks.get(key, ""),
        )
        for key, score in scores.shown.items()
        if key in evaluation or not score.is_optional
    )
    step = evaluation.get("step")
    counts = _count("Step", step, of=steps if steps != step else None)
    counts += _count("Images", evaluation.get("images"))
    return (
        f'<p class="kicker">Report</p><h1>{escape(title)}</h1>'
        f'<dl class="headline">{figures}{counts}</dl>'
        f'<p class="note">{escape(scores.convention)}</p>'
        f"{_stopped_early(evaluation)}{_trained_on(evaluation)}"
    )


def _stopped_early(evaluation: Mapping[str, Any]) -> str:
    where = evaluation.get("stopped_early")
    return f'<p class="note">Training stopped early {escape(where)}.</p>' if where else ""


def _trained_on(evaluation: Mapping[str, Any]) -> str:
    count = evaluation.get("images_trained_on")
    if not count:
        return ""
    return (
        f'<p class="note"><strong>The network was trained on {count:,} of these images, so the '
        "scores do not show how well it does on new images.</strong></p>"
    )


def _figure(name: str, value: Any, *, is_share: bool, main: bool, note: str) -> str:
    text, mark = "–", ""
    if is_number(value):
        text = f"{100 * value:.2f}" if is_share else f"{value:.4g}"
        mark = '<span class="unit">%</span>' if is_share else ""
    kind = " class=main" if main else ""
    return f"<div{kind}><dt>{escape(name + note)}</dt><dd>{text}{mark}</dd></div>"


def _count(name: str, value: Any, *, of: int | None = None) -> str:
    text = f"{value:,}" if is_number(value) else "–"
    text += f" of {of:,}" if of is not None and is_number(value) else ""
    return f"<div><dt>{name}</dt><dd>{text}</dd></div>"


def page(title: str, headline: str, sections: str) -> str:
    """Returns a complete page; `title` is text, `headline` and `sections` are markup."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><header>{headline}</header>{sections}</main></body></html>\n"
    )
