"""A class map beside its truth, as the pictures of a report."""

from collections.abc import Sequence
from html import escape

import numpy as np

from segjax.contracts import IGNORE
from segjax.drawing.overlay import as_rgb, panels
from segjax.labels import check_on_image
from segjax.report.class_scores import swatch
from segjax.report.examples import Panels, Picture, shrunk

TITLES = ("Image", "Truth", "Prediction", "Errors")


def class_map_panels(
    image: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    *,
    class_names: Sequence[str],
    palette: np.ndarray,
    longest: int,
) -> Panels:
    """Returns image, truth, prediction and errors with sides up to `longest`, and the classes
    in them.

    `image` is h w c, `label` and `prediction` h w with ids 0 … 254 or 255 (palette: 256 × 3).

    Raises:
      ValueError: the three differ in size.
    """
    check_on_image(image, label=label, prediction=prediction)
    # Shrunk first, so that the lines between classes stay as wide as they are.
    small = shrunk(as_rgb(image), longest)
    truth, answer = (
        shrunk(plane.astype(np.uint8), longest, nearest=True) for plane in (label, prediction)
    )
    pictures = panels(small, truth, answer, palette)
    shown = [Picture(*pair) for pair in zip(TITLES, pictures, strict=True)]
    legend = _legend(label, prediction, class_names, palette)
    return Panels(tuple(shown[:2]), (shown[2],), (shown[3],), legend)


def _legend(
    label: np.ndarray, prediction: np.ndarray, class_names: Sequence[str], palette: np.ndarray
) -> str:
    counted = label != IGNORE
    items = (
        f"<li>{swatch(palette[i])}{escape(class_names[i])}</li>"
        for i in map(int, np.union1d(label[counted], prediction[counted]))
        if 0 <= i < len(class_names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'
