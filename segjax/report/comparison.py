"""An ablation as one page: scores with their spread, curves, predictions side by side."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from segjax.atomic import write_text
from segjax.report.curves import (
    FEWEST_TO_SMOOTH,
    Rows,
    chart,
    how_drawn,
    is_number,
    running_median,
    series,
)
from segjax.report.examples import panel
from segjax.report.legend import LegendItem, legend
from segjax.report.run_page import page, section
from segjax.report.score import Score
from segjax.report.scroll import scrolling
from segjax.report.svg import Line

MOST_COLUMNS = 6
"""Pictures in a row."""

MOST_LINES = 5
"""More curves in one chart cannot be told apart."""

SPREAD = (
    "The best variant is first. Scores are the mean ± the sample standard deviation over the "
    "seeds; a single seed has no deviation. The columns before the scores are the "
    "fields in which the variants differ."
)


@dataclasses.dataclass(frozen=True)
class Values:
    """A variant's values of a score, one for each finished run; None where it has no score.

    `remark` follows the mean in the table, such as " over 18 of 21 classes".
    """

    values: tuple[float | None, ...]
    remark: str = ""

    @property
    def mean(self) -> float | None:
        """Mean over the runs that have the score; None where no run has it."""
        values = self._known()
        return statistics.fmean(values) if values else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the sample (n − 1); None for fewer than two runs."""
        values = self._known()
        return statistics.stdev(values) if len(values) > 1 else None

    def _known(self) -> list[float]:
        return [value for value in self.values if is_number(value)]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of the table: runs that differ in their seed alone.

    Attributes:
      name: of the variant.
      fields: {path: value} of the fields in which the variants differ, the same for all.
      seeds: of its finished runs.
      failed: {seed of a run that failed: why}.
      missing: seeds of the runs that have neither finished nor failed.
      scores: {name of a column: its runs' values}.
      histories: of each finished run the rows of `metrics.jsonl`.
    """

    name: str
    fields: Mapping[str, str]
    seeds: Sequence[int]
    failed: Mapping[int, str]
    scores: Mapping[str, Values]
    histories: Sequence[Rows]
    missing: Sequence[int] = ()

    @property
    def unfinished(self) -> str:
        """What is not in the scores, in words: "1 failed, 2 missing"; "" if nothing is."""
        counts = {"failed": len(self.failed), "missing": len(self.missing)}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


class ComparedImage(NamedTuple):
    """An image with the variants' predictions.

    Attributes:
      name: of the image.
      pictures: (title, picture h w 3 uint8) of each.
      classes: what their colours mean.
    """

    name: str
    pictures: Sequence[tuple[str, np.ndarray]]
    classes: Sequence[LegendItem] = ()


def write_comparison(
    path: str | os.PathLike,
    *,
    title: str,
    columns: Mapping[str, Score],
    variants: Sequence[Variant],
    images: Sequence[ComparedImage],
    others: Sequence[str] = (),
) -> None:
    """Writes the page, or leaves an earlier one as it is if that fails.

    `columns` is {key of a score: how people read it}; the first one ranks the variants.
    `others` are names of variants that lie in the same folder and are not compared.
    """
    total = sum(len(v.seeds) + len(v.failed) + len(v.missing) for v in variants)
    variants = _ranked(variants, columns)
    body = [
        section("Scores", SPREAD, _table(variants, columns) + _others(others)),
        _failures(variants),
        section("Training", "", _curves(variants, columns)),
        section(
            "Images",
            "The prediction of each variant's first run, the best variant first.",
            _grid([_in_order(image, variants) for image in images]),
        ),
    ]
    head = (
        f'<p class="kicker">Comparison of {len(variants)} variants, {total} runs'
        f"{_left(variants)}</p>"
        f"<h1>{escape(title)}</h1>"
    )
    write_text(path, page(title, head, "".join(body)))


def _left(variants: Sequence[Variant]) -> str:
    """Returns how many runs are not in the scores: ": 2 failed, 3 missing"."""
    counts = {
        "failed": sum(len(variant.failed) for variant in variants),
        "missing": sum(len(variant.missing) for variant in variants),
    }
    left = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f": {left}" if left else ""


def _others(names: Sequence[str]) -> str:
    if not names:
        return ""
    note = f"Also in this folder, but not compared: {escape(', '.join(names))}."
    return f'<p class="note" style="margin-top:20px">{note}</p>'


def _failures(variants: Sequence[Variant]) -> str:
    """Returns the section of the runs that failed; "" where none did."""
    rows = "".join(
        f'<tr><th scope="row">{escape(variant.name)}</th><td>{seed}</td>'
        f'<td class="name">{escape(reason)}</td></tr>'
        for variant in variants
        for seed, reason in variant.failed.items()
    )
    if not rows:
        return ""
    title = "Failed runs"
    heads = '<th scope="col">Variant</th><th scope="col">Seed</th>'
    heads += '<th scope="col" class="name">Reason</th>'
    table = (
        f'<table aria-label="{title}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    return section(title, "The same command tries them again.", scrolling(table, name=title))


def _ranked(variants: Sequence[Variant], columns: Mapping[str, Score]) -> list[Variant]:
    """Returns the variants by the mean of the first column: the best first, unscored last."""
    key, score = next(iter(columns.items()))
    sign = -1 if score.higher_is_better else 1

    def rank(variant: Variant) -> tuple[bool, float]:
        mean = variant.scores[key].mean
        return mean is None, sign * (mean or 0.0)

    return sorted(variants, key=rank)


def _table(variants: Sequence[Variant], columns: Mapping[str, Score]) -> str:
    """Returns the table of variants that are ranked."""
    fields = list(variants[0].fields)
    heads = ["Variant", *(path.removeprefix("model.") for path in fields), "Seeds"]
    heads += [
        f"{score.title} %" if score.is_share else score.title for score in columns.values()
    ]
    names = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    best = variants[0].scores[next(iter(columns))].mean
    rows = "".join(_row(variant, columns, best) for variant in variants)
    title = "Scores by variant"
    table = (
        f'<table aria-label="{title}"><thead><tr>{names}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    return scrolling(table, name=title)


def _row(variant: Variant, columns: Mapping[str, Score], best: float | None) -> str:
    seeds = f"{len(variant.seeds)}"
    if variant.unfinished:
        seeds += f" ({variant.unfinished})"
    cells = [f"<td>{escape(cell)}</td>" for cell in (*variant.fields.values(), seeds)]
    for place, (name, score) in enumerate(columns.items()):
        values = variant.scores[name]
        is_best = place == 0 and best is not None and values.mean == best
        mark = ' class="value"' if is_best else ""
        cells.append(f"<td{mark}>{_shown(values, score)}{escape(values.remark)}</td>")
    return f'<tr><th scope="row">{escape(variant.name)}</th>{"".join(cells)}</tr>'


def _shown(values: Values, score: Score) -> str:
    if values.mean is None:
        return "–"
    text: Callable[[float], str] = (
        (lambda x: f"{100 * x:.2f}") if score.is_share else (lambda x: f"{x:.4g}")
    )
    return text(values.mean) + (f" ± {text(values.std)}" if values.std is not None else "")


def _curves(variants: Sequence[Variant], columns: Mapping[str, Score]) -> str:
    """Returns charts of the first score and of the loss: each variant's mean over its seeds."""
    key, score = next(iter(columns.items()))
    drawn = variants[:MOST_LINES]
    only = (
        f" Only the {MOST_LINES} best of {len(variants)} variants are drawn."
        if len(drawn) < len(variants)
        else ""
    )
    scores = list(_mean_lines(drawn, key, dots=True))
    losses = list(_mean_lines(drawn, "loss"))
    smooth = [len(line.y) >= FEWEST_TO_SMOOTH for line in losses]
    losses = [
        dataclasses.replace(line, y=running_median(line.y)) if is_long else line
        for line, is_long in zip(losses, smooth, strict=True)
    ]
    median = " Curves are running medians." if any(smooth) else ""
    charts = chart(
        f"{score.title} on the evaluation set",
        scores,
        f"{'Higher' if score.higher_is_better else 'Lower'} is better.{only}",
        **how_drawn(score),
    ) + chart("Loss", losses, f"Lower is better.{median}{only}")
    if not charts:
        return '<p class="note">No finished run has a training history.</p>'
    return f'<div class="charts">{charts}</div>'


def _mean_lines(variants: Sequence[Variant], key: str, *, dots: bool = False) -> Iterator[Line]:
    """Returns a line for each variant: the mean of its seeds at every step that all have."""
    for i, variant in enumerate(variants):
        curves = [
            dict(zip(*series(history, key)[:2], strict=True)) for history in variant.histories
        ]
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        if steps:
            values = [statistics.fmean(curve[step] for curve in curves) for step in steps]
            style = f"line-{1 + i % MOST_LINES}"
            yield Line(variant.name, np.array(steps), np.array(values), style, dots)


def _in_order(image: ComparedImage, variants: Sequence[Variant]) -> ComparedImage:
    """Returns the image with the variants' pictures in the order of the variants."""
    place = {variant.name: i for i, variant in enumerate(variants)}
    pictures = sorted(image.pictures, key=lambda picture: place.get(picture[0], -1))
    return image._replace(pictures=pictures)


def _grid(images: Sequence[ComparedImage]) -> str:
    if not images:
        return '<p class="note">No run has finished.</p>'
    return "".join(map(_image, images))


def _image(image: ComparedImage) -> str:
    name, columns = escape(image.name), min(len(image.pictures), MOST_COLUMNS)
    figures = "".join(panel(shown, escape(title), name) for title, shown in image.pictures)
    return (
        f'<article class="example"><h3>{name}</h3>'
        f'<div class="panels compared" style="--columns:{columns}">{figures}</div>'
        f"{legend(image.classes)}</article>"
    )
