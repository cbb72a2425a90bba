"""Options in words → outputs: class names, numbers, colours and pictures, all checked."""

import argparse
import difflib
import math
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

from segjax.answers.lists import Areas, Coco
from segjax.answers.outputs import (
    Background,
    Blur,
    CutOut,
    Labelme,
    Mask,
    Output,
    Overlay,
    Probabilities,
)
from segjax.data.contents import digest
from segjax.data.images import read_image
from segjax.errors import InputError

BACKGROUND = "background"
"""The class of this name is kept only where it is asked for, and has no regions in COCO."""

TOLERANCE = 1.0


def asked_outputs(options: argparse.Namespace, class_names: Sequence[str]) -> list[Output]:
    """The kinds of files that the command's options ask for; the mask is always the first.

    Raises:
      InputError: an option's value cannot be used, or nothing asked for uses it.
    """
    outputs: list[Output] = [Mask()]
    if options.overlay:
        outputs.append(Overlay())
    if options.probabilities:
        outputs.append(Probabilities())
    if options.blur is not None or options.background is not None or options.cut_out:
        outputs += _kept_outputs(options, _kept_classes(class_names, options.keep))
    elif options.keep is not None:
        raise InputError("--keep names what --blur, --background or --cut-out keep; give one.")
    if options.labelme:
        outputs.append(Labelme(_background_class(class_names), _tolerance(options)))
    return outputs


def asked_lists(
    options: argparse.Namespace, class_names: tuple[str, ...]
) -> list[Areas | Coco]:
    """The lists of all images that the command's options ask for.

    COCO's has no regions of the background, which is what it has no regions of.

    Raises:
      InputError: an option's value cannot be used, or nothing asked for uses it.
    """
    lists: list[Areas | Coco] = []
    if options.areas:
        lists.append(Areas(class_names))
    tolerance = _tolerance(options)
    if options.coco:
        background = _background_class(class_names)
        regions = (index for index in range(len(class_names)) if index != background)
        lists.append(Coco(class_names, tuple(regions), tolerance))
    return lists


def _kept_outputs(options: argparse.Namespace, kept: tuple[int, ...]) -> list[Output]:
    outputs: list[Output] = []
    if options.blur is not None:
        sigma = _number(options.blur, "--blur", "a number of pixels above 0, such as 8")
        if sigma <= 0:
            raise InputError(f"--blur {options.blur}: give a number of pixels above 0.")
        outputs.append(Blur(kept, sigma))
    if options.background is not None:
        outputs.append(_background(kept, options.background))
    if options.cut_out:
        outputs.append(CutOut(kept))
    return outputs


def _tolerance(options: argparse.Namespace) -> float:
    """Pixels by which outlines of polygons are simplified."""
    if options.tolerance is None:
        return TOLERANCE
    if not (options.coco or options.labelme):
        raise InputError(
            "--tolerance simplifies the polygons of --coco or --labelme; give one."
        )
    pixels = _number(options.tolerance, "--tolerance", "a number of pixels, 0 or more")
    if pixels < 0:
        raise InputError(
            f"--tolerance {options.tolerance}: give a number of pixels, 0 or more."
        )
    return pixels


def _number(text: str, option: str, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{option} {text}: give {wanted}.")
    return number


def _kept_classes(class_names: Sequence[str], given: str | None) -> tuple[int, ...]:
    """Ids of the classes that `given` names, with commas between; None: all but background."""
    if given is None:
        background = _background_class(class_names)
        if background is None:
            raise InputError(
                f"No class is called {BACKGROUND}: say by --keep which ones to keep, of "
                f"{', '.join(class_names)}."
            )
        return tuple(index for index in range(len(class_names)) if index != background)
    return tuple(sorted({_class(class_names, name.strip()) for name in given.split(",")}))


def _class(class_names: Sequence[str], name: str) -> int:
    if name not in class_names:
        near = difflib.get_close_matches(name, class_names, n=3, cutoff=0.5) or class_names
        raise InputError(f"--keep {name}: there is no such class; near: {', '.join(near)}.")
    return class_names.index(name)


def _background_class(class_names: Sequence[str]) -> int | None:
    """The id of the class called background, or None."""
    return class_names.index(BACKGROUND) if BACKGROUND in class_names else None


def _background(kept: tuple[int, ...], given: str) -> Background:
    path = pathlib.Path(given)
    if path.is_file():
        picture = read_image(path, channels=3)
        named = (str(path.resolve()), digest(picture.tobytes())[:16])
        return Background(kept, named, picture)
    try:
        colour = ImageColor.getrgb(given)[:3]
    except ValueError:
        raise InputError(
            f"--background {given} is no file, and no colour such as white, '#20a0ff' or "
            "'rgb(32, 160, 255)'."
        ) from None
    return Background(kept, (given, ""), np.array(colour, np.uint8).reshape(1, 1, 3))
