"""The look of all figures of `explain`: a white card that fits a light and a dark page.

The colours are those of Okabe and Ito, which colour-blind people can tell apart, and colour is
never the only difference. Lengths are in inches and fonts in points; a figure has 150 pixels
per inch.
"""

import errno
import io
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from segjax.atomic import atomic_path
from segjax.errors import InputError

INK, MUTED, LINE, FRAME = "#1e2126", "#5b6068", "#a9aeb6", "#c9cdd3"
ORANGE, GREEN, BLUE, VERMILION = "#e69f00", "#009e73", "#0072b2", "#d55e00"

PLAIN, EMPTY, READ, READ_EMPTY = 0, 1, 2, 3
"""Marks of a cell in `grid`: a value, an inserted zero, and each of them where it is read."""

_CELLS = ListedColormap(["#ffffff", "#dfe2e6", ORANGE, "#f3dca8"])
_DPI = 150
_MARGIN = 0.12


class Card(Figure):
    """A figure that needs no pyplot: a notebook shows it as the result of a cell."""

    def _repr_png_(self) -> bytes:
        data = io.BytesIO()
        self.savefig(data, format="png", dpi=_DPI)
        return data.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty card of this size in inches."""
    figure = Card(figsize=(width, height), facecolor=FRAME)
    card = FancyBboxPatch(
        (_MARGIN, _MARGIN),
        width - 2 * _MARGIN,
        height - 2 * _MARGIN,
        boxstyle="round,pad=0,rounding_size=0.12",
        transform=figure.dpi_scale_trans,
        facecolor="#ffffff",
        edgecolor=LINE,
        linewidth=0.8,
        zorder=-10,
    )
    figure.add_artist(card)
    return figure


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Returns axes at a place given in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def write(
    figure: Figure, left: float, bottom: float, words: str, *, size: float = 9, **style
) -> None:
    """Writes words at a place given in inches."""
    style = {"color": INK, "va": "baseline", **style}
    figure.text(left, bottom, words, fontsize=size, transform=figure.dpi_scale_trans, **style)


def grid(
    axes: Axes,
    values: Sequence[Sequence[str]] | None,
    marks: np.ndarray,
    *,
    frame: tuple[int, int, int, int] | None = None,
    size: float = 8,
) -> None:
    """Draws a table of square cells, coloured by their marks.

    Args:
      axes: with the proportions of the table.
      values: text of each cell, or None for empty cells.
      marks: PLAIN, EMPTY, READ or READ_EMPTY for each cell, h w.
      frame: (row, column, height, width) of cells that get a heavy outline.
      size: of the font, in points.
    """
    height, width = marks.shape
    axes.pcolormesh(
        marks, cmap=_CELLS, vmin=0, vmax=3, edgecolors=LINE, linewidth=0.6, rasterized=True
    )
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.axis("off")
    edge = Rectangle((0, 0), width, height, fill=False, ec=LINE, lw=1.2, clip_on=False)
    axes.add_patch(edge)
    if frame is not None:
        row, column, tall, wide = frame
        axes.add_patch(
            Rectangle((column, row), wide, tall, fill=False, ec=BLUE, lw=2, clip_on=False)
        )
    for (row, column), mark in np.ndenumerate(marks):
        word = values[int(row)][int(column)] if values is not None else ""
        if not word:
            continue
        axes.text(
            column + 0.5,
            row + 0.53,
            word,
            ha="center",
            va="center",
            fontsize=size,
            color=MUTED if mark in (EMPTY, READ_EMPTY) else INK,
            fontweight="bold" if mark == READ else "normal",
        )


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes the figure as a PNG, in a folder that is made if there is none.

    Raises:
      InputError: the folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", dpi=_DPI)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"--out {path} cannot be written ({error.strerror}); choose another folder."
        ) from error
