"""The figure of `explain transforms`: a row for each step, a column for each draw."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from segjax.conformity import declares
from segjax.contracts import IGNORE, Example, LabelledDataset
from segjax.drawing.objects import draw_objects
from segjax.drawing.overlay import UNCOUNTED, as_rgb, overlay, planes_overlay
from segjax.explain.figure import LINE, MUTED, axes_at, new_figure, write
from segjax.explain.transforms_objects import drawn_objects, object_numbers

EDGE, WORDS, SIDE, GAP, PAIR, UNDER, HEAD, ENTRY = 0.4, 2.5, 1.5, 0.25, 0.05, 0.3, 0.75, 0.22
"""Inches: margin, text of a step, longer side of a picture, between columns, between image and
label, below a picture, title, a line of the legend."""

PIXELS = 360
"""The longest side of a picture in pixels."""

LETTERS = 32
"""Characters in a line of a step's text."""


def steps_figure(
    facts: Mapping[str, Any], examples: Sequence[Sequence[Example]], data: Any
) -> Figure:
    """Returns the examples after each step, image and label side by side.

    Args:
      facts: of `explain_transforms`.
      examples: for each step, the example of each draw.
      data: the dataset, whose classes have names and colours where it is a `LabelledDataset`.
    """
    # As the dataset returns it, the example is the same for all draws.
    examples = [examples[0][:1], *examples[1:]]
    wide = max(_shape(example)[1] for row in examples for example in row)
    column = 2 * wide + PAIR + GAP
    width = 2 * EDGE + WORDS + facts["draws"] * column
    entries = _legend(facts, data)
    lines = _arranged(entries, width - 2 * EDGE)
    heights = [max(_shape(example)[0] for example in row) + UNDER for row in examples]
    height = 2 * EDGE + HEAD + ENTRY * len(lines) + sum(heights)
    figure = new_figure(width, height)
    top = _head(figure, height - EDGE, facts, lines)
    # The first row has one example, which all draws start from.
    runs = list(zip(*examples[1:], strict=True)) or [()]
    numbers = [object_numbers([examples[0][0], *run]) for run in runs]
    for number, (row, tall) in enumerate(zip(examples, heights, strict=True)):
        _step(figure, EDGE, top - 0.1, number, facts["steps"][number])
        for draw, example in enumerate(row):
            pictures = _pictures(example, data, numbers[draw][number])
            _pair(figure, EDGE + WORDS + draw * column, top, example, pictures)
        top -= tall
    return figure


def effect(step: Mapping[str, Any]) -> str:
    """Returns in how many draws a step changed the example, and its CPU time or its place."""
    time = step["milliseconds"]
    where = "on the devices" if time is None else f"{time:.1f} ms"
    return f"changed {step['changed']} of {len(step['draws'])}, {where}"


def _shape(example: Example) -> tuple[float, float]:
    """Returns height and width of a picture in inches."""
    h, w = example["image"].shape[:2]
    return SIDE * h / max(h, w), SIDE * w / max(h, w)


def _head(figure: Figure, top: float, facts: Mapping[str, Any], lines: Sequence) -> float:
    """Writes title and legend, and returns where the rows begin."""
    title = f"Transforms of {facts['name']} on example {facts['index']}, {facts['example']}"
    write(figure, EDGE, top - 0.12, title, size=12)
    shown = "Image and label" + " with objects" * ("objects" in facts["steps"][0]["draws"][0])
    note = f"{shown} after each step; {facts['draws']} draw(s) with seed {facts['seed']}"
    write(figure, EDGE, top - 0.38, note, color=MUTED)
    top -= HEAD - ENTRY / 2
    for line in lines:
        for left, name, colour in line:
            axes = axes_at(figure, EDGE + left, top - 0.02, 0.14, 0.12)
            axes.set(xticks=[], yticks=[], facecolor=np.asarray(colour) / 255)
            write(figure, EDGE + left + 0.2, top, name, size=8.5)
        top -= ENTRY
    return top


def _legend(facts: Mapping[str, Any], data: Any) -> list[tuple[str, Sequence[int]]]:
    """Returns name and colour of each class that a label of the figure has."""
    if not declares(data, LabelledDataset):
        return []
    shown = [one for step in facts["steps"] for one in step["draws"]]
    present = sorted({index for one in shown for index in one["classes"]})
    names, palette = data.class_names, data.palette
    entries = [(names[i], palette[i].tolist()) for i in present if i < len(names)]
    if any(one["ignored"] for one in shown):
        entries.append(("ignored", UNCOUNTED.tolist()))
    return entries


def _arranged(entries: Sequence[tuple[str, Sequence[int]]], width: float) -> list[list]:
    """Returns lines of (place, name, colour), none wider than the figure."""
    lines, left = [], 0.0
    for name, colour in entries:
        long = 0.4 + 0.075 * len(name)
        if not lines or left + long > width:
            lines.append([])
            left = 0.0
        lines[-1].append((left, name, colour))
        left += long
    return lines


def _step(figure: Figure, left: float, top: float, number: int, step: Mapping) -> None:
    name = step["transform"] or "as the dataset returns it"
    title, _, fields = name.partition("(")
    write(figure, left, top, f"{number}  {title}", size=9.5, weight="bold")
    lines = textwrap.wrap(fields.removesuffix(")"), LETTERS)[:6]
    if step["transform"]:
        lines.append(effect(step))
    for line, words in enumerate(lines):
        write(figure, left, top - 0.19 - 0.16 * line, words, size=8, color=MUTED)


def _pair(
    figure: Figure, left: float, top: float, example: Example, pictures: Sequence[np.ndarray]
) -> None:
    tall, wide = _shape(example)
    for place, picture in enumerate(pictures):
        start = left + place * (wide + PAIR)
        _picture(axes_at(figure, start, top - tall, wide, tall), picture)
    h, w = example["image"].shape[:2]
    write(figure, left, top - tall - 0.15, f"{h} x {w}", size=7.5, color=MUTED)


def _pictures(
    example: Example, data: Any, numbers: Sequence[int]
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """Returns the image, and the image with label and objects, no larger than is shown."""
    image, label = _shrunk(as_rgb(example["image"])), _shrunk(labelled(example, data))
    if not numbers:
        return image, label
    size = label.shape[0], label.shape[1]
    return image, draw_objects(label, drawn_objects(example, numbers, size=size), opacity=0)


def _picture(axes: Axes, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    h, w = picture.shape[:2]
    axes.imshow(picture, extent=(0, w, h, 0), aspect="auto", interpolation="nearest")
    axes.axis("off")
    axes.add_patch(Rectangle((0, 0), w, h, fill=False, ec=LINE, lw=0.6, clip_on=False))


def labelled(example: Example, data: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image with its label drawn over it, and ignored pixels in grey.

    Where the dataset has no classes, or the label is not one of classes, it is the image.
    """
    image, label = example["image"], example["label"]
    if not declares(data, LabelledDataset) or label.dtype.kind not in "iub":
        return as_rgb(image)
    if label.ndim == 3:
        drawn = planes_overlay(image, label == 1, data.palette[: label.shape[-1]])
        ignored = (label == IGNORE).all(-1)
    else:
        drawn = overlay(image, label, data.palette, opacity=0.6)
        ignored = label == IGNORE
    drawn = drawn.copy()
    drawn[ignored] = UNCOUNTED
    return drawn


def _shrunk(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    h, w = picture.shape[:2]
    scale = PIXELS / max(h, w)
    if scale >= 1:
        return picture
    size = max(1, round(w * scale)), max(1, round(h * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
