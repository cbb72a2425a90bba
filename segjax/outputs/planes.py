"""What is written of a prediction of planes: a mask a class, the overlay, probabilities."""

import argparse
import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segjax.drawing.overlay import palette_png, planes_overlay, save_png
from segjax.errors import InputError
from segjax.outputs.kinds import (
    Labelme,
    Output,
    Overlay,
    Prediction,
    Probabilities,
    save_probabilities,
)
from segjax.outputs.legend import Legend
from segjax.outputs.lists import Areas, Coco, Colour, ImageList
from segjax.outputs.options import (
    BACKGROUND,
    kept_outputs,
    polygon_tolerance,
    refuse_selection,
)

REFUSED = ("labelme", "coco", "areas", "tolerance")
"""Options of predict for what is made of one mask, which several planes do not give."""


def plane_png(plane: UInt8[np.ndarray, "h w"], colour: Colour) -> Image.Image:
    """Returns a plane as a palette image: 0 outside, in black, and 1 inside, in its colour."""
    table = np.zeros((256, 3), np.uint8)
    table[1] = _drawn(colour)
    return palette_png(plane, table)


@dataclasses.dataclass(frozen=True)
class PlaneMask:
    """A palette PNG of one class: 0 outside (black), 1 inside (its colour).

    Attributes:
      plane: which one.
      colour: red, green, blue.
      suffix: of the file's name.
    """

    plane: int
    colour: Colour
    suffix: str = ".png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        save_png(plane_png(prediction.label[..., self.plane], self.colour), path)


@dataclasses.dataclass(frozen=True)
class PlanesOverlay:
    """The planes over the image; `colours` has one for each."""

    colours: tuple[Colour, ...]
    suffix: ClassVar[str] = Overlay.suffix
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        drawn = planes_overlay(prediction.image, prediction.label, np.array(self.colours))
        save_png(Image.fromarray(drawn), path)


@dataclasses.dataclass(frozen=True)
class PlaneProbabilities:
    """`probabilities`, float16 h × w × k, and the planes' `class_names`; compressed."""

    names: tuple[str, ...]
    suffix: ClassVar[str] = Probabilities.suffix
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        assert prediction.probabilities is not None
        save_probabilities(path, prediction.probabilities, self.names)


@dataclasses.dataclass(frozen=True)
class PlaneLabelme:
    """Labelme's polygons of the only plane, around the class `name`.

    Attributes:
      name: of the plane's class.
      tolerance: pixels by which outlines are simplified.
    """

    name: str
    tolerance: float
    suffix: ClassVar[str] = Labelme.suffix
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = True

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        label, names = prediction.label[..., 0], (BACKGROUND, self.name)
        of_classes = dataclasses.replace(prediction, answer=label, class_names=names)
        Labelme(background=0, tolerance=self.tolerance).save(of_classes, path)


def asked_plane_outputs(
    options: argparse.Namespace, names: Sequence[str], colours: Sequence[Colour]
) -> list[Output]:
    """Returns the files that predict's options ask for, the masks first.

    One plane is `<stem>.png`; of several each is `<stem>_<class>.png`.

    Raises:
      InputError: an option asks for what is not made of several planes.
    """
    for option in REFUSED:
        if len(names) > 1 and getattr(options, option) not in (None, False):
            raise InputError(
                f"--{option} needs mutually exclusive classes, but those of this run may "
                "overlap: leave it out, and use the mask of each class."
            )
    if options.file_ids:
        raise InputError(
            "--file-ids needs a mask of class ids, but this run writes a mask a class: leave "
            "it out."
        )
    refuse_selection(options)
    suffixes = [".png"] if len(names) == 1 else _suffixes(names)
    # `Output` calls suffixes class variables, of which `PlaneMask` alone has one an instance.
    outputs: list[Any] = [
        PlaneMask(k, colour, suffix)
        for k, (colour, suffix) in enumerate(zip(colours, suffixes, strict=True))
    ]
    if options.overlay:
        outputs.append(PlanesOverlay(tuple(colours)))
    if options.probabilities:
        outputs.append(PlaneProbabilities(tuple(names)))
    outputs += kept_outputs(options, names, overlap=True)
    if options.labelme:
        outputs.append(PlaneLabelme(names[0], polygon_tolerance(options)))
    return outputs


def asked_plane_lists(
    options: argparse.Namespace, names: Sequence[str], colours: Sequence[Colour]
) -> list[ImageList]:
    """Returns the lists that predict's options ask for; overlays have a legend.

    Lists of areas and polygons are of one plane, as of a background and an object;
    `asked_plane_outputs` refuses them for several.
    """
    drawn = tuple(_drawn(colour) for colour in colours)
    lists: list[ImageList] = [Legend(tuple(names), drawn)] if options.overlay else []
    if options.areas:
        lists.append(Areas((BACKGROUND, *names), ((0, 0, 0), *drawn)))
    tolerance = polygon_tolerance(options)
    if options.coco:
        lists.append(Coco((BACKGROUND, *names), (1,), tolerance))
    return lists


def _drawn(colour: Colour) -> Colour:
    """Returns the colour by which a plane is drawn: black, the colour outside, is white."""
    return colour if any(colour) else (255, 255, 255)


def _suffixes(names: Sequence[str]) -> list[str]:
    """Returns `_<class>.png` with what names of files may hold; equal ones are numbered.

    >>> _suffixes(["optic disc", "cup/rim", "overlay", "Overlay"])
    ['_optic_disc.png', '_cup_rim.png', '_2_overlay.png', '_3_Overlay.png']
    """
    plain = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    folded = [name.casefold() for name in plain]
    taken = {Overlay.suffix.removeprefix("_").removesuffix(".png")}
    return [
        f"_{i}_{name}.png" if key in taken or folded.count(key) > 1 else f"_{name}.png"
        for i, (name, key) in enumerate(zip(plain, folded, strict=True))
    ]
