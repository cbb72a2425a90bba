"""What is written of the objects of an image: a PNG of their ids, pictures, polygons, cut-outs.

Objects are numbered from 1 on by falling score. A file shows those that its `selection` takes,
so an object has the same number in all files. Boxes without masks count as filled rectangles.
"""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, UInt16
from PIL import Image

from segjax.drawing.annotations import labelme_objects
from segjax.drawing.composite import cut_out
from segjax.drawing.objects import draw_objects, drawn
from segjax.drawing.overlay import as_rgb, save_png
from segjax.objects import Objects
from segjax.outputs.kinds import Labelme, Overlay, Prediction, write_labelme
from segjax.outputs.selection import Selection


def object_mask(objects: Objects, index: int) -> Bool[np.ndarray, "h w"]:
    """Returns the mask of an object; of a box alone the pixels whose centres are inside."""
    if objects.masks is not None:
        return objects.mask(index)
    left, top, right, bottom = objects.boxes[index]
    rows, columns = (np.arange(side) + 0.5 for side in objects.size)
    inside_rows, inside_columns = (
        (low <= centres) & (centres < high)
        for centres, low, high in ((rows, top, bottom), (columns, left, right))
    )
    return inside_rows[:, None] & inside_columns


def id_map(objects: Objects) -> UInt16[np.ndarray, "h w"]:
    """Returns the number of the object at each pixel, 1 for the first, or 0.

    Where objects overlap, the earlier one is on top.
    """
    ids = np.zeros(objects.size, np.uint16)
    for index in reversed(range(len(objects))):
        ids[object_mask(objects, index)] = index + 1
    return ids


@dataclasses.dataclass(frozen=True)
class InstanceIds:
    """A grey PNG of 16 bits: the number of the object at each pixel, or 0."""

    selection: Selection
    suffix: ClassVar[str] = ".png"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        ids = id_map(self.selection.of(prediction.objects))
        save_png(Image.fromarray(ids), path)


@dataclasses.dataclass(frozen=True)
class ObjectsOverlay:
    """The image with contours, names and scores of its objects."""

    selection: Selection
    suffix: ClassVar[str] = Overlay.suffix
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        objects = self.selection.of(prediction.objects)
        shapes = drawn(objects, prediction.class_names, prediction.palette)
        save_png(Image.fromarray(draw_objects(prediction.image, shapes)), path)


@dataclasses.dataclass(frozen=True)
class ObjectsLabelme:
    """Polygons that Labelme opens: the parts of an object share a `group_id`, its number.

    Attributes:
      selection: which objects.
      tolerance: pixels by which outlines are simplified.
    """

    selection: Selection
    tolerance: float
    suffix: ClassVar[str] = Labelme.suffix
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = True

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        objects = self.selection.of(prediction.objects)
        # The class 0 is the background of every dataset of objects.
        classes = dict(enumerate([0, *objects.classes.tolist()]))
        names = {number: prediction.class_names[i] for number, i in classes.items()}
        shapes = labelme_objects(id_map(objects), names, background=0, tolerance=self.tolerance)
        write_labelme(path, shapes, prediction)


@dataclasses.dataclass(frozen=True)
class ObjectCutOuts:
    """A folder with each object by itself, as an RGBA picture of its size: 001.png and so on.

    Attributes:
      selection: which objects.
      kept: ids of the classes whose objects are cut out; None: all.
    """

    selection: Selection
    kept: tuple[int, ...] | None = None
    suffix: ClassVar[str] = "_cutouts"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = True

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the folder, whole or not at all."""
        objects, image = self.selection.of(prediction.objects), as_rgb(prediction.image)
        path.mkdir()
        for index, class_id in enumerate(objects.classes.tolist()):
            mask = object_mask(objects, index)
            if (self.kept is None or class_id in self.kept) and mask.any():
                rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
                part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                cut = cut_out(image[part], mask[part].astype(np.float32))
                save_png(Image.fromarray(cut), path / f"{index + 1:03d}.png")
