"""COCO's annotations → the objects of an image, with masks as pycocotools draws them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.data.coco_file import annotation_name
from segjax.data.coco_index import CocoIndex
from segjax.data.coco_shapes import draw, is_empty
from segjax.data.drawn_objects import Box, DrawnObject, MadeObjects, cropped
from segjax.errors import InputError


def coco_objects(
    index: CocoIndex, number: str, classes: Mapping[Any, int], *, about: str
) -> MadeObjects:
    """Returns the objects of an image of a COCO file.

    Args:
      index: the file.
      number: the image's id.
      classes: {category id: class id}; other categories have no objects.
      about: names `classes` in the cache's key.
    """

    def make(contents: Sequence[bytes], label: np.ndarray) -> Sequence[DrawnObject]:
        """Returns the objects of the image."""
        del contents
        size = (label.shape[0], label.shape[1])
        annotations = index.image(number).annotations
        return drawn_annotations(index.path, annotations, classes, size)

    return MadeObjects(
        make=make,
        key=f"{about}, areas {index.digest} {number}",
        where=f"{index.path}, image {number}",
    )


def drawn_annotations(
    path: pathlib.Path,
    annotations: Sequence[Mapping[str, Any]],
    classes: Mapping[Any, int],
    size: tuple[int, int],
) -> list[DrawnObject]:
    """Returns the objects of annotations in their order, numbered from 1 on.

    If each of them has an `instance_id` from 1 to 65535, as `segjax.convert` writes it, that is
    its number.

    Raises:
      InputError: a box or a segmentation cannot be read.
    """
    wanted = [each for each in annotations if each["category_id"] in classes]
    known = [_instance_id(each) for each in wanted]
    numbers = known if all(known) else range(1, len(wanted) + 1)
    return [
        _drawn(path, each, classes[each["category_id"]], number or 0, size, own=all(known))
        for each, number in zip(wanted, numbers, strict=True)
    ]


def _instance_id(annotation: Mapping[str, Any]) -> int | None:
    number = annotation.get("instance_id")
    return number if type(number) is int and 0 < number < 2**16 else None


def _drawn(
    path: pathlib.Path,
    annotation: Mapping[str, Any],
    class_id: int,
    number: int,
    size: tuple[int, int],
    *,
    own: bool,
) -> DrawnObject:
    where = annotation_name(path, annotation)
    segmentation = annotation.get("segmentation")
    mask = (
        np.zeros(size, bool)
        if is_empty(segmentation)
        else draw(segmentation, height=size[0], width=size[1], where=where)
    )
    part, corner = cropped(mask)
    return DrawnObject(
        key=number if own else repr(annotation.get("id", f"number {number}")),
        number=number,
        class_id=class_id,
        mask=part,
        corner=corner,
        where=where,
        crowd=bool(annotation.get("iscrowd")),
        box=annotation_box(annotation, where),
        area=annotation_area(annotation, where),
    )


LARGEST = 1e9
"""The largest number of a box in pixels that is not a fault."""


def annotation_box(annotation: Mapping[str, Any], where: str) -> Box | None:
    """Returns (x0, y0, x1, y1) of `bbox`, which is (x, y, width, height); None without one.

    Raises:
      InputError: it is not four numbers; begins with `where`.
    """
    box = annotation.get("bbox")
    if box is None:
        return None
    numbers = isinstance(box, list) and all(type(each) in (int, float) for each in box)
    if not numbers or len(box) != 4 or any(abs(each) > LARGEST for each in box):
        raise InputError(
            f"{where} has bbox={box!r:.60}, not [x, y, width, height]: correct it, or delete "
            "the annotation."
        )
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height


def annotation_area(annotation: Mapping[str, Any], where: str) -> float | None:
    """Returns `area` in pixels; None without one.

    Raises:
      InputError: it is not a number of pixels; begins with `where`.
    """
    area = annotation.get("area")
    if area is None:
        return None
    if type(area) not in (int, float) or not 0 <= area <= LARGEST**2:
        raise InputError(
            f"{where} has area={area!r:.60}, not a number of pixels: correct it, or get the "
            "file again."
        )
    return float(area)
