"""Regions of an image → its class map, its instance map, and its objects."""

import collections
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from segjax.contracts import IGNORE
from segjax.convert.annotated import Annotated, ClassMap, Mask_HW, Region, Size
from segjax.convert.classes import Classes
from segjax.errors import InputError
from segjax.labels import listed

OVERLAPS = {
    "order": "a later region of the file covers the earlier ones",
    "smaller": "a smaller object covers the larger ones",
    "ignore": "pixels of two objects become 255",
}
"""What happens where regions overlap, by the value of `--overlap`."""

PLANES_OVERLAP = "each class has a mask of its own, so classes may share pixels"
"""What happens where the masks of single classes overlap."""

MOST_OBJECTS = 2**16 - 1
TOLERANCE = 1.0
"""Pixels by which coordinates may leave the image before it is said."""


class Crop(NamedTuple):
    """The part of a mask that holds all of its pixels."""

    top: int
    left: int
    mask: Mask_HW

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns in the whole mask."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True)
class Object:
    """One object of an image.

    Attributes:
      id: its value in the instance map, from 1 on.
      class_id: its class.
      is_crowd: whether it covers several objects.
      parts: its regions, covered or not.
    """

    id: int
    class_id: int
    is_crowd: bool
    parts: tuple[Crop, ...]

    def mask(self, size: Size) -> Mask_HW:
        """Returns the full mask, also where other regions cover it."""
        whole = np.zeros(size, bool)
        for part in self.parts:
            whole[part.place] |= part.mask
        return whole


@dataclass(frozen=True)
class Painted:
    """What an image's annotations become.

    Attributes:
      label: class ids h w; or planes h w k of 0, 1 and 255.
      instances: h w, ids of the visible objects, 0 elsewhere.
      objects: in the order of their ids.
      regions: how many regions each class id has.
      empty: how many regions have no pixel in the image.
      clipped: how many regions leave the image.
      shared: how many pixels two objects claim.
    """

    label: Shaped[np.ndarray, "..."]
    instances: Shaped[np.ndarray, "h w"]
    objects: tuple[Object, ...]
    regions: Mapping[int, int]
    empty: int
    clipped: int
    shared: int


class _Drawn(NamedTuple):
    """A region with its pixels; `owner` is equal for parts of one object."""

    owner: Hashable
    class_id: int
    crop: Crop
    region: Region


def paint(
    image: Annotated,
    size: Size,
    classes: Classes,
    *,
    overlap: str = "order",
    planes: bool = False,
) -> Painted:
    """Returns the maps and objects of an image of this size.

    Args:
      image: what the annotations say.
      size: of the image.
      classes: which id each class name gets.
      overlap: a key of `OVERLAPS`.
      planes: whether each class gets a plane of its own.

    Raises:
      InputError: a region cannot be drawn, or a class map does not fit.
    """
    drawn, empty, clipped = _drawn(image, size, classes)
    objects = _objects(drawn, image.where)
    in_order = [*_by_area(drawn)] if overlap == "smaller" else drawn
    below = _below(image, size, classes)
    label = np.where(below < 0, classes.uncovered, below).astype(np.uint8)
    instances = np.zeros(size, np.uint16)
    numbers = {owner: each.id for owner, each in objects.items()}
    for each in in_order:
        label[each.crop.place][each.crop.mask] = each.class_id
        instances[each.crop.place][each.crop.mask] = numbers.get(each.owner, 0)
    twice = _claimed_twice(drawn, size)
    if overlap == "ignore":
        label[twice], instances[twice] = IGNORE, 0
    if planes:
        label = _planes(below, drawn, len(classes.names))
    return Painted(
        label,
        instances,
        tuple(objects.values()),
        collections.Counter(each.class_id for each in drawn),
        empty,
        clipped,
        int(twice.sum()),
    )


def _drawn(image: Annotated, size: Size, classes: Classes) -> tuple[list[_Drawn], int, int]:
    """Returns the regions that have pixels, how many have none, and how many are cut off."""
    drawn, empty, clipped = [], 0, 0
    for number, region in enumerate(image.regions):
        class_id = _class_id(region, classes, _where(image, region))
        if class_id is None:
            continue
        crop = _cropped(region.mask(size), size, _where(image, region))
        clipped += _leaves(region.bounds, size)
        if crop is None:
            empty += 1
            continue
        owner = ("region", number) if region.instance is None else ("own", region.instance)
        drawn.append(_Drawn(owner, class_id, crop, region))
    return drawn, empty, clipped


def _where(image: Annotated, region: Region) -> str:
    """Returns what names the region in messages, with the file."""
    if not image.where or image.where in region.where:
        return region.where
    return f"{image.where}: {region.where}"


def _class_id(region: Region, classes: Classes, where: str) -> int | None:
    if region.class_name not in classes.ids:
        raise InputError(
            f"{where} has the class {region.class_name!r}, which is not a class of the "
            "source: correct its name."
        )
    return classes.ids[region.class_name]


def _cropped(mask: Mask_HW, size: Size, where: str) -> Crop | None:
    if mask.shape != tuple(size):
        raise InputError(
            f"{where} has a mask of {mask.shape[1]}x{mask.shape[0]} pixels, and the image has "
            f"{size.width}x{size.height}: export it again from the same image."
        )
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    return Crop(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def _leaves(bounds: tuple[float, float, float, float] | None, size: Size) -> bool:
    if bounds is None:
        return False
    left, top, right, bottom = bounds
    return (
        min(left, top) < -TOLERANCE
        or right > size.width + TOLERANCE
        or bottom > size.height + TOLERANCE
    )


def _objects(drawn: Sequence[_Drawn], where: str) -> dict[Hashable, Object]:
    """Returns the objects by their owner, numbered in the order of the file."""
    parts: dict[Hashable, list[_Drawn]] = {}
    for each in drawn:
        if each.region.instance is not None and each.class_id != IGNORE:
            parts.setdefault(each.owner, []).append(each)
    if len(parts) > MOST_OBJECTS:
        raise InputError(f"{where} has {len(parts)} objects, more than {MOST_OBJECTS}.")
    return {
        owner: Object(
            number,
            own[0].class_id,
            any(each.region.is_crowd for each in own),
            tuple(each.crop for each in own),
        )
        for number, (owner, own) in enumerate(parts.items(), 1)
    }


def _by_area(drawn: Sequence[_Drawn]) -> Iterator[_Drawn]:
    """Yields the regions, those of the largest object first; ignored crowds lie below all."""
    areas: collections.Counter[Hashable] = collections.Counter()
    for each in drawn:
        areas[each.owner] += int(each.crop.mask.sum())

    def order(each: _Drawn) -> tuple[bool, int]:
        hidden = each.region.is_crowd and each.class_id == IGNORE
        return not hidden, -areas[each.owner]

    yield from sorted(drawn, key=order)


def _claimed_twice(drawn: Iterable[_Drawn], size: Size) -> Mask_HW:
    """Returns the pixels in the masks of two objects; two parts of one object are one."""
    by_owner = collections.defaultdict(list)
    for each in drawn:
        by_owner[each.owner].append(each.crop)
    once, twice = np.zeros(size, bool), np.zeros(size, bool)
    for crops in by_owner.values():
        if len(crops) == 1:
            place, mask = crops[0].place, crops[0].mask
        else:
            place = (slice(None), slice(None))
            mask = Object(0, 0, False, tuple(crops)).mask(size)
        twice[place] |= once[place] & mask
        once[place] |= mask
    return twice


def _below(image: Annotated, size: Size, classes: Classes) -> Shaped[np.ndarray, "h w"]:
    """Returns the class ids below all regions; -1 where there are none."""
    if image.class_map is None:
        return np.full(size, -1, np.int16)
    ids, values = np.unique(_read(image.class_map, size), return_inverse=True)
    names = image.class_map.names
    unknown = np.array([each for each in ids.tolist() if each not in names])
    if unknown.size:
        raise InputError(
            f"{image.class_map.where} has ids {listed(unknown)}, and no class has them: name "
            "their classes, or ignore them."
        )
    found = [classes.ids[names[each]] for each in ids.tolist()]
    table = np.array([-1 if each is None else each for each in found], np.int16)
    return table[values].reshape(size)


def _read(class_map: ClassMap, size: Size) -> np.ndarray:
    ids = class_map.ids()
    if ids.shape != tuple(size):
        raise InputError(
            f"{class_map.where} has {ids.shape[1]}x{ids.shape[0]} pixels, and the image has "
            f"{size.width}x{size.height}: export it again from the same image."
        )
    return ids


def _planes(
    below: Shaped[np.ndarray, "h w"], drawn: Sequence[_Drawn], count: int
) -> Shaped[np.ndarray, "h w k"]:
    """Returns a plane of 0, 1 and 255 for each class; ignored regions are in each."""
    planes = (below[..., None] == np.arange(count)).astype(np.uint8)
    planes[below == IGNORE] = IGNORE
    for each in drawn:
        region = planes[each.crop.place]
        if each.class_id == IGNORE:
            region[each.crop.mask] = IGNORE
        else:
            region[..., each.class_id][each.crop.mask] = 1
    return planes
