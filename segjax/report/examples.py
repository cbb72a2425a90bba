"""The part of a report that shows single images: image, truth, prediction, errors."""

import dataclasses
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from segjax.drawing.overlay import as_rgb
from segjax.report.curves import is_number
from segjax.report.legend import LegendItem, legend
from segjax.report.svg import data_uri

LONGEST_SIDE = 400
LONGEST_WIDE_SIDE = 560
"""For pictures at least 1.75 times as wide as high: two of them fit in a row, not four."""

TINY = 128
"""Pictures with sides up to this are lossless, and enlarged as blocks."""


class Picture(NamedTuple):
    """A caption and pixels h w 3."""

    title: str
    rgb: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Panels:
    """An evaluated image as pictures of one size.

    Attributes:
      given: the image, and its truth where that can be drawn.
      predicted: the prediction, where that can be drawn.
      more: pictures made of both, such as the errors.
      classes: legend of the truth and the prediction.
      marks: legend of `more`.
    """

    given: tuple[Picture, ...]
    predicted: tuple[Picture, ...] = ()
    more: tuple[Picture, ...] = ()
    classes: tuple[LegendItem, ...] = ()
    marks: tuple[LegendItem, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them, in the order of a report."""
        return (*self.given, *self.predicted, *self.more)

    @classmethod
    def of_image(cls, image: np.ndarray, *, longest: int) -> "Panels":
        """Returns the image alone, its sides at most `longest` pixels."""
        return cls((Picture("Image", shrunk(as_rgb(image), longest)),))


@dataclasses.dataclass(frozen=True, eq=False)
class ShownExample:
    """One evaluated image: its name, its score in words, and its pictures."""

    name: str
    score: str
    panels: Panels


def longest_side(height: int, width: int) -> int:
    """Returns the largest side in pixels at which a report shows an image of this size."""
    return LONGEST_WIDE_SIDE if _is_wide(height, width) else LONGEST_SIDE


def _is_wide(height: int, width: int) -> bool:
    return width >= 1.75 * height


def gallery(examples: Sequence[ShownExample], *, score: str) -> str:
    """Returns a row of pictures for each example; `score` is the name of their scores."""
    return "".join(_example(example, score) for example in examples)


def _example(example: ShownExample, score: str) -> str:
    pictures = example.panels.pictures
    height, width = pictures[0].rgb.shape[:2]
    name = escape(example.name)
    return (
        f'<article class="example"><header><h3>{name}</h3>'
        f"<p>{escape(score)} <b>{example.score}</b></p></header>"
        f'<div class="panels{" wide" if _is_wide(height, width) else ""}">'
        + "".join(panel(picture.rgb, escape(picture.title), name) for picture in pictures)
        + f"</div>{legend((*example.panels.classes, *example.panels.marks))}</article>"
    )


def score_text(value: float | None, *, is_share: bool) -> str:
    """Returns a single image's score: "83.2 %", "0.012", or a dash where it has none."""
    if not is_number(value):
        return "–"
    return f"{100 * value:.1f} %" if is_share else f"{value:.3g}"


def shrunk(picture: np.ndarray, longest: int, *, nearest: bool = False) -> np.ndarray:
    """Returns the picture with sides of at most `longest` pixels.

    `picture` is h w or h w 3 of 8 bits. Class ids need `nearest`, which mixes no values.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    kind = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize(size, kind))


def panel(picture: np.ndarray, title: str, name: str) -> str:
    """Returns a picture with its caption; `title` and `name` must be escaped already."""
    height, width = picture.shape[:2]
    tiny = max(height, width) <= TINY
    address = data_uri(picture, "PNG" if tiny else "JPEG")
    return (
        f'<figure><img{" class=tiny" if tiny else ""} src="{address}" width="{width}" '
        f'height="{height}" alt="{title} of {name}"><figcaption>{title}</figcaption></figure>'
    )
