"""An ablation as one page: scores with their spread, curves, and predictions side by side."""

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
    is_number,
    percent,
    running_median,
    series,
)
from segjax.report.examples import panel
from segjax.report.run_page import page, section
from segjax.report.score import Score
from segjax.report.svg import Line, number

MOST_COLUMNS = 6
"""Of pictures in a row."""

MOST_LINES = 5
"""More curves in one chart cannot be told apart."""

SPREAD = (
    "Mean ± standard deviation over the seeds (of the sample, n − 1); with one seed there is "
    "none to give. The columns before the scores are the fields in which the variants differ."
)


@dataclasses.dataclass(frozen=True)
class Values:
    """A variant's values of a score: those of its finished runs, None where a run has none.

    `remark` follows the mean in the table, such as " over 18 of 21 classes".
    """

    values: tuple[float | None, ...]
    remark: str = ""

    @property
    def mean(self) -> float | None:
        """Over the runs that have the score; None where no run has."""
        values = self._known()
        return statistics.fmean(values) if values else None

    @property
    def std(self) -> float | None:
        """Of the sample, n − 1; None for fewer than two runs."""
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
      failed: seeds of the others.
      scores: {name of a column: its runs' values}.
      histories: of each finished run the rows of `metrics.jsonl`.
    """

    name: str
    fields: Mapping[str, str]
    seeds: Sequence[int]
    failed: Sequence[int]
    scores: Mapping[str, Values]
    histories: Sequence[Rows]


class ComparedImage(NamedTuple):
    """An image's name, and (title, picture h w 3 uint8) of all that is shown of it."""

    name: str
    pictures: Sequence[tuple[str, np.ndarray]]


def write_comparison(
    path: str | os.PathLike,
    *,
    title: str,
    columns: Mapping[str, Score],
    variants: Sequence[Variant],
    images: Sequence[ComparedImage],
) -> None:
    """Writes the page whole or not at all, replacing an earlier one.

    `columns` are scores by name, with how people read them; the first ranks the variants.
    """
    runs = sum(len(variant.seeds) + len(variant.failed) for variant in variants)
    body = [
        section("Scores", SPREAD, _table(variants, columns)),
        section("Training", "", _curves(variants, columns)),
        section("The same images", "Predictions of each variant's first run.", _grid(images)),
    ]
    head = (
        f'<p class="kicker">Comparison of {len(variants)} variants, {runs} runs</p>'
        f"<h1>{escape(title)}</h1>"
    )
    write_text(path, page(title, head, "".join(body)))


def _ranked(variants: Sequence[Variant], columns: Mapping[str, Score]) -> list[Variant]:
    """Returns the variants from the best mean of the first column to the worst, unscored ones
    last.
    """
    key, score = next(iter(columns.items()))
    sign = -1 if score.higher_is_better else 1

    def rank(variant: Variant) -> tuple[bool, float]:
        mean = variant.scores[key].mean
        return mean is None, sign * (mean or 0.0)

    return sorted(variants, key=rank)


def _table(variants: Sequence[Variant], columns: Mapping[str, Score]) -> str:
    fields = list(variants[0].fields)
    heads = ["Variant", *(path.removeprefix("model.") for path in fields), "Seeds"]
    heads += [
        f"{score.title} %" if score.is_share else score.title for score in columns.values()
    ]
    names = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    best = _ranked(variants, columns)[0].scores[next(iter(columns))].mean
    rows = "".join(_row(variant, columns, best) for variant in variants)
    return (
        '<div class="scroll"><table aria-label="Scores by variant"><thead><tr>'
        f"{names}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(variant: Variant, columns: Mapping[str, Score], best: float | None) -> str:
    seeds = f"{len(variant.seeds)}"
    if variant.failed:
        seeds += f" ({len(variant.failed)} failed)"
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
    """Returns the evaluations and the loss over the steps, each variant's mean over its
    seeds.
    """
    key, score = next(iter(columns.items()))
    best = {variant.name for variant in _ranked(variants, columns)[:MOST_LINES]}
    drawn = [variant for variant in variants if variant.name in best]
    only = (
        f" The {MOST_LINES} best variants of {len(variants)}."
        if len(drawn) < len(variants)
        else ""
    )
    scores = list(_mean_lines(drawn, key, dots=True))
    losses = [
        dataclasses.replace(line, y=running_median(line.y))
        if len(line.y) >= FEWEST_TO_SMOOTH
        else line
        for line in _mean_lines(drawn, "loss")
    ]
    charts = chart(
        f"{score.title} on the evaluation set",
        scores,
        f"{'Higher' if score.higher_is_better else 'Lower'} is better.{only}",
        y_format=percent if score.is_share else number,
    ) + chart("Loss", losses, f"Running median; lower is better.{only}")
    return f'<div class="charts">{charts}</div>'


def _mean_lines(variants: Sequence[Variant], key: str, *, dots: bool = False) -> Iterator[Line]:
    """Returns one line a variant: at each step that all its seeds have, the mean of their
    values.
    """
    for i, variant in enumerate(variants):
        curves = [
            dict(zip(*series(history, key)[:2], strict=True)) for history in variant.histories
        ]
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        if steps:
            values = [statistics.fmean(curve[step] for curve in curves) for step in steps]
            style = f"line-{1 + i % MOST_LINES}"
            yield Line(variant.name, np.array(steps), np.array(values), style, dots)


def _grid(images: Sequence[ComparedImage]) -> str:
    if not images:
        return '<p class="note">No run has finished.</p>'
    return "".join(map(_image, images))


def _image(image: ComparedImage) -> str:
    name, columns = escape(image.name), min(len(image.pictures), MOST_COLUMNS)
    figures = "".join(panel(shown, escape(title), name) for title, shown in image.pictures)
    style = f"grid-template-columns: repeat({columns}, minmax(0, 1fr))"
    return (
        f'<article class="example"><h3>{name}</h3>'
        f'<div class="panels" style="{style}">{figures}</div></article>'
    )
