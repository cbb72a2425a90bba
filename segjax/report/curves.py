"""The parts of a report that show a run over its steps: loss and scores, speed and memory."""

import math
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeGuard

import numpy as np

from segjax.report.score import Score
from segjax.report.svg import (
    ANY,
    SIZE,
    Format,
    Limits,
    Line,
    axis_range,
    gigabytes,
    line_chart,
    number,
    percent,
)

Rows = Sequence[Mapping[str, Any]]

FEWEST_TO_SMOOTH = 20

SMALL = {
    "learning_rate": ("Learning rate", "The learning rate that the optimizer used."),
    "gradient_norm": (
        "Gradient norm",
        "A rising trend warns of divergence; single peaks do not.",
    ),
}
"""Key of a row → title of its small chart, and how to read it."""

SPEED = {
    "images_per_second": (
        "Images per second",
        "The first value after a start includes the compilation. Checkpoints and a slow loader "
        "lower the speed.",
    ),
    "model_flops_utilisation": (
        "Model FLOPs utilisation",
        "The network's products and convolutions, as a share of what the devices could compute "
        "in the same time.",
    ),
    "flops_per_second": (
        "FLOP/s",
        "The network's products and convolutions. The peak of these devices is not known.",
    ),
    "waiting_for_data": (
        "Waiting for data",
        "The share of time in which the devices stood still because no batch was ready.",
    ),
    "device_memory_bytes": ("Device memory", "In use on the fullest device."),
    "process_memory_bytes": (
        "Memory of the process",
        "The main process on its host, without the devices' own memory. It should not rise for "
        "long.",
    ),
    "slowest_host_ratio": ("Slowest host", ""),
}
"""The same of the columns that measure time and memory."""

SMALL_SIZE = (330, 188)

SHARE: Limits = (0.0, 1.0)


def curves(history: Rows, step: float | None, shown: Mapping[str, Score]) -> str:
    """Returns a chart for each kind of value in the rows.

    Args:
      history: rows of `metrics.jsonl`.
      step: of the evaluated checkpoint, which is marked among the scores.
      shown: {key of a score: how people read it}, the most important first.
    """
    large = _loss(history) + _scores(history, step, shown)
    small = "".join(_small(history, key, *texts) for key, texts in SMALL.items())
    if not large + small:
        return '<p class="note">This run has no training history: it was only evaluated.</p>'
    return f'<div class="charts">{large}</div><div class="charts small">{small}</div>'


def speed(history: Rows) -> str:
    """Returns small charts of time and memory; an empty string for rows without such columns.

    Args:
      history: rows of `metrics.jsonl`.
    """
    captions = {"slowest_host_ratio": _slowest(history)}
    charts = "".join(
        _small(history, key, title, captions.get(key, caption))
        for key, (title, caption) in SPEED.items()
    )
    return f'<div class="charts small">{charts}</div>' if charts else ""


def _slowest(history: Rows) -> str:
    """Returns which host held the others up most often, and what its chart shows."""
    names = [row["slowest_host"] for row in history if row.get("slowest_host")]
    name, count = Counter(map(str, names)).most_common(1)[0] if names else ("", 0)
    return (
        "How many times longer a step takes than if the slowest host were as fast as the "
        f"median one. Most often this is {name}, in {count} of {len(names)} rows."
    )


def series(history: Rows, key: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the steps and finite values of `key`, and the number of its other values.

    A resumed run repeats the steps after its checkpoint: the last row of a step counts.
    """
    last = {}
    for row in history:
        if is_number(row.get("step")) and isinstance(row.get(key), numbers.Real):
            last[float(row["step"])] = float(row[key])
    finite = sorted((step, value) for step, value in last.items() if math.isfinite(value))
    x, y = np.array(finite, np.float64).reshape(-1, 2).T
    return x, y, len(last) - len(finite)


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether the value is a finite number."""
    return isinstance(value, numbers.Real) and math.isfinite(value)


def running_median(y: np.ndarray) -> np.ndarray:
    """Returns for each value the median of a window around it.

    The window has a twentieth of all values, from 5 to 101, and fewer at both ends.
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
    remarks = ["Lower is better. Different losses have different scales: compare the shapes."]
    lines = _smoothed(x, y)
    for i, (name, steps, values) in enumerate(terms):
        if len(steps):
            smooth = running_median(values) if len(steps) >= FEWEST_TO_SMOOTH else values
            lines.append(Line(name.removeprefix("loss/"), steps, smooth, f"line-{2 + i % 4}"))
    y_range = _without_spikes(lines)
    if any(line.y.max() > axis_range(*y_range)[1] for line in lines):
        remarks.append("Spikes above the frame are cut off.")
    remarks += _not_finite(lost, len(x))
    return chart("Loss", lines, " ".join(remarks), y_range=y_range)


def _not_finite(lost: int, kept: int) -> list[str]:
    """Returns a sentence where values are missing from a chart."""
    if not lost:
        return []
    return [f"{lost} of {lost + kept} values are NaN or infinite and not drawn."]


def _smoothed(x: np.ndarray, y: np.ndarray) -> list[Line]:
    """Returns a faint line of all values and their running median; of few values, one line."""
    if len(x) >= FEWEST_TO_SMOOTH:
        return [Line("every row", x, y, "raw"), Line("running median", x, running_median(y))]
    return [Line("every row", x, y)] if len(x) else []


def _without_spikes(lines: list[Line]) -> tuple[float, float]:
    """Returns a range of all smoothed and 99 % of the raw values: a spike flattens no curve."""
    tops = [
        np.percentile(line.y, 99) if line.style == "raw" else line.y.max() for line in lines
    ]
    lows = [line.y.min() for line in lines]
    return min(lows, default=0.0), max(tops, default=1.0)


def _scores(history: Rows, step: float | None, shown: Mapping[str, Score]) -> str:
    """Returns one chart of the primary score, and of the others of its kind."""
    key, score = next(iter(shown.items()))
    x, y, lost = series(history, key)
    if not len(x):
        return ""
    lines = [Line(score.name, x, y, dots=True)]
    for other, how in shown.items():
        steps, values, _ = series(history, other)
        if other != key and how.is_share == score.is_share and len(steps):
            style = f"line-{1 + len(lines)}"
            lines.append(Line(how.name, steps, values, style, dots=True))
    best = y.argmax() if score.higher_is_better else y.argmin()
    remarks = [
        f"{'Higher' if score.higher_is_better else 'Lower'} is better.",
        f"Best {score.name}: {score.text(y[best])} at step {x[best]:,.0f}.",
        *_not_finite(lost, len(x)),
    ]
    return chart(
        "Scores on the evaluation set",
        lines,
        " ".join(remarks),
        marker=(step, "this report") if is_number(step) else None,
        **how_drawn(score),
    )


def how_drawn(score: Score) -> dict[str, Any]:
    """Returns the options of `chart` for an axis of this score: shares lie within 0 … 100 %."""
    return {"y_limits": SHARE, "y_format": percent} if score.is_share else {}


def _small(history: Rows, key: str, title: str, caption: str) -> str:
    x, y, _ = series(history, key)
    if key == "learning_rate":
        lines = [Line(title, x, y)] if len(x) else []
        return chart(title, lines, caption, size=SMALL_SIZE)
    lines = _smoothed(x, y)
    if key == "waiting_for_data":
        return chart(title, lines, caption, size=SMALL_SIZE, y_limits=SHARE, y_format=percent)
    form = percent if key == "model_flops_utilisation" else number
    form = gigabytes if key.endswith("_bytes") else form
    top = _without_spikes(lines)[1]
    return chart(title, lines, caption, size=SMALL_SIZE, y_range=(0.0, top), y_format=form)


def chart(
    title: str,
    lines: list[Line],
    caption: str,
    *,
    size: tuple[int, int] = SIZE,
    y_range: tuple[float, float] | None = None,
    y_limits: Limits = ANY,
    y_format: Format = number,
    marker: tuple[float, str] | None = None,
    over: str = "step",
) -> str:
    """Returns a chart with title, key and caption; an empty string where there are no lines.

    The options are those of `line_chart`.
    """
    if not lines:
        return ""
    drawing = line_chart(
        lines,
        label=_in_words(title, lines, y_format, over),
        over=over,
        size=size,
        y_range=y_range,
        y_limits=y_limits,
        y_format=y_format,
        marker=marker,
    )
    key = _key(lines) if len(lines) > 1 and size != SMALL_SIZE else ""
    return (
        f"<figure><h3>{escape(title)}</h3>{key}{drawing}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _in_words(title: str, lines: list[Line], y_format: Format, over: str) -> str:
    """Returns what a chart shows: "Loss from step 1 to 20, at the end loss 0.5"."""
    first, last = min(line.x[0] for line in lines), max(line.x[-1] for line in lines)
    where = f"from {over} {first:,.10g} to {last:,.10g}, at the end "
    if first == last:
        where = f"at {over} {last:,.10g}: "
    ends = (f"{line.name} {y_format(line.y[-1])}" for line in lines if line.style != "raw")
    return f"{title} {where}{', '.join(ends)}"


def _key(lines: list[Line]) -> str:
    """Returns a sample of each line beside its name."""
    dot = '<circle cx="11" cy="5" r="3"/>'
    items = (
        f'<li><svg viewBox="0 0 22 10" aria-hidden="true"><g class="{line.style}"><line x1="1" '
        f'x2="21" y1="5" y2="5"/>{dot if line.dots or len(line.x) == 1 else ""}</g></svg>'
        f"{escape(line.name)}</li>"
        for line in lines
    )
    return f'<ul class="lines">{"".join(items)}</ul>'
