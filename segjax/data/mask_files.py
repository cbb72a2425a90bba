"""Mask files → what each of their masks stores: planes of samples, one or more."""

import io
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from segjax.contracts import IGNORE
from segjax.data.arrays import is_array, read_array
from segjax.data.colour_masks import MaskColours, classes_of_colours, shown_colours
from segjax.data.decode import DEFAULT_LIMIT, Limit, pages
from segjax.data.images import turned
from segjax.data.label_map import LabelMap
from segjax.data.lossy_masks import Levels, cuts_levels, grey_levels, levels
from segjax.data.masks import (
    are_ids,
    check_format,
    is_lossy,
    largest_sample,
    stored_planes,
    stored_samples,
)
from segjax.errors import InputError


@dataclass(frozen=True)
class LabelKind:
    """What labels a dataset's masks hold.

    Attributes:
      num_classes: classes of a pixel, or planes.
      label_map: what ids become classes; in a plane, 0, 1 or 255.
      planes: whether a label has a plane a class.
      mask_colours: what colours become classes; empty where masks store ids.
      limit: the largest mask that is decoded.
    """

    num_classes: int
    label_map: LabelMap = ()
    planes: bool = False
    mask_colours: MaskColours = ()
    limit: Limit = DEFAULT_LIMIT


class Stored(NamedTuple):
    """One mask of a file.

    Attributes:
      planes: its samples, h w, one plane or more.
      count: how many masks the file holds.
      largest: the largest sample that the file could store.
      levels: of a mask that is stored with loss, else None.
    """

    planes: list[Int[np.ndarray, "h w"]]
    count: int
    largest: int
    levels: Levels | None = None


def stored_masks(
    path: pathlib.Path, data: bytes, kind: LabelKind, *, several: bool = False
) -> Iterator[Stored]:
    """Yields what each mask of a file stores; `several`: a mask may have a plane a class.

    Where the kind has colours, samples are class ids already.

    Raises:
      InputError: the file cannot be read, or holds something else than ids.
    """
    if is_array(data):
        yield _of_array(read_array(data, path, kind.limit), path, kind, several=several)
        return
    for page in pages(io.BytesIO(data), name=path, limit=kind.limit):
        if kind.mask_colours:
            check_format(page, path)
            ids = classes_of_colours(shown_colours(page, path), kind.mask_colours, path)
            yield Stored([ids], page.count, IGNORE)
        elif is_lossy(page) and cuts_levels(kind.label_map):
            samples = grey_levels(turned(page.image), path)
            yield Stored([samples], page.count, 255, levels(samples))
        elif several:
            yield Stored(stored_planes(page, path), page.count, largest_sample(page))
        else:
            yield Stored([stored_samples(page, path)], page.count, largest_sample(page))


def _of_array(
    array: np.ndarray, path: pathlib.Path, kind: LabelKind, *, several: bool
) -> Stored:
    if kind.mask_colours:
        if array.dtype != np.uint8 or array.shape[2:] != (3,):
            raise InputError(
                f"{path} is an array of {array.dtype}, shape {array.shape}, but mask_colours "
                "names colours: save uint8, h w 3, or class ids without mask_colours."
            )
        return Stored([classes_of_colours(array, kind.mask_colours, path)], 1, IGNORE)
    if array.dtype.kind == "f" and are_ids(array).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise InputError(
            f"{path} is an array of {array.dtype}, which are not class ids: save integers."
        )
    array = array.astype(np.uint8) if array.dtype == bool else array
    planes = [array] if array.ndim == 2 else list(np.moveaxis(array, -1, 0))
    if not several and len(planes) > 1:
        raise InputError(
            f"{path} is an array of shape {array.shape}, but one mask is h w: save "
            "array.argmax(-1) if its planes are classes, or set planes=True if they overlap."
        )
    return Stored(planes, 1, int(np.iinfo(array.dtype).max))
