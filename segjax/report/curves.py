"""The part of a report that shows a run over its steps: loss, scores, learning rate, speed."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, TypeGuard

import numpy as np

from segjax.report.score import Score
from segjax.report.svg import Line, line_chart, number

Rows = Sequence[Mapping[str, Any]]

FEWEST_TO_SMOOTH = 20

SMALL = {
    "learning_rate": ("Learning rate", "The schedule, as the optimizer applied it."),
    "gradient_norm": (
        "Gradient norm",
        "A rising trend warns of divergence; single peaks do not.",
    ),
    "images_per_second": (
        "Images per second",
        "Dips are evaluations, checkpoints or a slow loader.",
    ),
}
"""Key of a row → title of its small chart, and how to read it."""

SMALL_SIZE = (330, 170)


def curves(history: Rows, step: float | None, shown: Mapping[str, Score]) -> str:
    """Returns the charts that the rows allow; `step` marks the evaluated checkpoint in the
    scores.

    `shown` says how the rows' scores are read, the most important first.
    """
    large = _loss(history) + _scores(history, step, shown)
    small = "".join(_small(history, key, *texts) for key, texts in SMALL.items())
    if not large + small:
        return '<p class="note">No training history: this run was only evaluated.</p>'
    return f'<div class="charts">{large}</div><div class="charts small">{small}</div>'


def series(history: Rows, key: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns steps, finite values, and how many values were not finite, of the rows that have
    `key`.

    A resumed run repeats the steps after its checkpoint: of equal steps the last row counts.
    """
    last = {}
    for row in history:
        if is_number(row.get("step")) and isinstance(row.get(key), numbers.Real):
            last[float(row["step"])] = float(row[key])
    finite = sorted((step, value) for step, value in last.items() if math.isfinite(value))
    x, y = np.array(finite, np.float64).reshape(-1, 2).T
    return x, y, len(last) - len(finite)


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether the value is a finite number: a row's other values are left out."""
    return isinstance(value, numbers.Real) and math.isfinite(value)


def running_median(y: np.ndarray) -> np.ndarray:
    """Returns the median of the values around each one: a twentieth of all, 5 to 101 of them.

    At both ends the window shrinks to the values that exist.
    """
    half = min(max(len(y) // 40, 2), 50)
    padded = np.pad(y, half, constant_values=np.nan)
    return np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def _loss(history: Rows) -> str:
    x, y, lost = series(history, "loss")
    names = sorted({key for row in history for key in row if key.startswith("loss/")})
    terms = [(name, *series(history, name)[:2]) for name in names]
    if len(x) and len(terms) == 1:
        terms = []
    remarks = ["Lower is better; its level depends on the loss, so compare its course."]
    lines = _smoothed(x, y)
    for i, (name, steps, values) in enumerate(terms):
        if len(steps):
            smooth = running_median(values) if len(steps) >= FEWEST_TO_SMOOTH else values
            lines.append(Line(name.removeprefix("loss/"), steps, smooth, f"line-{2 + i % 4}"))
    y_range = _without_spikes(lines)
    if any(line.y.max() > y_range[1] for line in lines):
        remarks.append("Spikes above the frame are cut off.")
    if lost:
        remarks.append(f"Not finite and left out: {lost} of {lost + len(x)} values.")
    return chart("Loss", lines, " ".join(remarks), y_range=y_range)


def _smoothed(x: np.ndarray, y: np.ndarray) -> list[Line]:
    """Returns a faint line of all values under their running median; few values are shown
    alone.
    """
    if len(x) >= FEWEST_TO_SMOOTH:
        return [Line("every row", x, y, "raw"), Line("running median", x, running_median(y))]
    return [Line("every row", x, y)] if len(x) else []


def _without_spikes(lines: list[Line]) -> tuple[float, float]:
    """Returns all smoothed values and 99 % of the raw ones: one spike must not flatten the
    curve.
    """
    tops = [
        np.percentile(line.y, 99) if line.style == "raw" else line.y.max() for line in lines
    ]
    lows = [line.y.min() for line in lines]
    return min(lows, default=0.0), max(tops, default=1.0)


def _scores(history: Rows, step: float | None, shown: Mapping[str, Score]) -> str:
    """Returns one chart of the primary score, and of the others of its kind."""
    key, score = next(iter(shown.items()))
    x, y, _ = series(history, key)
    if not len(x):
        return ""
    lines = [Line(score.name, x, y, dots=True)]
    for other, how in shown.items():
        steps, values, _ = series(history, other)
        if other != key and how.is_share == score.is_share and len(steps):
            style = f"line-{1 + len(lines)}"
            lines.append(Line(how.name, steps, values, style, dots=True))
    best = y.argmax() if score.higher_is_better else y.argmin()
    caption = (
        f"{'Higher' if score.higher_is_better else 'Lower'} is better. "
        f"Best {score.name}: {score.text(y[best])} at step {x[best]:,.0f}."
    )
    marker = (step, "this report") if is_number(step) else None
    y_format = percent if score.is_share else number
    return chart(
        "Scores on the evaluation set", lines, caption, y_format=y_format, marker=marker
    )


def percent(share: float) -> str:
    """Returns a tick of an axis of shares."""
    return f"{100 * share:.4g}%"


def _small(history: Rows, key: str, title: str, caption: str) -> str:
    x, y, _ = series(history, key)
    if key == "learning_rate":
        lines = [Line(title, x, y)] if len(x) else []
        return chart(title, lines, caption, size=SMALL_SIZE)
    lines = _smoothed(x, y)
    return chart(
        title, lines, caption, size=SMALL_SIZE, y_range=(0.0, _without_spikes(lines)[1])
    )


def chart(
    title: str,
    lines: list[Line],
    caption: str,
    *,
    size: tuple[int, int] = (460, 260),
    y_range: tuple[float, float] | None = None,
    y_format: Callable[[float], str] = number,
    marker: tuple[float, str] | None = None,
    over: str = "step",
) -> str:
    """Returns a chart with its title, its key and a caption; nothing where there are no lines.

    `over` says what the x axis is.
    """
    if not lines:
        return ""
    first, last = min(line.x[0] for line in lines), max(line.x[-1] for line in lines)
    label = f"{title} from {over} {first:,.0f} to {last:,.0f}, at the end " + ", ".join(
        f"{line.name} {y_format(line.y[-1])}" for line in lines if line.style != "raw"
    )
    drawing = line_chart(
        lines, label=label, size=size, y_range=y_range, y_format=y_format, marker=marker
    )
    key = _key(lines) if len(lines) > 1 and size != SMALL_SIZE else ""
    return (
        f"<figure><h3>{escape(title)}</h3>{key}{drawing}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _key(lines: list[Line]) -> str:
    items = (
        f'<li><svg viewBox="0 0 22 10" aria-hidden="true"><g class="{line.style}"><line x1="1" '
        f'x2="21" y1="5" y2="5"/></g></svg>{escape(line.name)}</li>'
        for line in lines
    )
    return f'<ul class="lines">{"".join(items)}</ul>'
