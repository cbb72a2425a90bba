"""What can be written of a predicted image: one frozen dataclass for each kind of file.

A kind has the `suffix` of its file's name, says by `soft` whether it needs probabilities, and
has `save(answer, path)`, which writes a file that is whole or not there, under any name in its
folder. `edited` says that people change such files by hand. Its fields are all that decides the
file beside the answer, so that two equal kinds write equal files.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from segjax.evaluate import composite
from segjax.evaluate.annotations import labelme_shapes
from segjax.evaluate.draw import as_rgb, overlay, palette_png, save_png
from segjax.train.workdir import write_text


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """An image with its prediction.

    Attributes:
      image: the pixels, h × w × c.
      label: class ids, h × w.
      probabilities: h × w × k, where an output needs them.
      file: the one that shows the image; for one of several in a file, its `Frame`.
      class_names, palette: what the ids mean.
    """

    image: UInt8[np.ndarray, "h w c"]
    label: UInt8[np.ndarray, "h w"]
    probabilities: Float[np.ndarray, "h w k"] | None
    file: pathlib.Path
    class_names: tuple[str, ...]
    palette: UInt8[np.ndarray, "256 3"]

    def alpha(self, kept: tuple[int, ...]) -> np.ndarray:
        """How much of each pixel belongs to the classes `kept`, 0 … 1."""
        assert self.probabilities is not None
        return composite.foreground(self.probabilities, kept)


class Output(Protocol):
    """A kind of file that is written of an answer."""

    suffix: ClassVar[str]
    soft: ClassVar[bool]
    edited: ClassVar[bool]

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        ...


@dataclasses.dataclass(frozen=True)
class Mask:
    """A palette PNG of class ids."""

    suffix: ClassVar[str] = ".png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        save_png(palette_png(answer.label, answer.palette), path)


@dataclasses.dataclass(frozen=True)
class Overlay:
    """The mask over the image."""

    suffix: ClassVar[str] = "_overlay.png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        drawn = overlay(answer.image, answer.label, answer.palette)
        save_png(Image.fromarray(drawn), path)


@dataclasses.dataclass(frozen=True)
class Probabilities:
    """`probabilities`, float16 h × w × k, and `class_names`, compressed."""

    suffix: ClassVar[str] = ".npz"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        assert answer.probabilities is not None
        with whole(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                probabilities=answer.probabilities.astype(np.float16),
                class_names=np.array(answer.class_names),
            )


@dataclasses.dataclass(frozen=True)
class Blur:
    """The image with all but some classes blurred by `sigma` pixels."""

    kept: tuple[int, ...]
    sigma: float
    suffix: ClassVar[str] = "_blur.png"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        alpha = answer.alpha(self.kept)
        blurred = composite.blur_background(as_rgb(answer.image), alpha, sigma=self.sigma)
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

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        height, width = answer.label.shape
        covering = ImageOps.fit(Image.fromarray(self.picture), (width, height))
        composed = composite.replace_background(
            as_rgb(answer.image), answer.alpha(self.kept), np.array(covering)
        )
        save_png(Image.fromarray(composed), path)


@dataclasses.dataclass(frozen=True)
class CutOut:
    """Some classes alone, the rest transparent."""

    kept: tuple[int, ...]
    suffix: ClassVar[str] = "_cutout.png"
    soft: ClassVar[bool] = True
    edited: ClassVar[bool] = False

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        cut = composite.cut_out(as_rgb(answer.image), answer.alpha(self.kept))
        save_png(Image.fromarray(cut), path)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One image of several in a file, by itself."""

    suffix: ClassVar[str] = "_frame.png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        save_png(Image.fromarray(as_rgb(answer.image)), path)


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

    def save(self, answer: Answer, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        height, width = answer.label.shape
        shapes = labelme_shapes(
            answer.label,
            answer.class_names,
            background=self.background,
            tolerance=self.tolerance,
        )
        contents = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": pathlib.Path(os.path.relpath(answer.file, path.parent)).as_posix(),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_text(path, json.dumps(contents, indent=1))


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to write to, which takes the place of `path` once the block has ended well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
