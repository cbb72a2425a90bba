"""Objects and segments beside their truth, as the pictures of a report."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from segjax.drawing.object_colours import Colour, one_class
from segjax.drawing.object_texts import object_texts
from segjax.drawing.objects import (
    DrawnObject,
    draw_objects,
    drawn,
    shrunk_mask,
)
from segjax.drawing.overlay import LUMINANCE, UNCOUNTED, as_rgb
from segjax.drawing.panoptic import draw_panoptic
from segjax.objects import Objects, PanopticMap, Segment
from segjax.report.examples import Panels, Picture, shrunk
from segjax.report.legend import LegendItem, legend_item

HIT: Colour = (64, 196, 176)
FALSE: Colour = (255, 84, 20)
MISS: Colour = (255, 214, 10)
IGNORED: Colour = (int(UNCOUNTED[0]), int(UNCOUNTED[1]), int(UNCOUNTED[2]))
"""Of different brightness too; what is missed has a dashed line, for colour-blind people."""

LETTERS = 11
"""Height of the letters in pixels."""


class Fates(NamedTuple):
    """What became of the objects of an image, as their places in truth and prediction.

    Of segments these are their ids instead. `hits`, `false` and `uncounted` are predicted,
    `misses` true.
    """

    hits: Collection[int]
    false: Collection[int]
    misses: Collection[int]
    uncounted: Collection[int] = ()


def object_panels(
    image: np.ndarray,
    truth: Objects,
    prediction: Objects,
    fates: Fates,
    *,
    class_names: Sequence[str],
    palette: UInt8[np.ndarray, "256 3"],
    longest: int,
) -> Panels:
    """Returns image, truth, prediction and errors with sides up to `longest`, and a legend.

    Args:
      image: h w c.
      truth, prediction: its objects.
      fates: what became of them.
      class_names, palette: of the dataset.
      longest: pixels.
    """
    small = shrunk(as_rgb(image), longest)
    size = small.shape[0], small.shape[1]
    show = lambda objects, scores: draw_objects(
        small, drawn(objects, class_names, palette, size=size, scores=scores), letters=LETTERS
    )
    errors = [
        *_of(truth, fates.misses, MISS, size, class_names, missed=True),
        *_of(prediction, fates.false, FALSE, size, class_names),
        *_of(prediction, fates.hits, HIT, size, class_names),
        *_of(prediction, fates.uncounted, IGNORED, size, class_names),
    ]
    return Panels(
        (Picture("Image", small), Picture("Truth", show(truth, False))),
        (Picture("Prediction", show(prediction, True)),),
        (Picture("Errors", draw_objects(dimmed(small), errors, letters=LETTERS)),),
        _classes((*truth.classes.tolist(), *prediction.classes.tolist()), class_names, palette),
        fate_marks(fates),
    )


def _of(
    objects: Objects,
    which: Collection[int],
    colour: Colour,
    size: tuple[int, int],
    class_names: Sequence[str],
    *,
    missed: bool = False,
) -> list[DrawnObject]:
    """Returns how the objects at some places are drawn: in one colour, the best one first."""
    scale = np.tile(np.divide(size[::-1], objects.size[::-1]), 2)
    found = []
    for i in sorted(which, key=lambda i: (-float(objects.scores[i]), i)):
        number = int(objects.classes[i])
        score = None if missed else float(objects.scores[i])
        text, short = object_texts(class_names, number, score=score)
        x0, y0, x1, y1 = (objects.boxes[i] * scale).tolist()
        mask = None if objects.masks is None else shrunk_mask(objects.mask(i), size)
        box = (x0, y0, x1, y1) if mask is None else None
        found.append(DrawnObject(colour, mask, box, text, missed, short))
    return found


def panoptic_panels(
    image: np.ndarray,
    truth: PanopticMap,
    prediction: PanopticMap,
    fates: Fates,
    *,
    class_names: Sequence[str],
    palette: UInt8[np.ndarray, "256 3"],
    longest: int,
) -> Panels:
    """Returns image, truth, prediction and errors with sides up to `longest`, and a legend.

    Args:
      image: h w c.
      truth, prediction: its segments.
      fates: what became of them, by their ids.
      class_names, palette: of the dataset.
      longest: pixels.
    """
    small = shrunk(as_rgb(image), longest)
    true, found = (_smaller(each, longest) for each in (truth, prediction))
    shown = {
        **dict.fromkeys(fates.hits, HIT),
        **dict.fromkeys(fates.false, FALSE),
        **dict.fromkeys(fates.uncounted, IGNORED),
    }
    show = lambda segments: draw_panoptic(
        small, segments, palette, class_names=class_names, letters=LETTERS
    )
    errors = draw_panoptic(dimmed(small), found, palette, colours=shown)
    texts = [
        _named(each, found, FALSE, class_names)
        for each in found.segments
        if each.id in fates.false
    ]
    missed = [
        _named(each, true, MISS, class_names, dashed=True)
        for each in true.segments
        if each.id in fates.misses
    ]
    errors = draw_objects(errors, [*missed, *texts], opacity=0, letters=LETTERS)
    classes = [each.class_id for each in (*truth.segments, *prediction.segments)]
    return Panels(
        (Picture("Image", small), Picture("Truth", show(true))),
        (Picture("Prediction", show(found)),),
        (Picture("Errors", errors),),
        _classes(classes, class_names, palette),
        fate_marks(fates),
    )


def _smaller(panoptic: PanopticMap, longest: int) -> PanopticMap:
    ids = shrunk(panoptic.ids.astype(np.int32), longest, nearest=True)
    return PanopticMap(ids, panoptic.segments)


def _named(
    segment: Segment,
    panoptic: PanopticMap,
    colour: Colour,
    class_names: Sequence[str],
    *,
    dashed: bool = False,
) -> DrawnObject:
    text, _ = object_texts(class_names, segment.class_id)
    mask = panoptic.ids == segment.id
    return DrawnObject(colour, mask, None, text, dashed)


def dimmed(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the picture in dark grey, on which colours stand out."""
    grey = (0.45 * (rgb @ LUMINANCE)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _classes(
    classes: Iterable[int], class_names: Sequence[str], palette: np.ndarray
) -> tuple[LegendItem, ...]:
    """Returns the legend of the classes; none of a single class, whose objects differ."""
    if one_class(class_names):
        return ()
    return tuple(legend_item(class_names[i], palette[i]) for i in sorted({*classes}))


def fate_marks(fates: Fates) -> tuple[LegendItem, ...]:
    """Returns what the colours of a picture of errors mean, with the number of each."""
    marks = (
        (fates.hits, "hits", HIT),
        (fates.false, "false positives", FALSE),
        (fates.misses, "misses (dashed)", MISS),
        (fates.uncounted, "not counted", IGNORED),
    )
    return tuple(
        legend_item(f"{name}: {len(which)}", colour) for which, name, colour in marks if which
    )
