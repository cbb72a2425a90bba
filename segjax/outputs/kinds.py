"""What can be written of a predicted image: one frozen dataclass for each kind of file.

A kind has the `suffix` of its file's name, says by `soft` whether it needs probabilities, and
has `save(prediction, path)`, which writes a file that is whole or not there, under any name in
its folder. A kind may write a folder of files instead. `edited` says that people change such
files by hand. Its fields are all that decides the file beside the prediction, so that two equal
kinds write equal files.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from segjax.atomic import atomic_path, write_text
from segjax.drawing import composite
from segjax.drawing.annotations import labelme_shapes
from segjax.drawing.overlay import as_rgb, overlay, palette_png, save_png
from segjax.objects import Objects, PanopticMap


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """An image with its prediction.

    Attributes:
      image: the pixels, h × w × c.
      answer: what the task found: class ids, h × w; planes of 0 and 1, h × w × k; `Objects`; or
        a `PanopticMap`.
      probabilities: h × w × k, where an output needs them.
      file: the one that shows the image; for one of several in a file, its `Frame`.
      class_names, palette: what the ids mean.
    """

    image: UInt8[np.ndarray, "h w c"]
    answer: UInt8[np.ndarray, "..."] | Objects | PanopticMap
    probabilities: Float[np.ndarray, "h w k"] | None
    file: pathlib.Path
    class_names: tuple[str, ...]
    palette: UInt8[np.ndarray, "256 3"]

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Prediction({self.file.name}, {width} x {height} pixels)"

    @property
    def label(self) -> UInt8[np.ndarray, "..."]:
        """The answer of a task of classes: ids h × w, or planes h × w × k."""
        assert isinstance(self.answer, np.ndarray)
        return self.answer

    @property
    def objects(self) -> Objects:
        """The answer of a task that finds objects."""
        assert isinstance(self.answer, Objects)
        return self.answer

    @property
    def segments(self) -> PanopticMap:
        """The answer of a panoptic task."""
        assert isinstance(self.answer, PanopticMap)
        return self.answer

    def alpha(self, kept: tuple[int, ...]) -> np.ndarray:
        """Returns how much of each pixel belongs to the classes `kept`, 0 … 1."""
        assert self.probabilities is not None
        return composite.foreground(self.probabilities, kept)


class Output(Protocol):
    """A kind of file that is written of a prediction."""

    suffix: ClassVar[str]
    soft: ClassVar[bool]
    edited: ClassVar[bool]

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        ...


@dataclasses.dataclass(frozen=True)
class Mask:
    """A palette PNG of class ids."""

    suffix: ClassVar[str] = ".png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        save_png(palette_png(prediction.label, prediction.palette), path)


@dataclasses.dataclass(frozen=True)
class FileIds:
    """A grey PNG of the ids that the dataset's own files have, as benchmarks ask for.

    Attributes:
      ids: one a class, and last that of pixels without a class.
    """

    ids: tuple[int, ...]
    suffix: ClassVar[str] = "_file_ids.png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all; ids above 255 take 16 bits."""
        *ids, ignored = self.ids
        table = np.full(256, ignored, np.uint16)
        table[: len(ids)] = ids
        written = table[prediction.label]
        is_small = max(self.ids) <= np.iinfo(np.uint8).max
        save_png(Image.fromarray(written.astype(np.uint8) if is_small else written), path)


@dataclasses.dataclass(frozen=True)
class Overlay:
    """The mask over the image."""

    suffix: ClassVar[str] = "_overlay.png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        drawn = overlay(prediction.image, prediction.label, prediction.palette)
        save_png(Image.fromarray(drawn), path)


def save_probabilities(
    path: pathlib.Path, probabilities: Float[np.ndarray, "h w k"], names: Sequence[str]
) -> None:
    """Writes `probabilities` as float16 and `class_names`, whole or not at all."""
    with atomic_path(path) as partial, partial.open("wb") as file:
        halves = probabilities.astype(np.float16)
        np.savez_compressed(file, probabilities=halves, class_names=np.array(names))


@dataclasses.dataclass(frozen=True)
class Probabilities:
    """`probabilities`, float16 h × w × k, and `class_names`, compressed."""

    suffix: ClassVar[str] = ".npz"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        assert prediction.probabilities is not None
        save_probabilities(path, prediction.probabilities, prediction.class_names)


@dataclasses.dataclass(frozen=True)
class Blur:
    """The image with all but some classes blurred by `sigma` pixels."""

    kept: tuple[int, ...]
    sigma: float
    suffix: ClassVar[str] = "_blur.png"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        alpha = prediction.alpha(self.kept)
        blurred = composite.blur_background(as_rgb(prediction.image), alpha, sigma=self.sigma)
        save_png(Image.fromarray(blurred), path)


@dataclasses.dataclass(frozen=True)
class Background:
    """Some classes before a colour or a picture, which is scaled to cover and cut evenly.

    Attributes:
      kept: ids of the classes.
      named: the colour or the picture's file as it was given, and a digest of the picture.
      picture: its pixels, h × w × 3; of a colour, a single one.
    """

    kept: tuple[int, ...]
    named: tuple[str, str]
    picture: np.ndarray = dataclasses.field(repr=False, compare=False)
    suffix: ClassVar[str] = "_background.png"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        height, width = prediction.label.shape[:2]
        covering = ImageOps.fit(Image.fromarray(self.picture), (width, height))
        composed = composite.replace_background(
            as_rgb(prediction.image), prediction.alpha(self.kept), np.array(covering)
        )
        save_png(Image.fromarray(composed), path)


@dataclasses.dataclass(frozen=True)
class CutOut:
    """Some classes alone, the rest transparent."""

    kept: tuple[int, ...]
    suffix: ClassVar[str] = "_cutout.png"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        cut = composite.cut_out(as_rgb(prediction.image), prediction.alpha(self.kept))
        save_png(Image.fromarray(cut), path)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One image of several in a file, by itself."""

    suffix: ClassVar[str] = "_frame.png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        save_png(Image.fromarray(as_rgb(prediction.image)), path)


@dataclasses.dataclass(frozen=True)
class Labelme:
    """Polygons that Labelme opens, and people correct.

    Attributes:
      background: id of the class on which nothing is painted, or None.
      tolerance: pixels by which outlines are simplified.
    """

    background: int | None
    tolerance: float
    suffix: ClassVar[str] = ".json"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = True

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        shapes = labelme_shapes(
            prediction.label,
            prediction.class_names,
            background=self.background,
            tolerance=self.tolerance,
        )
        write_labelme(path, shapes, prediction)


def write_labelme(
    path: pathlib.Path, shapes: Sequence[Mapping[str, Any]], prediction: Prediction
) -> None:
    """Writes a file of Labelme with these shapes, whole or not at all."""
    height, width = prediction.image.shape[:2]
    contents = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": pathlib.Path(os.path.relpath(prediction.file, path.parent)).as_posix(),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    write_text(path, json.dumps(contents, indent=1))
