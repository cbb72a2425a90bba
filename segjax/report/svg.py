"""Figures of a report as inline SVG: line charts and confusion matrices.

Colours are CSS variables and classes of `segjax.report.style`, so that a figure follows the
page into dark mode. Every function returns markup whose user strings are escaped.
"""

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from PIL import Image

MOST_POINTS = 600
"""More points than a line has pixels only make the file larger."""

LABELLED_CLASSES = 30
"""Above this a matrix has no room for legible names: it becomes one picture."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve: x and y of equal length, finite; `style` is a CSS class of the page."""

    name: str
    x: np.ndarray
    y: np.ndarray
    style: str = "line-1"
    dots: bool = False


def round_ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Returns multiples of 1, 2 or 5 times a power of ten that lie within low … high.

    >>> round_ticks(0.13, 0.74)
    [0.2, 0.4, 0.6]
    """
    step = _round_step(high - low, about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _round_step(span: float, about: int) -> float:
    power = 10.0 ** math.floor(math.log10(span / about))
    return power * next(m for m in (1, 2, 5, 10) if m * power * about >= span * (1 - 1e-9))


def number(value: float) -> str:
    """Returns a short label of a tick or a value.

    >>> number(30000), number(0.5), number(0.00002), number(0)
    ('30k', '0.5', '2e-5', '0')
    """
    if abs(value) >= 1000:
        return f"{value / 1e6:.4g}M" if abs(value) >= 1e6 else f"{value / 1000:.4g}k"
    if 0 < abs(value) < 1e-3:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.4g}"


def thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST_POINTS` of the points: the lowest and the highest of each stretch of x."""
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
    size: tuple[int, int] = (460, 260),
    y_range: tuple[float, float] | None = None,
    y_format: Callable[[float], str] = number,
    marker: tuple[float, str] | None = None,
) -> str:
    """Returns curves over the step; `label` says to a screen reader what they show.

    The y axis spans `y_range`, else all values, and is widened to round numbers; what lies
    outside is cut off. `marker` is a vertical line at a step, with its caption.
    """
    frame = _frame(lines, size, y_range, marker)
    parts = [_grid(frame, y_format)]
    if marker is not None:
        parts.append(_marker(frame, *marker))
    parts += [_curve(line, frame) for line in lines]
    return _svg(size, label, "".join(parts))


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Data range and pixel range of the axes; x and y map the first to the second."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value):
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value):
        low, high = self.y_range
        share = np.clip((value - low) / (high - low), -0.5, 1.5)
        return self.bottom - share * (self.bottom - self.top)


def _frame(lines, size, y_range, marker) -> _Frame:
    xs = np.concatenate([line.x for line in lines])
    ys = np.concatenate([line.y for line in lines])
    if marker is not None:
        xs = np.append(xs, marker[0])
    low, high = _opened(*(y_range or (ys.min(), ys.max())))
    step = _round_step(high - low, 5)
    around = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    width, height = size
    return _Frame(_opened(xs.min(), xs.max()), around, 52, width - 12, 12, height - 26)


def _opened(low: float, high: float) -> tuple[float, float]:
    """Returns the range itself, or one around it where all values are (almost) one."""
    low, high = float(low), float(high)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = 0.5 * abs(low) or 0.5
    return low - margin, high + margin


def _grid(frame: _Frame, y_format: Callable[[float], str]) -> str:
    across = f'x1="{frame.left}" x2="{frame.right}"'
    parts = [f'<line class="axis" {across} y1="{frame.bottom}" y2="{frame.bottom}"/>']
    for value in round_ticks(*frame.y_range):
        y = frame.y(value)
        parts.append(
            f'<line class="grid" {across} y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{y_format(value)}</text>"
        )
    for value in round_ticks(*frame.x_range, about=5):
        x, y = frame.x(value), frame.bottom
        anchor = "end" if x > frame.right - 12 else "middle"
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>'
            f'<text x="{x:.1f}" y="{y + 18}" text-anchor="{anchor}">{number(value)}</text>'
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
    top, height = frame.top - 4, frame.bottom - frame.top + 6
    right = frame.right + 6
    box = f"0 {top} {right} {height}"
    return f'<svg y="{top}" width="{right}" height="{height}" viewBox="{box}">{marks}</svg>'


def _svg(size: tuple[float, float], label: str, inner: str, *, style: str = "") -> str:
    attributes = f'role="img" aria-label="{escape(label)}" viewBox="0 0 {size[0]} {size[1]}"'
    if style:
        attributes += f' style="{style}"'
    return f"<svg {attributes}>{inner}</svg>"


def _square(side: float, label: str, inner: str) -> str:
    """Returns a matrix scrolls where it would get illegible, and few classes do not fill the
    page.
    """
    side = round(side + 2)
    style = f"min-width:{min(side, 560)}px;max-width:{round(1.25 * side)}px"
    return _svg((side, side), label, inner, style=style)


def confusion_matrix_svg(
    confusion: np.ndarray, class_names: Sequence[str], *, label: str
) -> str:
    """Returns the row-normalised matrix: row = truth, column = prediction, the diagonal in
    green.

    Up to 30 classes every cell says its percentage and every row and column its name; more
    become one picture with class ids along the sides.
    """
    pixels = confusion.sum(1, keepdims=True)
    shares = confusion / np.maximum(pixels, 1)
    if len(confusion) <= LABELLED_CLASSES:
        return _named_matrix(shares, pixels[:, 0] == 0, class_names, label)
    return _pictured_matrix(shares, label)


def strength(share: float) -> float:
    """Returns opacity of a cell: the square root, so that confusions of one per cent are
    visible.
    """
    return math.sqrt(share)


def _named_matrix(shares, empty, class_names, label) -> str:
    k = len(shares)
    cell = 48 if k <= 6 else 30 if k <= 12 else 24
    names = [name if len(name) <= 18 else name[:17] + "…" for name in class_names]
    margin = 14 + 7.4 * max(len(name) for name in names)
    parts = []
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * cell
        muted = ' class="muted"' if empty[i] else ""
        parts.append(
            f'<text{muted} x="{margin - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end">'
            f"{escape(name)}</text>"
            f'<text transform="translate({middle + 4:.1f} {margin - 8:.1f}) rotate(-90)">'
            f"{escape(name)}</text>"
        )
    parts += [
        _cell(
            shares[i, j],
            margin + j * cell,
            margin + i * cell,
            cell,
            (names[i], names[j]),
            i == j,
        )
        for i, j in np.ndindex(k, k)
        if not empty[i]
    ]
    side = margin + k * cell
    return _square(side, label, "".join(parts) + _border(margin, k * cell))


def _border(at: float, side: float) -> str:
    return f'<rect class="frame" x="{at:.1f}" y="{at:.1f}" width="{side}" height="{side}"/>'


def _cell(share, x, y, side, names, right) -> str:
    if share < 0.0005:
        return ""
    truth, predicted = map(escape, names)
    alpha = strength(share)
    parts = (
        f'<rect class="{"right" if right else "wrong"}" x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" '
        f'width="{side - 1}" height="{side - 1}" fill-opacity="{alpha:.2f}">'
        f"<title>{truth} → {predicted}: {100 * share:.1f} %</title></rect>"
    )
    if share >= 0.005:
        style = "cell most" if alpha > 0.7 else "cell"
        style += " all" if alpha > 0.9 else ""
        middle = f'x="{x + side / 2:.1f}" y="{y + side / 2 + 3.5:.1f}"'
        parts += f'<text class="{style}" {middle}>{100 * share:.0f}</text>'
    return parts


def _pictured_matrix(shares: np.ndarray, label: str) -> str:
    k, margin, side = len(shares), 34, 600
    parts = [
        f'<image x="{margin}" y="{margin}" width="{side}" height="{side}" '
        f'style="image-rendering:pixelated" href="{_matrix_png(shares)}"/>'
        + _border(margin, side)
    ]
    for value in round_ticks(0, k - 1, about=8):
        at = margin + (value + 0.5) * side / k
        parts.append(
            f'<text x="{margin - 8}" y="{at + 4:.1f}" text-anchor="end">{value:.0f}</text>'
            f'<text x="{at:.1f}" y="{margin - 8}" text-anchor="middle">{value:.0f}</text>'
        )
    return _square(margin + side, label, "".join(parts))


def _matrix_png(shares: np.ndarray) -> str:
    """Returns transparent where nothing is, so that one picture suits light and dark pages."""
    rgba = np.zeros((*shares.shape, 4), np.uint8)
    rgba[..., :3] = (226, 105, 42)
    rgba[np.eye(len(shares), dtype=bool), :3] = (36, 150, 140)
    rgba[..., 3] = np.rint(255 * np.sqrt(shares))
    return data_uri(rgba, "PNG")


def data_uri(picture: np.ndarray, kind: str) -> str:
    """Returns the picture, h × w × 3 or 4, inside an address: "PNG", or "JPEG" of
    quality 80.
    """
    buffer = io.BytesIO()
    # 4:4:4, for halved colour would smear lines one pixel thin.
    options = {"quality": 80, "subsampling": 0} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(picture).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
