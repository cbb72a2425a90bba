"""The figure of `explain model`: theoretical and effective receptive fields over the image."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from segjax.explain.effective_receptive_field import picture
from segjax.explain.figure import (
    BLUE,
    MUTED,
    VERMILION,
    axes_at,
    new_figure,
    write,
)
from segjax.explain.model_text import shown_name

PANEL, NARROWEST, COLUMN = 4.0, 5.2, 3.9
"""Inches: the longer side of a panel; the least width of all panels; that of a caption."""
SIDE, GAP, ABOVE, BELOW = 0.4, 0.35, 0.95, 1.2
"""Inches around and between the panels."""

_HEAT = LinearSegmentedColormap.from_list("heat", ["#e69f0000", "#e69f00d0", "#d55e00ff"])


def fields_figure(facts: Mapping[str, Any]) -> Figure:
    """Returns a figure with a panel for each field: the image, the gradient and the boxes.

    Args:
      facts: `name`, `channels`, `size` and `effective` of `explain.model.explain_model`.

    Raises:
      InputError: the image can no longer be read.
    """
    effective, (height, width) = facts["effective"], facts["size"]
    fields = effective["fields"]
    source = effective["image"] and pathlib.Path(effective["image"])
    image = picture(source, (height, width), channels=facts["channels"])
    view = _view(fields, height, width)
    tall, wide = view[1] - view[0], view[3] - view[2]
    scale = (PANEL if len(fields) > 1 else NARROWEST) / max(tall, wide)
    across, up = wide * scale, tall * scale
    pitch = max(across + GAP, COLUMN if len(fields) > 1 else 0)
    columns = max((len(fields) - 1) * pitch + max(across, COLUMN), NARROWEST)
    figure = new_figure(columns + 2 * SIDE, up + ABOVE + BELOW)
    top = up + ABOVE + BELOW
    title = f"Receptive field of the centre: {facts['name']}, {height} x {width}"
    write(figure, SIDE, top - 0.5, title, size=12)
    for i, field in enumerate(fields):
        left = SIDE + i * pitch
        write(figure, left, top - 0.82, shown_name(field), size=10, fontweight="bold")
        _panel(axes_at(figure, left, BELOW, across, up), image, field, view)
        _captions(figure, left, field, view)
    note = (
        "Shading: gradient of the centre with respect to each pixel, to the power 3/4, mean of "
        f"{effective['networks']} random networks."
    )
    write(figure, SIDE, 0.3, "\n".join(textwrap.wrap(note, 84)), size=7, color=MUTED)
    return figure


def _view(
    fields: Sequence[Mapping[str, Any]], height: int, width: int
) -> tuple[float, float, float, float]:
    """Returns top, bottom, left and right of the image and of all effective squares."""
    boxes = [_square(field) for field in fields if field["box"]]
    return (
        min([0.0, *(y for y, _, _ in boxes)]),
        max([height, *(y + side for y, _, side in boxes)]),
        min([0.0, *(x for _, x, _ in boxes)]),
        max([width, *(x + side for _, x, side in boxes)]),
    )


def _square(field: Mapping[str, Any]) -> tuple[float, float, float]:
    """Returns top, left and side of the square with 95 % of the gradient."""
    (y, x, height, width), side = field["box"], field["most"]
    return y + (height - side) / 2, x + (width - side) / 2, side


def _captions(
    figure: Figure, left: float, field: Mapping[str, Any], view: Sequence[float]
) -> None:
    box, most = field["box"], field["most"]
    theory = f"{box[2]} x {box[3]}" if box else "not known"
    whole = " + pooled image" if field["image"] else ""
    outside = ", outside the picture" if box and _surrounds(box, view) else ""
    samples = (
        (0.96, "- -", BLUE, f"theoretical: {theory}{whole}{outside}"),
        (0.6, "\u2014", VERMILION, f"effective: 95 % of the gradient in {most} x {most}"),
    )
    for bottom, line, colour, words in samples:
        write(figure, left, bottom, line, size=8, color=colour, fontweight="bold")
        write(figure, left + 0.22, bottom, words, size=8)
    if box and list(box[2:]) != list(field["largest"]):
        more = f"other positions read up to {' x '.join(map(str, field['largest']))}"
        write(figure, left + 0.22, 0.79, more, size=7, color=MUTED)


def _surrounds(box: Sequence[int], view: Sequence[float]) -> bool:
    """Returns whether no side of the box lies within the view."""
    top, left, tall, wide = box
    y, y_end, x, x_end = view
    return top < y and left < x and top + tall > y_end and left + wide > x_end


def _panel(
    axes: Axes, image: np.ndarray, field: Mapping[str, Any], view: Sequence[float]
) -> None:
    grey = image.mean(-1)
    axes.imshow(0.55 * grey + 100, cmap="gray", vmin=0, vmax=255)
    top, left, tall, wide = field["region"]
    axes.imshow(
        np.asarray(field["map"]) ** 0.75,
        cmap=_HEAT,
        vmin=0,
        vmax=1,
        extent=(left - 0.5, left + wide - 0.5, top + tall - 0.5, top - 0.5),
        interpolation="bilinear",
    )
    y, y_end, x, x_end = view
    axes.set(xlim=(x - 0.5, x_end - 0.5), ylim=(y_end - 0.5, y - 0.5))
    axes.axis("off")
    if field["box"]:
        _frame(axes, field["box"], color=BLUE, linestyle=(0, (4, 3)))
        square = _square(field)
        _frame(axes, (*square, square[2]), color=VERMILION, clip_on=False)


def _frame(axes: Axes, box: Sequence[float], **style: Any) -> None:
    top, left, tall, wide = box
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), wide, tall, fill=False, lw=1.6, **style))
