"""Pictures of objects: tints, contours, boxes, names and scores. NumPy and Pillow.

Draw on an image that has its final size, so that lines and letters keep theirs; `shrunk_mask`
brings masks to that size. Colours come from `object_colours`, a shade of the class's colour for
each object, or from `distinct_colours`, where there is one class alone.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image, ImageDraw

from segjax.drawing.object_colours import Colour, colours_of, line_colour, segment_colours
from segjax.drawing.object_texts import WrittenText, object_text, write_texts
from segjax.drawing.overlay import RGB_HW3, Image_HWC, Palette, as_rgb
from segjax.objects import Objects, PanopticMap

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
      dashed: whether the contour is a dashed line and nothing is tinted.
    """

    colour: Colour
    mask: Bool[np.ndarray, "h w"] | None = None
    box: Box | None = None
    text: str = ""
    dashed: bool = False


def draw_objects(
    image: Image_HWC,
    objects: Sequence[DrawnObject],
    *,
    opacity: float = 0.4,
    line: int | None = None,
    letters: int | None = None,
) -> RGB_HW3:
    """Returns the image with objects over it, small ones above large ones.

    Texts are written in the order of the objects. A text that would cover an earlier one is
    left out, so give the most important object first.

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
    letters = letters or max(11, round(max(size) / 60))
    for each in sorted(objects, key=_extent, reverse=True):
        if each.mask is not None:
            _draw_mask(rgb, each, opacity, line)
    picture = Image.fromarray(rgb)
    draw = ImageDraw.Draw(picture)
    for each in objects:
        if each.box is not None:
            _draw_box(draw, each, line)
    texts = (_text(each) for each in objects if each.text)
    write_texts(draw, [text for text in texts if text is not None], size=size, letters=letters)
    return np.array(picture)


def _extent(each: DrawnObject) -> float:
    return float(each.mask.sum()) if each.mask is not None else 0.0


def _draw_mask(rgb: np.ndarray, each: DrawnObject, opacity: float, line: int) -> None:
    """Draws tint and contour into `rgb`."""
    assert each.mask is not None
    part = _window(each.mask)
    if part is None:
        return
    mask, colour = each.mask[part], np.array(each.colour, np.float32)
    edge = contour(mask, width=line)
    if each.dashed:
        row, column = np.indices(mask.shape)
        edge &= (row + column) % (2 * DASH) < DASH
    else:
        inside = rgb[part][mask]
        rgb[part][mask] = np.rint((1 - opacity) * inside + opacity * colour).astype(np.uint8)
    rgb[part][edge] = line_colour(each.colour)


def _window(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Returns the part of the image that the mask takes; None of an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


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


def _text(each: DrawnObject) -> WrittenText | None:
    """Returns an object's text at its upper left corner; None of an empty mask."""
    if each.box is not None:
        return WrittenText(each.text, round(each.box[0]), round(each.box[1]), each.colour)
    part = None if each.mask is None else _window(each.mask)
    if part is None:
        return None
    return WrittenText(each.text, int(part[1].start), int(part[0].start), each.colour)


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
      scores: whether scores are written behind the names.
    """
    size = size or objects.size
    scale = np.tile(np.divide(size[::-1], objects.size[::-1]), 2)
    order = np.argsort(-objects.scores, kind="stable")
    # The colours follow the order of the objects, which does not change with their scores.
    colours = colours_of(objects, palette)
    found = []
    for i in order.tolist():
        number, score = int(objects.classes[i]), float(objects.scores[i])
        x0, y0, x1, y1 = (objects.boxes[i] * scale).tolist()
        has_mask = objects.masks is not None
        found.append(
            DrawnObject(
                colours[i],
                shrunk_mask(objects.mask(i), size) if has_mask else None,
                None if has_mask else (x0, y0, x1, y1),
                object_text(class_names[number], number, score=score if scores else None)
                + " (crowd)" * bool(objects.crowd[i]),
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


def draw_panoptic(
    image: Image_HWC,
    panoptic: PanopticMap,
    palette: Palette,
    *,
    opacity: float = 0.5,
    colours: Mapping[int, Colour] | None = None,
) -> RGB_HW3:
    """Returns the image tinted with the colours of its segments, with lines between them.

    Pixels without a segment show the image.

    Args:
      image: h w c.
      panoptic: its segments, at the image's size.
      palette: 256 × 3, colours by class id.
      opacity: of the tints, from 0 to 1.
      colours: {id of a segment: its colour}; None: `segment_colours`. Segments without one are
        not tinted.

    Raises:
      ValueError: the map has another size than the image.
    """
    rgb, ids = as_rgb(image), panoptic.ids
    if ids.shape != rgb.shape[:2]:
        raise ValueError(f"A map of {ids.shape} is not of the image's size {rgb.shape[:2]}.")
    colours = segment_colours(panoptic, palette) if colours is None else colours
    top = int(ids.max(initial=0)) + 1
    table, tinted = np.zeros((top, 3), np.float32), np.zeros(top, bool)
    for number, colour in colours.items():
        if 0 < number < top:
            table[number], tinted[number] = colour, True
    here = tinted[ids][..., None]
    mixed = np.where(here, np.rint((1 - opacity) * rgb + opacity * table[ids]), rgb)
    lines = segment_edges(ids)
    shown = mixed.astype(np.uint8)
    shown[lines & tinted[ids]] = 255
    return shown


def segment_edges(ids: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels whose right or lower neighbour belongs to another segment.

    >>> segment_edges(np.array([[1, 1, 2], [1, 1, 2]])).astype(int)
    array([[0, 1, 0],
           [0, 1, 0]])
    """
    edges = np.zeros(ids.shape, bool)
    edges[:-1] |= ids[:-1] != ids[1:]
    edges[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return edges
