"""The objects of a source before preparation: what is drawn from its files, and how."""

import pathlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from segjax.errors import InputError

BROKEN = ("refuse", "drop")
"""What happens to an object that cannot be used: it is an error, or it is left out."""

Box = tuple[float, float, float, float]

MakeObjects = Callable[[Sequence[bytes], np.ndarray], Sequence["DrawnObject"]]
"""(contents of the files, prepared label h w or h w k) → the image's objects."""


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """One object of an image, as its files say it; `usable_objects` looks for faults.

    Attributes:
      key: what tells it from the other objects of its image, such as its id in the file.
      number: its value in the entry `instances`.
      class_id: its class.
      mask: the part of its mask that holds all pixels; h or w may be 0.
      corner: row and column of the part's upper left pixel in the image.
      crowd: whether it is a region of many objects.
      box: (x0, y0, x1, y1) in pixels; None: the smallest one around the mask.
      where: what names it in messages: the file, and its id there.
      fault: what is wrong with it already, as the end of a line that `where` begins.
      area: its pixels as its annotation states them; None where that does not.
    """

    key: Hashable
    number: int
    class_id: int
    mask: Bool[np.ndarray, "h w"]
    corner: tuple[int, int]
    where: str
    crowd: bool = False
    box: Box | None = None
    fault: str | None = None
    area: float | None = None

    def whole(self, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
        """Returns the mask in an image of this size."""
        (top, left), (h, w) = self.corner, self.mask.shape
        mask = np.zeros(size, bool)
        mask[top : top + h, left : left + w] = self.mask
        return mask

    def outline(self) -> Box:
        """Returns the smallest box around the mask, which has a pixel."""
        (top, left), (h, w) = self.corner, self.mask.shape
        return float(left), float(top), float(left + w), float(top + h)


@dataclass(frozen=True)
class MadeObjects:
    """The objects of a source, which a function makes.

    Attributes:
      make: makes them; what it returns depends on its arguments and `key` alone.
      key: names everything else that decides them, such as the digest of a JSON file that
        describes many images; it is part of the cache's key.
      where: what names them in messages.
      files: those that are read for them, and whose contents are part of the cache's key.
    """

    make: MakeObjects
    key: str
    where: str
    files: tuple[pathlib.Path, ...] = ()


@dataclass(frozen=True)
class ObjectRule:
    """Which objects a dataset has; it is part of the cache's key.

    Attributes:
      things: the ids of the classes whose objects count.
      broken: one of `BROKEN`.
    """

    things: tuple[int, ...]
    broken: str = "refuse"


def check_broken_objects(who: str, value: Any, *, has_objects: bool) -> None:
    """Raises InputError unless `broken_objects` is None, or one of `BROKEN` with objects."""
    if value is not None and value not in BROKEN:
        raise InputError(
            f"{who} has broken_objects={value!r}: write one of {', '.join(map(repr, BROKEN))}."
        )
    if value is not None and not has_objects:
        raise InputError(
            f"{who} has broken_objects={value!r}, but its examples have no objects: leave "
            "broken_objects out."
        )


def cropped(mask: Bool[np.ndarray, "h w"]) -> tuple[np.ndarray, tuple[int, int]]:
    """Returns the part of a mask that holds all its pixels, and the part's corner."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return np.zeros((0, 0), bool), (0, 0)
    top, left = int(rows[0]), int(columns[0])
    return mask[top : rows[-1] + 1, left : columns[-1] + 1].copy(), (top, left)


def objects_of_map(
    ids: Integer[np.ndarray, "h w"],
    classes: Mapping[int, int],
    *,
    crowds: frozenset[int] = frozenset(),
    faults: Mapping[int, str] = MappingProxyType({}),
    where: str,
) -> list[DrawnObject]:
    """Returns the objects of a map of ids, in the order of `classes`.

    Values in `instances` are the map's own ids, or 1 … n where one of them exceeds 65535.

    Args:
      ids: the map.
      classes: {id: class id} of the objects in it; other ids are none.
      crowds: ids of regions of many objects.
      faults: {id: what is wrong with it}.
      where: the file.
    """
    places = dict(_places(ids))
    large = any(not 0 < each < 2**16 for each in classes)
    return [
        DrawnObject(
            key=each,
            number=number if large else each,
            class_id=classes[each],
            mask=ids[places[each]] == each if each in places else np.zeros((0, 0), bool),
            corner=_corner(places.get(each)),
            where=f"{where}, object {each}",
            crowd=each in crowds,
            fault=faults.get(each),
        )
        for number, each in enumerate(classes, 1)
    ]


def _corner(place: Any) -> tuple[int, int]:
    return (0, 0) if place is None else (place[0].start, place[1].start)


def _places(ids: Integer[np.ndarray, "h w"]) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yields each id but 0 with the rows and columns that hold its pixels."""
    rows, columns = np.nonzero(ids)
    found = ids[rows, columns]
    order = np.argsort(found, kind="stable")
    rows, columns, found = rows[order], columns[order], found[order]
    starts = np.flatnonzero(np.r_[True, found[1:] != found[:-1]]) if found.size else []
    for start, end in zip(starts, [*starts[1:], found.size], strict=True):
        top, bottom = rows[start:end].min(), rows[start:end].max()
        left, right = columns[start:end].min(), columns[start:end].max()
        yield (
            int(found[start]),
            (slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)),
        )
