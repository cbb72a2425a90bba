"""Labels that a function makes of JSON or MATLAB files, where no image file holds them."""

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt8

from segjax.contracts import IGNORE
from segjax.data.label_map import LabelMap, classes_of, outside
from segjax.errors import InputError

Size = tuple[int, int]
"""Height and width in pixels."""

Make = Callable[[Sequence[bytes], Size], Integer[np.ndarray, "h w"]]
"""(contents of the files, size of the image) → class ids, and 255 for what is ignored."""


@dataclass(frozen=True)
class MadeMask:
    """A label that a function makes.

    Attributes:
      make: makes the map of ids; what it returns depends on its arguments and `key` alone.
      key: names everything else that decides the map, such as the digest of a JSON file that
        describes many images; it is part of the cache's key.
      where: what names the label in messages.
      files: those that are read for this label, and whose contents are part of the cache's key.
    """

    make: Make
    key: str
    where: str
    files: tuple[pathlib.Path, ...] = ()


def made_classes(
    mask: MadeMask,
    contents: Sequence[bytes],
    size: Size,
    *,
    num_classes: int,
    label_map: LabelMap = (),
) -> UInt8[np.ndarray, "h w"]:
    """Returns the class ids of a label that is made for an image of this size.

    Raises:
      InputError: the function raises it, or an id is neither a class nor 255.
    """
    ids = mask.make(contents, size)
    present, places = np.unique(ids, return_inverse=True)
    if strange := outside(present.tolist(), label_map, num_classes):
        raise InputError(
            f"{mask.where} has the label id {strange[0]}, but the {num_classes} classes have "
            f"ids 0 to {num_classes - 1} (and {IGNORE} = ignored): correct the annotation, or "
            "leave the image out."
        )
    classes = np.array(classes_of(present.tolist(), label_map), np.uint8)
    return classes[places.reshape(ids.shape)]
