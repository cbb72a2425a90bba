"""A contact sheet: small images of a dataset beside their masks, and what the colours mean."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segjax.contracts import IGNORE
from segjax.data.names import composed
from segjax.drawing.overlay import LUMINANCE, as_rgb, planes_overlay
from segjax.report.examples import shrunk

SIDE = 160
"""The longer side of an image on the sheet."""

COLUMNS, GAP, LINE, MARGIN = 4, 4, 18, 16
SWATCH = 18
"""Room for a class's colour before its name."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
PAPER, INK = (255, 255, 255), (40, 40, 40)


class Tile(NamedTuple):
    """An image's name, its pixels h w 3, and its mask's colours h w 3."""

    name: str
    image: np.ndarray
    mask: np.ndarray


def class_tile(name: str, image: np.ndarray, label: np.ndarray, palette: np.ndarray) -> Tile:
    """Returns the tile of a mask of class ids h w; `palette` is 256 × 3."""
    small = _fitted(label.astype(np.uint8), nearest=True)
    return Tile(name, _fitted(as_rgb(image)), palette[small])


def planes_tile(name: str, image: np.ndarray, label: np.ndarray, palette: np.ndarray) -> Tile:
    """Returns the tile of planes h w k of 0, 1 and 255, drawn over the dimmed image."""
    picture = _fitted(as_rgb(image))
    planes = np.stack(
        [
            _fitted(np.ascontiguousarray(label[..., k]).astype(np.uint8), nearest=True)
            for k in range(label.shape[-1])
        ],
        axis=-1,
    )
    grey = (0.45 * (picture @ LUMINANCE)).astype(np.uint8)
    dimmed = np.repeat(grey[..., None], 3, axis=-1)
    drawn = planes_overlay(dimmed, planes == 1, palette[: planes.shape[-1]], opacity=0.7)
    ignored = (planes == IGNORE).any(axis=-1, keepdims=True)
    return Tile(name, picture, np.where(ignored, palette[IGNORE], drawn))


def contact_sheet(
    tiles: Sequence[Tile], legend: Sequence[tuple[str, Sequence[int]]]
) -> Image.Image:
    """Returns one picture of the tiles, row by row, below a legend of (name, colour)."""
    font = _font()
    columns = min(COLUMNS, max(len(tiles), 1))
    width = max(2 * MARGIN + columns * (2 * SIDE + GAP + MARGIN) - MARGIN, 400)
    room = width - 2 * MARGIN - SWATCH
    names = [_cut(composed(name), font, room, end=False) for name, _ in legend]
    places, bottom = _legend_places(names, font, width)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(tile.image.shape[0] for tile in row) + LINE + MARGIN for row in rows]
    sheet = Image.new("RGB", (width, bottom + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for name, (_, colour), (left, top) in zip(names, legend, places, strict=True):
        draw.rectangle((left, top, left + 12, top + 12), tuple(map(int, colour)), INK)
        draw.text((left + SWATCH, top - 1), name, INK, font)
    top = bottom
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = MARGIN + column * (2 * SIDE + GAP + MARGIN)
            draw.text((left, top), _cut(composed(tile.name), font, 2 * SIDE + GAP), INK, font)
            sheet.paste(Image.fromarray(tile.image), (left, top + LINE))
            right = left + tile.image.shape[1] + GAP
            sheet.paste(Image.fromarray(tile.mask), (right, top + LINE))
        top += height
    return sheet


def _fitted(picture: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Returns the picture with its longer side at `SIDE`, or enlarged as far as it goes."""
    longest = max(picture.shape[:2])
    if longest > SIDE // 2:
        return shrunk(picture, SIDE, nearest=nearest)
    return picture.repeat(SIDE // longest, axis=0).repeat(SIDE // longest, axis=1)


def _font() -> Font:
    """Returns a font with Latin, Greek and Cyrillic letters; Pillow's own has little but ASCII.

    Chinese, Japanese and Korean letters are boxes; the class's id stands before them.
    """
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12)


def _legend_places(
    names: Sequence[str], font: Font, width: int
) -> tuple[list[tuple[int, int]], int]:
    """Returns where each entry begins, and where the legend ends."""
    places, left, top = [], MARGIN, MARGIN
    for name in names:
        long = SWATCH + round(font.getlength(name)) + MARGIN
        if left > MARGIN and left + long > width:
            left, top = MARGIN, top + LINE
        places.append((left, top))
        left += long
    return places, top + LINE + MARGIN if names else MARGIN


def _cut(text: str, font: Font, width: int, *, end: bool = True) -> str:
    """Returns a text that is not too long: its end, or its start.

    Names of files differ most at their end; a class's id stands at the start.
    """
    cut, short = text, text
    while cut and font.getlength(short) > width:
        cut = cut[1:] if end else cut[:-1]
        short = f"…{cut}" if end else f"{cut}…"
    return short
