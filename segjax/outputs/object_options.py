"""Options of predict → files and lists of a task that finds objects or panoptic segments."""

import argparse
import math
from collections.abc import Sequence

from segjax.drawing.object_colours import one_class
from segjax.errors import InputError
from segjax.outputs.found import FoundObjects, FoundSegments
from segjax.outputs.kinds import Output
from segjax.outputs.legend import Legend
from segjax.outputs.lists import Colour, ImageList
from segjax.outputs.object_kinds import (
    InstanceIds,
    ObjectCutOuts,
    ObjectsLabelme,
    ObjectsOverlay,
)
from segjax.outputs.object_lists import CocoObjects, Counts, ObjectAreas, PanopticList
from segjax.outputs.options import kept_classes, polygon_tolerance
from segjax.outputs.panoptic_kinds import PanopticLabelme, PanopticOverlay, SegmentIds
from segjax.outputs.selection import ALL, SCORE_ABOVE, Selection

OF_PIXELS = ("probabilities", "file_ids", "blur", "background")
"""Options of predict for tasks that give every pixel a class."""

OF_OBJECTS = ("keep", "cut_out", "score_above", "max_objects")
"""Options of predict that a panoptic map does not take."""


def asked_object_outputs(
    options: argparse.Namespace, class_names: Sequence[str]
) -> list[Output]:
    """Returns the files of an image that the options ask for, the PNG of instance ids first.

    Args:
      options: of predict.
      class_names: of the dataset, the background first.

    Raises:
      InputError: an option's value cannot be used, or is for other tasks.
    """
    refuse(options, OF_PIXELS, "needs a class for every pixel, but this run finds objects")
    selection = asked_selection(options)
    outputs: list[Output] = [InstanceIds(selection), FoundObjects()]
    if options.overlay:
        outputs.append(ObjectsOverlay(selection))
    if options.keep is not None and not options.cut_out:
        raise InputError("--keep needs --cut-out, of a run that finds objects; add it.")
    if options.cut_out:
        kept = None if options.keep is None else kept_classes(class_names, options.keep)
        outputs.append(ObjectCutOuts(selection, kept))
    tolerance = _tolerance(options)
    if options.labelme:
        outputs.append(ObjectsLabelme(selection, tolerance))
    return outputs


def asked_object_lists(
    options: argparse.Namespace, class_names: Sequence[str], colours: Sequence[Colour]
) -> list[ImageList]:
    """Returns the lists of all images that the options ask for.

    COCO's list has all objects, as scores of AP want them, unless an option leaves some out.
    Overlays have a legend where there are several classes: their colours are of classes then.

    Args:
      options: of predict.
      class_names, colours: of all classes, the background first.

    Raises:
      InputError: an option's value cannot be used.
    """
    names, selection = tuple(class_names), asked_selection(options)
    things = tuple(range(1, len(names)))
    lists: list[ImageList] = []
    if options.overlay and not one_class(names):
        lists.append(Legend(names[1:], tuple(colours[1:])))
    if options.areas:
        lists += [ObjectAreas(selection), Counts(names, things, selection)]
    if options.coco:
        listed = asked_selection(options, score_above=ALL.score_above)
        lists.append(CocoObjects(names, things, (), listed))
    return lists


def asked_panoptic_outputs(options: argparse.Namespace) -> list[Output]:
    """Returns the files of an image that the options ask for, COCO's panoptic PNG first.

    Raises:
      InputError: an option's value cannot be used, or is for other tasks.
    """
    refuse(options, OF_PIXELS, "needs probabilities of classes, which panoptic maps lack")
    refuse(options, OF_OBJECTS, "is for runs that find objects, but this one is panoptic")
    outputs: list[Output] = [SegmentIds(), FoundSegments()]
    if options.overlay:
        outputs.append(PanopticOverlay())
    tolerance = _tolerance(options)
    if options.labelme:
        outputs.append(PanopticLabelme(tolerance))
    return outputs


def asked_panoptic_lists(
    options: argparse.Namespace,
    class_names: Sequence[str],
    colours: Sequence[Colour],
    things: Sequence[int],
) -> list[ImageList]:
    """Returns the lists of all images: always the panoptic list, for the PNGs need it.

    Args:
      options: of predict.
      class_names, colours: of all classes.
      things: ids of the classes that are counted.
    """
    names, counted = tuple(class_names), tuple(things)
    stuff = tuple(index for index in range(len(names)) if index not in counted)
    lists: list[ImageList] = [PanopticList(names, tuple(colours), counted)]
    if options.overlay:
        lists.append(Legend(names, tuple(colours)))
    if options.areas:
        lists += [ObjectAreas(ALL), Counts(names, tuple(range(len(names))), ALL)]
    if options.coco:
        lists.append(CocoObjects(names, counted, stuff, ALL))
    return lists


def refuse(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raises InputError where one of these options is given; `why` follows its name.

    Raises:
      InputError: one is.
    """
    for name in names:
        if getattr(options, name) not in (None, False):
            raise InputError(f"--{name.replace('_', '-')} {why}: leave it out.")


def asked_selection(
    options: argparse.Namespace, *, score_above: float = SCORE_ABOVE
) -> Selection:
    """Returns which objects are shown; `score_above` is for where the options do not say.

    Raises:
      InputError: an option's value is out of range.
    """
    score, most = options.score_above, options.max_objects
    if score is None:
        score = score_above
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise InputError(f"--score-above {score:g}: give a score from 0 to 1, such as 0.5.")
    if most is not None and most < 1:
        raise InputError(f"--max-objects {most}: give a number of objects, 1 or more.")
    return Selection(score, most)


def _tolerance(options: argparse.Namespace) -> float:
    """Returns the tolerance of polygons, which only Labelme's files have here."""
    if options.tolerance is not None and not options.labelme:
        raise InputError(
            "--tolerance is for the polygons of --labelme: add it, or leave --tolerance out. "
            "COCO's annotations of objects are exact."
        )
    return polygon_tolerance(options)
