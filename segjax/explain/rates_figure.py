"""The figure of `explain rates`: on how many paths each pixel of a field is read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from segjax.explain.figure import FRAME, INK, MUTED, axes_at, new_figure, write
from segjax.explain.rates_text import abbreviated, share

COLUMNS = 3
"""Fields in a row."""
WIDEST = 401
"""Largest side that is drawn, in pixels of a field: each then has one pixel of the figure."""
SIDE, EDGE, GAP, HEAD, TITLE, BAR = 2.9, 0.4, 0.4, 0.6, 0.52, 0.95
"""Inches: a field, the margin, between fields, the title, a field's title, the colour bar."""
PATHS = LinearSegmentedColormap.from_list("paths", ["#93c9ec", "#0072b2", "#061f3d"])
"""From few paths to many: never close to white, also without colour."""


def fields_figure(lists: Sequence[Mapping[str, Any]]) -> Figure:
    """Returns the fields of lists of rates, to one scale where all of them stay visible."""
    columns = min(COLUMNS, len(lists))
    rows = -(-len(lists) // columns)
    fields = [facts["field"] for facts in lists]
    widest = min(WIDEST, max(fields))
    scaled = 4 * min(fields) >= widest
    height = HEAD + rows * (TITLE + SIDE + GAP) - GAP + 2 * EDGE
    figure = new_figure(max(columns * (SIDE + GAP) + BAR + 2 * EDGE, 6.6), height)
    _head(figure, height, widest < max(fields), scaled)
    colours = ScalarMappable(_norm(lists), PATHS)
    for index, facts in enumerate(lists):
        row, column = divmod(index, columns)
        left = EDGE + column * (SIDE + GAP)
        top = height - EDGE - HEAD - TITLE - row * (TITLE + SIDE + GAP)
        side = widest if scaled else min(widest, facts["field"])
        _field(figure, left, top, facts, side, colours)
    top = height - EDGE - HEAD - TITLE
    _bar(figure, EDGE + columns * (SIDE + GAP), top, colours)
    return figure


def _head(figure: Figure, height: float, cropped: bool, scaled: bool) -> None:
    title = "Pixels that an output of stacked dilated convolutions reads"
    note = "Colour: number of paths from the pixel to the output. White: never read."
    if cropped:
        note += f" Of large fields, only the middle {WIDEST} x {WIDEST} is drawn."
    if not scaled:
        note += " Scales differ."
    write(figure, EDGE, height - EDGE - 0.12, title, size=12)
    write(figure, EDGE, height - EDGE - 0.4, note, color=MUTED)


def _norm(lists: Sequence[Mapping[str, Any]]) -> LogNorm:
    most = max(max(facts["coverage"]) for facts in lists)
    return LogNorm(1, max(10.0, float(most) ** 2))


def _field(
    figure: Figure, left: float, top: float, facts: Mapping[str, Any], widest: int, colours
) -> None:
    """Draws one field in the middle of a square that is `widest` pixels wide."""
    paths = np.array(facts["coverage"], float)
    cut = max(0, (paths.size - widest + 1) // 2)
    paths = paths[cut : paths.size - cut]
    image = np.ma.masked_equal(paths[:, None] * paths[None, :], 0)
    half, outer = paths.size / 2, widest / 2
    axes = axes_at(figure, left, top - SIDE, SIDE, SIDE)
    axes.imshow(
        image,
        cmap=colours.cmap,
        norm=colours.norm,
        extent=(-half, half, half, -half),
        interpolation="nearest",
    )
    edge = Rectangle(
        (-half, -half), 2 * half, 2 * half, fill=False, ec=INK, lw=1, clip_on=False
    )
    axes.add_patch(edge)
    axes.set(xlim=(-outer, outer), ylim=(outer, -outer))
    axes.axis("off")
    field = facts["field"]
    write(
        figure,
        left,
        top + 0.29,
        f"rates {abbreviated(facts['rates'], letters=28)}",
        size=10,
        weight="bold",
    )
    write(figure, left, top + 0.09, f"{field} x {field} pixels, {share(facts)} read", size=9)


def _bar(figure: Figure, left: float, top: float, colours: ScalarMappable) -> None:
    """Draws the scale of colours, and below it a white square for pixels never read."""
    bar = figure.colorbar(
        colours, cax=axes_at(figure, left, top - SIDE + 0.45, 0.2, SIDE - 0.45)
    )
    bar.set_label("paths (log scale)", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8.5, colors=INK)
    bar.ax.minorticks_off()
    if bar.ax.get_ylim()[1] < 1e5:
        bar.ax.yaxis.set_major_formatter(lambda paths, _: f"{paths:g}")
    axes = axes_at(figure, left, top - SIDE + 0.05, 0.2, 0.2)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=1)
    write(figure, left + 0.3, top - SIDE + 0.1, "0", size=8.5)
