"""The part of a report that shows single images: image, truth, prediction, errors."""

import dataclasses
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from segjax.contracts import IGNORE
from segjax.drawing.overlay import as_rgb, panels
from segjax.labels import check_on_image
from segjax.report.class_scores import swatch
from segjax.report.curves import is_number
from segjax.report.svg import data_uri

LONGEST_SIDE = 400
LONGEST_WIDE_SIDE = 560
"""Of pictures at least 1.75 times as wide as high, which stand two in a row, not four."""

TINY = 128
"""Up to this side pictures are lossless, and enlarged in blocks."""

TITLES = ("Image", "Truth", "Prediction", "Errors")


@dataclasses.dataclass(frozen=True)
class ExampleResult:
    """One evaluated image: `image` h w c, `label` and `prediction` h w with ids 0 … 254 or 255.

    `iou` is the mean IoU of this image alone, None where no pixel counts.

    Raises:
      ValueError: the three differ in size.
    """

    name: str
    iou: float | None
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray

    def __post_init__(self) -> None:
        check_on_image(self.image, label=self.label, prediction=self.prediction)


def gallery(
    examples: Sequence[ExampleResult], class_names: Sequence[str], palette: np.ndarray
) -> str:
    """One row of four pictures an example, with the classes that occur in it."""
    return "".join(_example(example, class_names, palette) for example in examples)


def _example(example: ExampleResult, class_names: Sequence[str], palette: np.ndarray) -> str:
    height, width = example.label.shape
    wide = width >= 1.75 * height
    image, label, prediction = shrunk(example, LONGEST_WIDE_SIDE if wide else LONGEST_SIDE)
    pictures = panels(image, label, prediction, palette)
    score = f"{100 * example.iou:.1f} %" if is_number(example.iou) else "–"
    name = escape(example.name)
    return (
        f'<article class="example"><header><h3>{name}</h3>'
        f"<p>mean IoU <b>{score}</b></p></header>"
        f'<div class="panels{" wide" if wide else ""}">'
        + "".join(panel(*pair, name) for pair in zip(pictures, TITLES, strict=True))
        + f"</div>{_legend(example, class_names, palette)}</article>"
    )


def shrunk(example: ExampleResult, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, label, prediction with sides up to `longest`: shrunk first, so that lines stay."""
    height, width = example.label.shape
    scale = min(1.0, longest / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    rgb, label, prediction = (
        as_rgb(example.image),
        example.label.astype(np.uint8),
        example.prediction.astype(np.uint8),
    )
    if scale == 1:
        return rgb, label, prediction
    nearest = Image.Resampling.NEAREST
    return (
        np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS)),
        np.asarray(Image.fromarray(label).resize(size, nearest)),
        np.asarray(Image.fromarray(prediction).resize(size, nearest)),
    )


def panel(picture: np.ndarray, title: str, name: str) -> str:
    """One captioned picture; `title` and `name` are escaped already."""
    height, width = picture.shape[:2]
    tiny = max(height, width) <= TINY
    address = data_uri(picture, "PNG" if tiny else "JPEG")
    return (
        f'<figure><img{" class=tiny" if tiny else ""} src="{address}" width="{width}" '
        f'height="{height}" alt="{title} of {name}"><figcaption>{title}</figcaption></figure>'
    )


def _legend(example: ExampleResult, class_names: Sequence[str], palette: np.ndarray) -> str:
    counted = example.label != IGNORE
    present = np.union1d(example.label[counted], example.prediction[counted])
    items = (
        f"<li>{swatch(palette[i])}{escape(class_names[i])}</li>"
        for i in map(int, present)
        if 0 <= i < len(class_names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'
