"""Theoretical and effective receptive fields, drawn over the image."""

import pathlib
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
    save,
    write,
)

PANEL, NARROWEST = 4.0, 5.2
"""Inches: the longer side of a panel, and the least width that the words need."""
SIDE, GAP, ABOVE, BELOW = 0.4, 0.35, 0.95, 1.1
"""Inches around and between the panels."""

_HEAT = LinearSegmentedColormap.from_list("heat", ["#e69f0000", "#e69f00d0", "#d55e00ff"])


def draw_fields(facts: Mapping[str, Any], path: pathlib.Path) -> None:
    """Writes a PNG with one panel for each field: the image, the gradient, the boxes.

    Args:
      facts: `name`, `channels`, `size` and `effective` as `explain.model.run` returns them.
      path: the file to write.

    Raises:
      InputError: it cannot be written, or the image cannot be read any more.
    """
    effective, (height, width) = facts["effective"], facts["size"]
    source = effective["image"] and pathlib.Path(effective["image"])
    image = picture(source, (height, width), channels=facts["channels"])
    scale = (PANEL if len(effective["fields"]) > 1 else NARROWEST) / max(height, width)
    across, up = width * scale, height * scale
    columns = max(len(effective["fields"]) * (across + GAP) - GAP, NARROWEST)
    figure = new_figure(columns + 2 * SIDE, up + ABOVE + BELOW)
    top = up + ABOVE + BELOW
    title = f"Receptive field of the centre: {facts['name']}, {height} x {width}"
    write(figure, SIDE, top - 0.5, title, size=12)
    for i, field in enumerate(effective["fields"]):
        left = SIDE + i * (across + GAP)
        write(figure, left, top - 0.82, field["of"], size=10, fontweight="bold")
        _panel(axes_at(figure, left, BELOW, across, up), image, field)
        _captions(figure, left, field)
    note = (
        "Shading: how strongly a pixel moves the centre (to the power 3/4), mean of "
        f"{effective['networks']} random networks."
    )
    write(figure, SIDE, 0.3, note, size=7, color=MUTED)
    save(figure, path)


def _captions(figure: Figure, left: float, field: Mapping[str, Any]) -> None:
    box, most = field["box"], field["most"]
    theory = f"{box[2]} x {box[3]}" if box else "not known"
    whole = " + pooled image" if field["image"] else ""
    further = ", beyond the frame" if box and _beyond(field) else ""
    write(figure, left, 0.86, f"- -  theoretical: {theory}{whole}{further}", size=8, color=BLUE)
    effective = f"\u2014  effective: 95 % of the gradient in {most} x {most}"
    write(figure, left, 0.64, effective, size=8, color=VERMILION)


def _beyond(field: Mapping[str, Any]) -> bool:
    """Returns whether no side of the box lies within the image."""
    (top, left, tall, wide), (height, width) = field["box"], field["size"]
    return top < 0 and left < 0 and top + tall > height and left + wide > width


def _panel(axes: Axes, image: np.ndarray, field: Mapping[str, Any]) -> None:
    height, width = image.shape[:2]
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
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")
    if field["box"]:
        _frame(axes, field["box"], color=BLUE, linestyle=(0, (4, 3)))
        (y, x, box_height, box_width), side = field["box"], field["most"]
        corner = y + (box_height - side) / 2, x + (box_width - side) / 2
        _frame(axes, (*corner, side, side), color=VERMILION)


def _frame(axes: Axes, box: Sequence[float], **style: Any) -> None:
    top, left, tall, wide = box
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), wide, tall, fill=False, lw=1.6, **style))
