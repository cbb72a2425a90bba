"""A class map beside its truth, as the pictures of a report."""

from collections.abc import Sequence

import numpy as np

from segjax.contracts import IGNORE
from segjax.drawing.overlay import UNCOUNTED, WRONG, as_rgb, panels
from segjax.labels import check_on_image
from segjax.report.examples import Panels, Picture, shrunk
from segjax.report.legend import LegendItem, legend_item

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
    """Returns image, truth, prediction and errors with sides up to `longest`, and a legend.

    Args:
      image: h w c.
      label, prediction: h w of class ids, and 255 for ignored pixels.
      class_names: by class id.
      palette: 256 × 3, colours by class id.
      longest: pixels.

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
    counted = label != IGNORE
    classes = tuple(
        legend_item(class_names[i], palette[i])
        for i in map(int, np.union1d(label[counted], prediction[counted]))
        if 0 <= i < len(class_names)
    )
    wrong = bool(((label != prediction) & counted).any())
    marks = error_marks(wrong=wrong, ignored=not counted.all())
    return Panels(tuple(shown[:2]), (shown[2],), (shown[3],), classes, marks)


def error_marks(*, wrong: bool, ignored: bool) -> tuple[LegendItem, ...]:
    """Returns what the colours of a picture of errors mean, of those that occur in it."""
    marks = (wrong, "wrong pixels", WRONG), (ignored, "ignored pixels", UNCOUNTED)
    return tuple(legend_item(name, colour) for occurs, name, colour in marks if occurs)
