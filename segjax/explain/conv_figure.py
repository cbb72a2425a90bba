"""The figure of `explain conv`: which inputs each output reads, or where each input goes.

Sides and positions are in inches from the lower left corner.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from segjax.errors import InputError
from segjax.explain.conv_geometry import procedure_arrays
from segjax.explain.conv_text import by, short
from segjax.explain.figure import (
    EMPTY,
    MUTED,
    PLAIN,
    READ,
    READ_EMPTY,
    axes_at,
    grid,
    new_figure,
    write,
)

DRAWN = 24
"""Largest side of an array that is drawn, in cells."""
LARGEST = 4.6
"""Largest width of an array with its numbers; a wider one is drawn without them."""
STEPS = 5
"""Largest number of panels in a row and in a column."""
WIDEST, HIGHEST = 12.0, 9.0
"""Largest width and height of all panels."""
EDGE, GAP, LEAD, TITLE = 0.4, 0.35, 0.2, 0.27
"""Margin of the figure; gaps between columns and between rows; height of a panel's title."""


class Panel(NamedTuple):
    """An array with its title; `marks` and `frame` are those of `grid`."""

    title: str
    array: np.ndarray
    marks: np.ndarray | None = None
    frame: tuple[int, int, int, int] | None = None


class Cells:
    """A way to draw arrays as grids of equal cells that fit the longest number in them."""

    def __init__(self, arrays: Sequence[np.ndarray], *, numbered: bool):
        values = np.concatenate([array[np.isfinite(array)] for array in arrays])
        longest = max(len(short(value)) for value in values)
        largest = max(max(array.shape) for array in arrays)
        self.side = max(0.25 if largest <= 10 else 0.19, 0.068 * longest)
        self.numbered = numbered and largest * self.side <= LARGEST
        if not self.numbered:
            self.side = 0.16
        self.font = min(9.0, 0.62 * 72 * self.side, 104 * self.side / longest)

    def size(self, array: np.ndarray) -> tuple[float, float]:
        """Returns (width, height) of a drawn array."""
        height, width = array.shape
        return width * self.side, height * self.side

    def equals(self, value: float) -> str:
        """Returns " = " and the value for a title, or an empty string without numbers."""
        return f" = {short(value)}" if self.numbered else ""

    def draw(self, figure: Figure, left: float, top: float, panel: Panel) -> None:
        """Draws an array, with a dot for an inserted zero and nothing for NaN."""
        array = panel.array
        width, height = self.size(array)
        write(figure, left, top + 0.07, panel.title, size=9)
        marks = np.full(array.shape, PLAIN) if panel.marks is None else panel.marks
        words = [
            [_word(value, mark) for value, mark in zip(*row, strict=True)]
            for row in zip(array, marks, strict=True)
        ]
        axes = axes_at(figure, left, top - height, width, height)
        values = words if self.numbered else None
        grid(axes, values, marks, frame=panel.frame, size=self.font)


class Sheet:
    """Panels of one size, one for each position of an array, as many as fit."""

    def __init__(self, panels: Mapping[tuple[int, ...], Panel], cells: Cells):
        self.panels, self.cells = panels, cells
        self.shape = tuple(1 + side for side in max(panels))
        wide, high = cells.size(panels[0, 0].array)
        self.across, self.down = max(wide, 1.0) + GAP, high + TITLE + LEAD
        self.rows = min(self.shape[0], STEPS, max(2, int(HIGHEST / self.down)))
        self.columns = min(self.shape[1], STEPS, max(2, int(WIDEST / self.across)))
        self.width, self.height = self.columns * self.across - GAP, self.rows * self.down - LEAD

    def left_out(self, what: str) -> str:
        """Returns a sentence if not all panels are drawn, else an empty string."""
        if (self.rows, self.columns) == self.shape:
            return ""
        return f" Only the first {self.rows} x {self.columns} of {by(self.shape)} {what}."

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Draws the panels in rows and columns."""
        for row, column in np.ndindex(self.rows, self.columns):
            x, y = left + column * self.across, top - TITLE - row * self.down
            self.cells.draw(figure, x, y, self.panels[row, column])


def _word(value: float, mark: int) -> str:
    if value != value:
        return ""
    return "\N{MIDDLE DOT}" if value == 0 and mark in (EMPTY, READ_EMPTY) else short(value)


def arrays_figure(result: Mapping[str, Any]) -> Figure:
    """Returns the figure of what `explain conv` found.

    Raises:
      InputError: its arrays are too large to be drawn.
    """
    numbers = result["numbers"]
    image = np.array(numbers["input"]) if numbers else np.ones(result["input"], int)
    real = [
        np.where(marks > 0, PLAIN, EMPTY)
        for marks in procedure_arrays(result, np.ones(image.shape))
    ]
    largest = max(*real[-1].shape, *result["output"], *result["kernel"])
    if largest > DRAWN:
        raise InputError(
            f"A figure has arrays of up to {DRAWN} x {DRAWN} cells, and one has a side "
            f"of {largest}; choose a smaller size."
        )
    arrays = [array.astype(image.dtype) for array in procedure_arrays(result, image)]
    kernel = np.array(numbers["kernel"]) if numbers else np.ones(result["kernel"], int)
    output = np.array(numbers["output"]) if numbers else np.ones(result["output"], int)
    picture = _scatter if result["transposed"] else _gather
    return picture(result, arrays, real, kernel, output)


def _gather(result, arrays, real, kernel, output) -> Figure:
    """Returns kernel and output, and beside them the input once for each output."""
    cells = Cells([arrays[-1], kernel, output], numbered=result["numbers"] is not None)
    panels = {
        place: Panel(
            f"output {_at(place)}{cells.equals(output[place])}",
            arrays[-1],
            _taken(result, real[-1], place),
            (*(result["stride"] * side for side in place), *result["extent"]),
        )
        for place in np.ndindex(output.shape)
    }
    sheet = Sheet(panels, cells)
    (kernel_width, kernel_height), (output_width, output_height) = map(
        cells.size, (kernel, output)
    )
    left = EDGE + max(kernel_width, output_width, 0.6) + 0.55
    pale = " Pale orange: padding." if result["padding"] else ""
    figure, top = _headed(
        result,
        left + sheet.width + EDGE,
        max(sheet.height, kernel_height + output_height + 2 * TITLE + GAP),
        f"Orange: inputs that the output reads.{pale}{sheet.left_out('outputs')}",
    )
    cells.draw(figure, EDGE, top - TITLE, Panel("kernel", kernel))
    below = top - TITLE - kernel_height - GAP
    cells.draw(figure, EDGE, below - TITLE, Panel("output", output))
    sheet.draw(figure, left, top)
    return figure


def _scatter(result, arrays, real, kernel, output) -> Figure:
    """Returns the four steps of the gather, and below them the output once for each input."""
    image, between, padded = arrays
    spreads = {
        place: _spread(result, image, kernel, place) for place in np.ndindex(image.shape)
    }
    values = [values for values, _ in spreads.values()]
    cells = Cells([padded, output, *values], numbered=result["numbers"] is not None)
    middle = (output.shape[0] // 2, output.shape[1] // 2)
    window = _taken(result, real[2], middle)
    chain = [
        Panel("input", image),
        Panel("1. zeros between", between, real[1]),
        Panel("2. zeros around", padded, window, (*middle, *result["extent"])),
        Panel("3. flipped kernel", kernel[::-1, ::-1]),
        Panel("4. output", output, frame=(*middle, 1, 1)),
    ]
    panels = {
        place: Panel(f"input {_at(place)}{cells.equals(image[place])}", *spread)
        for place, spread in spreads.items()
    }
    sheet = Sheet(panels, cells)
    widths = [max(cells.size(panel.array)[0], 1.1) for panel in chain]
    steps = TITLE + max(cells.size(panel.array)[1] for panel in chain) + 0.5
    figure, top = _headed(
        result,
        max(sum(widths) + 4 * GAP, sheet.width) + 2 * EDGE,
        steps + sheet.height,
        f"As a gather: a convolution of stride 1. Orange: read by output {_at(middle)}.",
    )
    for index, panel in enumerate(chain):
        cells.draw(figure, EDGE + sum(widths[:index]) + index * GAP, top - TITLE, panel)
    note = "As a scatter: each input times the kernel is added to the output."
    cut = " Grey: cut off." if result["padding"] else ""
    write(figure, EDGE, top - steps + 0.08, note + cut + sheet.left_out("inputs"))
    sheet.draw(figure, EDGE, top - steps)
    return figure


def _at(place: tuple[int, ...]) -> str:
    return ",".join(str(side) for side in place)


def _headed(
    result: Mapping[str, Any], width: float, height: float, note: str
) -> tuple[Figure, float]:
    """Returns a figure with a title and room of this height below, and the top of that room."""
    shape, kernel = by(result["input"]), by(result["kernel"])
    name = "Transposed convolution" if result["transposed"] else "Convolution"
    options = ("stride", "padding", "dilation", "output_padding")
    settings = [
        f"{n.replace('_', ' ')} {result[n]}"
        for n in options[: 4 if result["transposed"] else 3]
    ]
    full = height + 2 * EDGE + 0.75
    figure = new_figure(max(width, 6.4), full)
    write(figure, EDGE, full - EDGE - 0.12, f"{name}: {shape} input, {kernel} kernel", size=12)
    write(figure, EDGE, full - EDGE - 0.36, ", ".join(settings), color=MUTED)
    write(figure, EDGE, full - EDGE - 0.64, note)
    return figure, full - EDGE - 0.7


def _taken(result: Mapping[str, Any], real: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Returns the marks of an array where the kernel reads it for one output."""
    marks, window = real.copy(), np.zeros(real.shape, bool)
    stride = 1 if result["transposed"] else result["stride"]
    (y, x), (high, wide) = (stride * side for side in place), result["extent"]
    step = result["dilation"]
    window[y : y + high : step, x : x + wide : step] = True
    marks[window & (real == PLAIN)] = READ
    marks[window & (real == EMPTY)] = READ_EMPTY
    return marks


def _spread(
    result: Mapping[str, Any], image: np.ndarray, kernel: np.ndarray, place: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what one input adds to the uncropped output (NaN: nothing), and its marks."""
    padding, stride, step = result["padding"], result["stride"], result["dilation"]
    values = np.full([side + 2 * padding for side in result["output"]], np.nan)
    marks = np.full(values.shape, EMPTY)
    marks[padding : padding + result["output"][0], padding : padding + result["output"][1]] = (
        PLAIN
    )
    (y, x), (high, wide) = (side * stride for side in place), result["extent"]
    window = (slice(y, y + high, step), slice(x, x + wide, step))
    values[window] = image[place] * kernel
    marks[window] = np.where(marks[window] == PLAIN, READ, READ_EMPTY)
    return values, marks
