"""Files of object ids, such as 16-bit PNGs → objects, whose classes ids or a label say."""

import pathlib
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Integer

from segjax.contracts import IGNORE
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.drawn_objects import DrawnObject, objects_of_map
from segjax.data.mask_files import LabelKind, stored_masks
from segjax.errors import InputError


def read_ids(
    path: pathlib.Path, data: bytes, size: tuple[int, int], *, limit: Limit = DEFAULT_LIMIT
) -> Integer[np.ndarray, "h w"]:
    """Returns the ids that a file stores for an image of this size.

    Raises:
      InputError: the file cannot be read, has several pages, negative ids or another size.
    """
    found = list(stored_masks(path, data, LabelKind(num_classes=1, limit=limit)))
    if len(found) > 1:
        raise InputError(
            f"{path} holds {len(found)} maps of objects, but its image one: save single images."
        )
    ids = found[0].planes[0]
    if ids.shape != tuple(size):
        raise InputError(
            f"{path} is {ids.shape[1]}x{ids.shape[0]} pixels, but its image is "
            f"{size[1]}x{size[0]} (width x height): save it again from the same image."
        )
    if ids.size and int(ids.min()) < 0:
        raise InputError(
            f"{path} has the object id {ids.min()}: number objects from 1 on, and 0 is none."
        )
    return ids


def objects_of_label(
    ids: Integer[np.ndarray, "h w"],
    label: Integer[np.ndarray, "h w"],
    *,
    only: Collection[int] | None = None,
    where: str,
) -> list[DrawnObject]:
    """Returns the objects of a map of ids, each of the class that its pixels have.

    Ignored pixels of an object do not count for its class.

    Args:
      ids: the map; 0 is no object.
      label: class ids of the same pixels.
      only: the classes whose objects are wanted; None for all.
      where: the file of the map.
    """
    of_object: dict[int, set[int]] = {}
    for number, class_id in _pairs(ids, label):
        of_object.setdefault(number, set()).add(class_id)
    classes, faults = {}, {}
    for number, found in of_object.items():
        counted = sorted(found - {IGNORE})
        if only is not None and not {*counted} & {*only}:
            continue
        classes[number] = counted[0] if counted else IGNORE
        if len(counted) != 1:
            faults[number] = _several(counted)
    return objects_of_map(ids, classes, faults=faults, where=where)


def _several(classes: Collection[int]) -> str:
    if not classes:
        return f"has no pixel with a class: all of its label is {IGNORE}"
    return f"has pixels of the classes {', '.join(map(str, classes))} in its label"


def _pairs(
    ids: Integer[np.ndarray, "h w"], label: Integer[np.ndarray, "h w"]
) -> list[tuple[int, int]]:
    """Returns each (object id, class id) that a pixel has, in ascending order."""
    inside = ids > 0
    joined = np.unique(ids[inside].astype(np.int64) * 256 + label[inside])
    return [divmod(each, 256) for each in joined.tolist()]


def objects_of_ids(
    ids: Integer[np.ndarray, "h w"], classes: Mapping[int, int], *, where: str
) -> list[DrawnObject]:
    """Returns the objects of a map in which ids say the class, as Cityscapes' do.

    An id from 1000 on is 1000 times the class's own id, plus a number. A lower one is the
    class's own id: it is a group, which is a crowd.

    Args:
      ids: the map.
      classes: {the class's own id: class id} of classes with objects; others have none.
      where: the file of the map.
    """
    own = {each: each // 1000 if each >= 1000 else each for each in np.unique(ids).tolist()}
    found = {each: classes[number] for each, number in own.items() if number in classes}
    crowds = frozenset(each for each in found if each < 1000)
    return objects_of_map(ids, found, crowds=crowds, where=where)
