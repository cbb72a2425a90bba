"""Pictures of panoptic maps: tints, lines between segments, and names in them."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image, ImageDraw

from segjax.drawing.object_colours import Colour, one_class, segment_colours
from segjax.drawing.object_texts import WrittenText, object_text, write_texts
from segjax.drawing.objects import letter_height
from segjax.drawing.overlay import RGB_HW3, Image_HWC, Palette, as_rgb
from segjax.drawing.text_places import Region, region_of_mask
from segjax.objects import PanopticMap, Segment


def draw_panoptic(
    image: Image_HWC,
    panoptic: PanopticMap,
    palette: Palette,
    *,
    opacity: float = 0.5,
    colours: Mapping[int, Colour] | None = None,
    class_names: Sequence[str] = (),
    letters: int | None = None,
) -> RGB_HW3:
    """Returns the image tinted with the colours of its segments, with lines between them.

    Pixels without a segment show the image. Names stand in their segments; names that would
    hide a segment or one another are left out, those of small segments first.

    Args:
      image: h w c.
      panoptic: its segments, at the image's size.
      palette: 256 × 3, colours by class id.
      opacity: of the tints, from 0 to 1.
      colours: {id of a segment: its colour}; None: `segment_colours`. Segments without one are
        not tinted.
      class_names: of the dataset; names are written where there are three classes or more.
      letters: height of the letters in pixels; None: by the size of the image.

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
    if one_class(class_names):
        return shown
    picture = Image.fromarray(shown)
    regions = _segment_regions(panoptic)
    texts = [
        _name(each, region, colours[each.id], class_names)
        for each, region in regions
        if each.id in colours
    ]
    write_texts(
        ImageDraw.Draw(picture),
        texts,
        regions=[region for _, region in regions],
        size=ids.shape,
        letters=letters or letter_height(ids.shape),
    )
    return np.array(picture)


def _name(
    segment: Segment, region: Region, colour: Colour, class_names: Sequence[str]
) -> WrittenText:
    """Returns the name of a segment; that of a stuff stands nowhere but in it."""
    text = object_text(class_names[segment.class_id], segment.class_id)
    return WrittenText((text,), region, colour, inside=True, beside=segment.is_thing)


def _segment_regions(panoptic: PanopticMap) -> list[tuple[Segment, Region]]:
    """Returns the segments that have pixels, each with these, the largest first."""
    found = []
    for each in panoptic.segments:
        if (region := region_of_mask(panoptic.ids == each.id)) is not None:
            assert region.mask is not None
            found.append((int(region.mask.sum()), each, region))
    found.sort(key=lambda one: (-one[0], one[1].id))
    return [(each, region) for _, each, region in found]


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
