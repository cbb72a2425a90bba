"""Line charts of a report as inline SVG.

Colours are CSS variables and classes of `segjax.report.style`, so that a figure follows the
page into dark mode. Every function returns markup whose user strings are escaped.
"""

import base64
import dataclasses
import io
import math
from collections.abc import Sequence
from html import escape
from typing import Protocol

import numpy as np
from PIL import Image

MOST_POINTS = 600
"""More points than a line has pixels only make the file larger."""

SIZE = (460, 278)
"""Width and height of a chart."""

Limits = tuple[float, float]
"""The lowest and the highest possible value: an axis never shows more."""

ANY: Limits = (-math.inf, math.inf)


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve: finite x and y of equal length, and a CSS class of the page as `style`."""

    name: str
    x: np.ndarray
    y: np.ndarray
    style: str = "line-1"
    dots: bool = False


def round_ticks(low: float, high: float, *, about: int = 5, whole: bool = False) -> list[float]:
    """Returns multiples of 1, 2 or 5 times a power of ten that lie within low … high.

    >>> round_ticks(0.13, 0.74)
    [0.2, 0.4, 0.6]
    >>> round_ticks(0, 2, whole=True)
    [0.0, 1.0, 2.0]
    """
    step = _round_step(high - low, about)
    if whole:
        step = max(step, 1.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _round_step(span: float, about: int) -> float:
    power = 10.0 ** math.floor(math.log10(span / about))
    return power * next(m for m in (1, 2, 5, 10) if m * power * about >= span * (1 - 1e-9))


class Format(Protocol):
    """A number as a short text, rounded to so many significant digits."""

    def __call__(self, value: float, /, *, digits: int = 4) -> str:
        """Returns the text."""
        ...


def number(value: float, /, *, digits: int = 4) -> str:
    """Returns a short label of a tick or a value.

    >>> number(30000), number(2.5e12), number(0.5), number(0.00002), number(0)
    ('30k', '2.5T', '0.5', '2e-5', '0')
    """
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.{digits}g}{letter}"
    if 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.{max(digits - 2, 0)}e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.{digits}g}"


def percent(share: float, /, *, digits: int = 4) -> str:
    """Returns a label of a share.

    >>> percent(0.25), percent(1.0)
    ('25 %', '100 %')
    """
    return f"{100 * share:.{digits}g} %"


def gigabytes(count: float, /, *, digits: int = 4) -> str:
    """Returns a label of a number of bytes.

    >>> gigabytes(0), gigabytes(1.25e9)
    ('0 GB', '1.25 GB')
    """
    return f"{count / 1e9:.{digits}g} GB"


def tick_labels(ticks: Sequence[float], text: Format) -> list[str]:
    """Returns a label for each tick, with as many digits as it takes to tell them apart.

    >>> tick_labels([12_345, 12_346], number)
    ['12.345k', '12.346k']
    """
    for digits in range(4, 16):
        labels = [text(tick, digits=digits) for tick in ticks]
        if len(set(labels)) == len(ticks):
            break
    return labels


def thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and the highest point of each stretch of x: `MOST_POINTS` at most."""
    if len(x) <= MOST_POINTS:
        return x, y
    kept = []
    for part in np.array_split(np.arange(len(x)), MOST_POINTS // 2):
        kept += sorted({part[y[part].argmin()], part[y[part].argmax()]})
    return x[kept], y[kept]


def line_chart(
    lines: Sequence[Line],
    *,
    label: str,
    over: str = "step",
    size: tuple[int, int] = SIZE,
    y_range: tuple[float, float] | None = None,
    y_limits: Limits = ANY,
    y_format: Format = number,
    marker: tuple[float, str] | None = None,
) -> str:
    """Returns curves over x, which starts at 0; a line of one point is drawn as a dot.

    Args:
      lines: what to draw.
      label: what the chart shows, for screen readers.
      over: name of the x axis.
      size: width and height.
      y_range: what the y axis spans, widened to round numbers; by default all values. What lies
        outside is cut off.
      y_limits: lowest and highest possible y. The axis stays within them; values that are all
        the same get the whole of a finite range.
      y_format: how y is written.
      marker: x of a vertical line, and its caption.
    """
    frame = _frame(lines, size, y_range, y_limits, marker)
    parts = [_grid(frame, y_format, over)]
    if marker is not None:
        parts.append(_marker(frame, *marker))
    parts += [_curve(line, frame) for line in lines]
    return svg(size, label, "".join(parts))


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Data range and pixel range of the axes; x and y map the first to the second."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float
    whole_x: bool

    def x(self, value):
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value):
        low, high = self.y_range
        share = np.clip((value - low) / (high - low), -0.5, 1.5)
        return self.bottom - share * (self.bottom - self.top)


def _frame(lines, size, y_range, y_limits, marker) -> _Frame:
    xs = np.concatenate([line.x for line in lines])
    ys = np.concatenate([line.y for line in lines])
    if marker is not None:
        xs = np.append(xs, marker[0])
    width, height = size
    return _Frame(
        x_range=(0.0, float(xs.max()) or 1.0),
        y_range=axis_range(*(y_range or (ys.min(), ys.max())), limits=y_limits),
        left=56,
        right=width - 12,
        top=12,
        bottom=height - 44,
        whole_x=bool(np.all(xs == np.rint(xs))),
    )


def axis_range(low: float, high: float, *, limits: Limits = ANY) -> tuple[float, float]:
    """Returns the range widened to round numbers, within the limits.

    >>> axis_range(0.12, 0.96), axis_range(1, 1, limits=(0, 1))
    ((0.0, 1.0), (0.0, 1.0))
    """
    low, high = _opened(float(low), float(high), limits)
    step = _round_step(high - low, 5)
    around = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return max(around[0], limits[0]), min(around[1], limits[1])


def _opened(low: float, high: float, limits: Limits) -> tuple[float, float]:
    """Returns the range, or a wider one within the limits where all values are (almost) one.

    An axis of values from 0 on shows no negative numbers.
    """
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    if math.isfinite(limits[1] - limits[0]):
        return limits
    margin = 0.5 * abs(low) or 1.0
    least = max(limits[0], 0.0) if low >= 0 else limits[0]
    return max(low - margin, least), min(high + margin, limits[1])


def _grid(frame: _Frame, y_format: Format, over: str) -> str:
    across = f'x1="{frame.left}" x2="{frame.right}"'
    parts = [f'<line class="axis" {across} y1="{frame.bottom}" y2="{frame.bottom}"/>']
    ticks = round_ticks(*frame.y_range)
    for value, label in zip(ticks, tick_labels(ticks, y_format), strict=True):
        y = frame.y(value)
        parts.append(
            f'<line class="grid" {across} y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    ticks = round_ticks(*frame.x_range, whole=frame.whole_x)
    for value, label in zip(ticks, tick_labels(ticks, number), strict=True):
        x, y = frame.x(value), frame.bottom
        anchor = "end" if x > frame.right - 12 else "middle"
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>'
            f'<text x="{x:.1f}" y="{y + 18}" text-anchor="{anchor}">{label}</text>'
        )
    middle = (frame.left + frame.right) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{frame.bottom + 36}" text-anchor="middle">'
        f"{escape(over)}</text>"
    )
    return "".join(parts)


def _marker(frame: _Frame, step: float, caption: str) -> str:
    x = frame.x(step)
    right_half = x > (frame.left + frame.right) / 2
    return (
        f'<line class="marker" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.bottom}"/>'
        f'<text x="{x + (-6 if right_half else 6):.1f}" y="{frame.bottom - 8}" '
        f'text-anchor="{"end" if right_half else "start"}">{escape(caption)}</text>'
    )


def _curve(line: Line, frame: _Frame) -> str:
    """Returns a polyline inside its own viewport, which cuts off what leaves the frame."""
    x, y = thin(line.x, line.y)
    pixels = list(zip(frame.x(x), frame.y(y), strict=True))
    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in pixels)
    marks = f'<polyline class="{line.style}" points="{points}"/>'
    if line.dots or len(pixels) == 1:
        marks += "".join(
            f'<circle class="{line.style}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>'
            for px, py in pixels
        )
    top, height = frame.top - 4, frame.bottom - frame.top + 8
    right = frame.right + 6
    box = f"0 {top} {right} {height}"
    return f'<svg y="{top}" width="{right}" height="{height}" viewBox="{box}">{marks}</svg>'


def svg(size: tuple[float, float], label: str, inner: str, *, style: str = "") -> str:
    """Returns a picture of this size that screen readers call by its label."""
    attributes = f'role="img" aria-label="{escape(label)}" viewBox="0 0 {size[0]} {size[1]}"'
    if style:
        attributes += f' style="{style}"'
    return f"<svg {attributes}>{inner}</svg>"


def data_uri(picture: np.ndarray, kind: str) -> str:
    """Returns a picture h w 3, or h w 4, as a data URI: a "PNG", or a "JPEG" of quality 80."""
    buffer = io.BytesIO()
    # 4:4:4, for halved colour would smear lines one pixel thin.
    options = {"quality": 80, "subsampling": 0} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(picture).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
