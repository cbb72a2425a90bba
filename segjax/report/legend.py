"""What the colours of pictures mean: squares of a colour, each beside its name."""

from collections.abc import Iterable
from html import escape
from typing import NamedTuple


class LegendItem(NamedTuple):
    """A name, and its colour as red, green and blue from 0 to 255."""

    name: str
    colour: tuple[int, int, int]


def legend_item(name: str, colour: Iterable[int]) -> LegendItem:
    """Returns the item of a palette's colour."""
    red, green, blue = map(int, colour)
    return LegendItem(name, (red, green, blue))


def swatch(colour: Iterable[int]) -> str:
    """Returns a small square of this colour."""
    red, green, blue = map(int, colour)
    return f'<span class="swatch" style="background:#{red:02x}{green:02x}{blue:02x}"></span>'


def legend(items: Iterable[LegendItem]) -> str:
    """Returns the items as a list, each once; an empty string where there are none."""
    shown = "".join(
        f"<li>{swatch(item.colour)}{escape(item.name)}</li>" for item in dict.fromkeys(items)
    )
    return f'<ul class="legend">{shown}</ul>' if shown else ""
