"""The legend of overlays: one picture for the whole folder, so overlays keep their size."""

import dataclasses
import pathlib
from collections.abc import Sequence
from html import escape
from typing import ClassVar

from segjax.atomic import write_text
from segjax.outputs.lists import Masks, hex_colour

LEGEND = "legend.svg"
"""An SVG picture: every browser shows it, and class names may be in any script."""

ROWS, ROW, COLUMN = 24, 24, 240
"""Classes below each other, the height of each, and the width of a column; in pixels."""


@dataclasses.dataclass(frozen=True)
class Legend:
    """The colour and the name of each class, in the order of their ids."""

    class_names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    file: ClassVar[str] = LEGEND

    def write(self, path: pathlib.Path, masks: Masks) -> None:
        """Writes the file, whole or not at all; it is the same for all masks."""
        write_text(path, legend_svg(self.class_names, self.colours))


def legend_svg(class_names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    """Returns an SVG picture of a coloured square and a name for each class.

    A black square is crossed out: overlays do not tint classes whose colour is black.
    """
    entries = [
        _entry(name, colour, x=12 + COLUMN * (i // ROWS), y=12 + ROW * (i % ROWS))
        for i, (name, colour) in enumerate(zip(class_names, colours, strict=True))
    ]
    width = 12 + COLUMN * ((len(entries) + ROWS - 1) // ROWS)
    height = 24 + ROW * min(len(entries), ROWS) - (ROW - 16)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="14">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(entries) + "\n"
        "</svg>\n"
    )


def _entry(name: str, colour: tuple[int, int, int], *, x: int, y: int) -> str:
    square = (
        f'<rect x="{x}" y="{y}" width="16" height="16" fill="{hex_colour(colour)}" '
        'stroke="#888"/>'
    )
    note = ""
    if not any(colour):
        square = (
            f'<rect x="{x}" y="{y}" width="16" height="16" fill="none" stroke="#888"/>'
            f'<path d="M{x} {y + 16}L{x + 16} {y}" stroke="#888"/>'
        )
        note = " (not tinted)"
    return f'{square}<text x="{x + 24}" y="{y + 13}">{escape(name)}{note}</text>'
