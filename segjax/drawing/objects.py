"""Pictures of objects: tints, contours, boxes, names and scores. NumPy and Pillow.

Draw on an image that has its final size, so that lines and letters keep theirs; `shrunk_mask`
brings masks to that size. Colours come from `object_colours`, a shade of the class's colour for
each object, or from `distinct_colours`, where the dataset has one class of objects.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from segjax.drawing.object_colours import Colour, colours_of, line_colour
from segjax.drawing.object_texts import WrittenText, object_texts, write_texts
from segjax.drawing.overlay import RGB_HW3, Image_HWC, Palette, as_rgb
from segjax.drawing.text_places import Region, region_of_mask
from segjax.objects import Objects

Box = tuple[float, float, float, float]

DASH = 4
"""Length of the dashes of a dashed line, and of the gaps between them, in pixels."""


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnObject:
    """How one object is drawn.

    Attributes:
      colour: of tint, contour, box and text.
      mask: h w; None: the box alone.
      box: (x0, y0, x1, y1) in pixels; None: the mask alone.
      text: beside the object, such as "car 0.93".
      short_text: in place of `text` where that has no room; "" where there is none.
      dashed: whether the contour is a dashed line and nothing is tinted.
    """

    colour: Colour
    mask: Bool[np.ndarray, "h w"] | None = None
    box: Box | None = None
    text: str = ""
    dashed: bool = False
    short_text: str = ""

    @property
    def forms(self) -> tuple[str, ...]:
        """The texts, the longest first."""
        return tuple(dict.fromkeys(text for text in (self.text, self.short_text) if text))


def draw_objects(
    image: Image_HWC,
    objects: Sequence[DrawnObject],
    *,
    opacity: float = 0.4,
    line: int | None = None,
    letters: int | None = None,
) -> RGB_HW3:
    """Returns the image with objects over it, small ones above large ones.

    Texts are written in the order of the objects, so give the most important one first. A text
    that would hide an object or an earlier text becomes shorter or is left out.

    Args:
      image: h w c.
      objects: what to draw; each mask is h w.
      opacity: of the tints, from 0 to 1.
      line: width of contours and boxes in pixels; None: by the size of the image.
      letters: height of the letters in pixels; None: by the size of the image.

    Raises:
      ValueError: a mask has another size than the image.
    """
    rgb = as_rgb(image).copy()
    size = rgb.shape[:2]
    for each in objects:
        if each.mask is not None and each.mask.shape != size:
            raise ValueError(
                f"A mask of shape {each.mask.shape} is not of the image's size {size}."
            )
    line = line or max(1, round(max(size) / 500))
    for each in sorted(objects, key=_extent, reverse=True):
        if each.mask is not None:
            _draw_mask(rgb, each, opacity, line)
    picture = Image.fromarray(rgb)
    draw = ImageDraw.Draw(picture)
    for each in objects:
        if each.box is not None:
            _draw_box(draw, each, line)
    shown = [(each, _region(each, size)) for each in objects]
    shown = [(each, region) for each, region in shown if region is not None]
    write_texts(
        draw,
        [
            WrittenText(forms, region, each.colour)
            for each, region in shown
            if (forms := each.forms)
        ],
        regions=[region for _, region in shown],
        size=size,
        letters=letters or letter_height(size),
    )
    return np.array(picture)


def letter_height(size: tuple[int, int]) -> int:
    """Returns the height of letters in a picture of this size."""
    return max(11, round(max(size) / 60))


def _extent(each: DrawnObject) -> float:
    return float(each.mask.sum()) if each.mask is not None else 0.0


def _draw_mask(rgb: np.ndarray, each: DrawnObject, opacity: float, line: int) -> None:
    """Draws tint and contour into `rgb`."""
    assert each.mask is not None
    if (region := region_of_mask(each.mask)) is None:
        return
    part, mask = region
    assert mask is not None
    colour = np.array(each.colour, np.float32)
    edge = contour(mask, width=line)
    if each.dashed:
        row, column = np.indices(mask.shape)
        edge &= (row + column) % (2 * DASH) < DASH
    else:
        inside = rgb[part][mask]
        rgb[part][mask] = np.rint((1 - opacity) * inside + opacity * colour).astype(np.uint8)
    rgb[part][edge] = line_colour(each.colour)


def contour(mask: Bool[np.ndarray, "h w"], *, width: int = 1) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels of a mask within `width` steps of a pixel outside it.

    What lies outside the array is outside the mask.

    >>> contour(np.ones((3, 4), bool)).astype(int)
    array([[1, 1, 1, 1],
           [1, 0, 0, 1],
           [1, 1, 1, 1]])
    """
    inner = np.pad(mask, 1)
    for _ in range(width):
        core = inner.copy()
        for axis, step in (0, 1), (0, -1), (1, 1), (1, -1):
            core &= np.roll(inner, step, axis)
        inner = core
    return mask & ~inner[1:-1, 1:-1]


def _draw_box(draw: ImageDraw.ImageDraw, each: DrawnObject, line: int) -> None:
    assert each.box is not None
    x0, y0, x1, y1 = (round(value) for value in each.box)
    x1, y1 = max(x1 - 1, x0), max(y1 - 1, y0)  # The last pixel inside.
    colour = line_colour(each.colour)
    if not each.dashed:
        draw.rectangle((x0, y0, x1, y1), outline=colour, width=line)
        return
    for start, end in _dashes(x0, x1):
        for y in y0, y1:
            draw.line((start, y, end, y), fill=colour, width=line)
    for start, end in _dashes(y0, y1):
        for x in x0, x1:
            draw.line((x, start, x, end), fill=colour, width=line)


def _region(each: DrawnObject, size: tuple[int, int]) -> Region | None:
    """Returns the pixels of an object; None if there are none in the picture."""
    if each.mask is not None:
        return region_of_mask(each.mask)
    if each.box is None:
        return None
    (x0, y0, x1, y1), (height, width) = (round(value) for value in each.box), size
    rows, columns = slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return Region((rows, columns))


def _dashes(low: int, high: int) -> Iterator[tuple[int, int]]:
    for start in range(low, high + 1, 2 * DASH):
        yield start, min(start + DASH - 1, high)


def drawn(
    objects: Objects,
    class_names: Sequence[str],
    palette: Palette,
    *,
    size: tuple[int, int] | None = None,
    scores: bool = True,
) -> list[DrawnObject]:
    """Returns how objects are drawn: the highest score first, with names, and boxes or masks.

    Args:
      objects: truth or prediction.
      class_names, palette: of the dataset.
      size: height and width of the picture; None: the image's own.
      scores: whether scores are written behind the names. Where there is one class beside the
        background, they stand alone.
    """
    size = size or objects.size
    scale = np.tile(np.divide(size[::-1], objects.size[::-1]), 2)
    order = np.argsort(-objects.scores, kind="stable")
    # The colours follow the order of the objects, which does not change with their scores.
    colours = colours_of(objects, palette, class_names)
    found = []
    for i in order.tolist():
        score = float(objects.scores[i]) if scores else None
        text, short = object_texts(
            class_names, int(objects.classes[i]), score=score, crowd=bool(objects.crowd[i])
        )
        x0, y0, x1, y1 = (objects.boxes[i] * scale).tolist()
        has_mask = objects.masks is not None
        found.append(
            DrawnObject(
                colours[i],
                shrunk_mask(objects.mask(i), size) if has_mask else None,
                None if has_mask else (x0, y0, x1, y1),
                text,
                short_text=short,
            )
        )
    return found


def shrunk_mask(
    mask: Bool[np.ndarray, "h w"], size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Returns a mask at another size; a mask with pixels never becomes empty."""
    if mask.shape == size or not mask.any():
        return mask if mask.shape == size else np.zeros(size, bool)
    height, width = size
    levels = Image.fromarray(mask.astype(np.uint8) * 255)
    levels = levels.resize((width, height), Image.Resampling.BOX)
    share = np.asarray(levels)
    return share >= min(128, max(int(share.max()), 1))
