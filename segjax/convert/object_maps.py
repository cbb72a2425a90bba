"""Objects in maps of ids: each is a region of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import overload

import numpy as np
from jaxtyping import Integer

from segjax.convert.annotated import ClassMap, Mask_HW, Region, Size

Ids_HW = Integer[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class ObjectRegions(Sequence[Region]):
    """The objects of a map, each with the class that it has in a class map.

    The files are read when regions are asked for. If an object has pixels of several classes,
    it has a region for each.

    Attributes:
      objects: reads the map of objects; 0 is none.
      class_map: of the same image.
    """

    objects: Callable[[], Ids_HW]
    class_map: ClassMap

    @cached_property
    def _found(self) -> list[tuple[int, int]]:
        """(object, class id) of each region."""
        objects, ids = _maps(self)
        pairs = np.unique(np.stack([objects[objects > 0], ids[objects > 0]], axis=-1), axis=0)
        return [(number, class_id) for number, class_id in pairs.tolist()]

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Region: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Region]: ...
    def __getitem__(self, index: int | slice) -> Region | Sequence[Region]:
        if isinstance(index, slice):
            return [self._region(*pair) for pair in self._found[index]]
        return self._region(*self._found[index])

    def _region(self, number: int, class_id: int) -> Region:

        def draw(_: Size) -> Mask_HW:
            objects, ids = _maps(self)
            return (objects == number) & (ids == class_id)

        name = self.class_map.names[class_id]
        return Region(name, draw, instance=number, where=f"object {number}")


@lru_cache(maxsize=1)
def _maps(regions: ObjectRegions) -> tuple[Ids_HW, Ids_HW]:
    return regions.objects(), regions.class_map.ids()
