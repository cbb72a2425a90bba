"""A confusion matrix as inline SVG: every cell a number, or one picture for many classes."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from segjax.report.svg import data_uri, round_ticks, svg

LABELLED_CLASSES = 30
"""Above this a matrix has no room for legible names: it becomes one picture."""

LETTERS = 18
"""Of a class name beside the matrix; longer ones are cut."""

ON_DARK = {"right": 0.66, "wrong": 0.7}
ON_LIGHT = {"right": 0.966, "wrong": math.inf}
"""Opacities of a cell from which its number is black on a dark page, and white on a light one:
contrast stays above 4.5 to 1."""

PICTURE, PICTURE_MARGIN = 600, 34
"""Sides of a matrix without names, and of the strip for its ids."""


def least_width(class_names: Sequence[str]) -> int:
    """Returns the width in pixels below which the matrix of these classes is not legible."""
    return round(min(0.85 * _side(class_names), 560))


def confusion_matrix_svg(
    confusion: np.ndarray, class_names: Sequence[str], *, label: str
) -> str:
    """Returns the matrix of shares: a row is a true class, a column a predicted one.

    Each row sums to 1 and the diagonal is green. Up to 30 classes, every cell has its
    percentage and every row and column its name; more become one picture with class ids along
    the sides.
    """
    pixels = confusion.sum(1, keepdims=True)
    shares = confusion / np.maximum(pixels, 1)
    if len(confusion) <= LABELLED_CLASSES:
        inner = _named_matrix(shares, pixels[:, 0] == 0, class_names)
    else:
        inner = _pictured_matrix(shares)
    side = _side(class_names)
    style = f"min-width:{least_width(class_names)}px;max-width:{round(1.25 * side)}px"
    return svg((side, side), label, inner, style=style)


def strength(share: float) -> float:
    """Returns the opacity of a cell, a square root: confusions of 1 % stay visible."""
    return math.sqrt(share)


def _side(class_names: Sequence[str]) -> int:
    if len(class_names) > LABELLED_CLASSES:
        return PICTURE_MARGIN + PICTURE + 2
    margin, cell = _layout(class_names)
    return round(margin + len(class_names) * cell + 2)


def _layout(class_names: Sequence[str]) -> tuple[float, int]:
    """Returns the width of the names beside the matrix, and the side of a cell."""
    k = len(class_names)
    cell = 48 if k <= 6 else 30 if k <= 12 else 24
    return 14 + 7.4 * max(len(_short(name)) for name in class_names), cell


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"


def _named_matrix(shares, empty, class_names) -> str:
    margin, cell = _layout(class_names)
    names = [_short(name) for name in class_names]
    parts = []
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * cell
        absent = ' class="empty"' if empty[i] else ""
        parts.append(
            f'<text{absent} x="{margin - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end">'
            f"{escape(name)}</text>"
            f'<text transform="translate({middle + 4:.1f} {margin - 8:.1f}) rotate(-90)">'
            f"{escape(name)}</text>"
        )
    k = len(names)
    for i, j in np.ndindex(k, k):
        if not empty[i]:
            at = margin + j * cell, margin + i * cell
            parts.append(_cell(shares[i, j], at, cell, (names[i], names[j]), i == j))
    return "".join(parts) + _border(margin, k * cell)


def _border(at: float, side: float) -> str:
    return f'<rect class="frame" x="{at:.1f}" y="{at:.1f}" width="{side}" height="{side}"/>'


def _cell(share, at, side, names, right) -> str:
    if share < 0.0005:
        return ""
    truth, predicted = map(escape, names)
    (x, y), opacity, kind = at, strength(share), "right" if right else "wrong"
    parts = (
        f'<rect class="{kind}" x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" '
        f'width="{side - 1}" height="{side - 1}" fill-opacity="{opacity:.2f}">'
        f"<title>{truth} → {predicted}: {100 * share:.1f} %</title></rect>"
    )
    if share >= 0.005:
        style = "cell"
        style += " on-dark" if opacity >= ON_DARK[kind] else ""
        style += " on-light" if opacity >= ON_LIGHT[kind] else ""
        middle = f'x="{x + side / 2:.1f}" y="{y + side / 2 + 3.5:.1f}"'
        parts += f'<text class="{style}" {middle}>{100 * share:.0f}</text>'
    return parts


def _pictured_matrix(shares: np.ndarray) -> str:
    k, margin, side = len(shares), PICTURE_MARGIN, PICTURE
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
    return "".join(parts)


def _matrix_png(shares: np.ndarray) -> str:
    """Returns one pixel a cell, transparent where it is 0: it suits light and dark pages."""
    rgba = np.zeros((*shares.shape, 4), np.uint8)
    rgba[..., :3] = (226, 105, 42)
    rgba[np.eye(len(shares), dtype=bool), :3] = (36, 150, 140)
    rgba[..., 3] = np.rint(255 * np.sqrt(shares))
    return data_uri(rgba, "PNG")
