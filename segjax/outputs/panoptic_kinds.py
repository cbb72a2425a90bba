"""What is written of a panoptic map: COCO's PNG of segments, the overlay, polygons."""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Integer
from PIL import Image

from segjax.drawing.annotations import labelme_objects
from segjax.drawing.overlay import save_png
from segjax.drawing.panoptic import draw_panoptic
from segjax.outputs.kinds import Labelme, Overlay, Prediction, write_labelme

NO_SEGMENT = "__ignore__"
"""Labelme's word for pixels that belong to no class."""


def panoptic_png(ids: Integer[np.ndarray, "h w"]) -> Image.Image:
    """Returns COCO's picture of ids: red + 256 · green + 65536 · blue."""
    parts = [ids >> shift & 255 for shift in (0, 8, 16)]
    return Image.fromarray(np.stack(parts, -1).astype(np.uint8))


@dataclasses.dataclass(frozen=True)
class SegmentIds:
    """A PNG whose colours are ids of segments, as COCO's panoptic files."""

    suffix: ClassVar[str] = ".png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        save_png(panoptic_png(prediction.segments.ids), path)


@dataclasses.dataclass(frozen=True)
class PanopticOverlay:
    """The image tinted with the colours of its segments, with lines and names."""

    suffix: ClassVar[str] = Overlay.suffix
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        shown = draw_panoptic(
            prediction.image,
            prediction.segments,
            prediction.palette,
            class_names=prediction.class_names,
        )
        save_png(Image.fromarray(shown), path)


@dataclasses.dataclass(frozen=True)
class PanopticLabelme:
    """Polygons that Labelme opens: the parts of a segment share a `group_id`, its id.

    `tolerance` is in pixels, by which outlines are simplified.
    """

    tolerance: float
    suffix: ClassVar[str] = Labelme.suffix
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = True

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        found = prediction.segments
        names = {each.id: prediction.class_names[each.class_id] for each in found.segments}
        shapes = labelme_objects(
            found.ids, {0: NO_SEGMENT, **names}, background=None, tolerance=self.tolerance
        )
        write_labelme(path, shapes, prediction)
