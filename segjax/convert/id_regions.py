"""Maps of object ids as regions, which are found when they are asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import overload

import numpy as np
from jaxtyping import Integer

from segjax.convert.annotated import Mask_HW, Region, Size

Objects = Callable[[], tuple[Integer[np.ndarray, "h w"], Mapping[int, str]]]
"""Reads a map of ids, and {id: class name} of the ids that are objects."""


@dataclass(frozen=True)
class IdRegions(Sequence[Region]):
    """A region for each object of a map.

    The map is not kept: `objects` is called again for each mask, and remembers the last maps.
    """

    objects: Objects

    @cached_property
    def _regions(self) -> tuple[Region, ...]:
        return tuple(
            Region(name, partial(_mask, self.objects, number), number, where=f"object {number}")
            for number, name in self.objects()[1].items()
        )

    def __iter__(self) -> Iterator[Region]:
        # Sequence's own would take an IndexError of the reader for the end.
        return iter(self._regions)

    def __len__(self) -> int:
        return len(self._regions)

    @overload
    def __getitem__(self, index: int) -> Region: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Region]: ...

    def __getitem__(self, index: int | slice) -> Region | Sequence[Region]:
        return self._regions[index]


def _mask(objects: Objects, number: int, size: Size) -> Mask_HW:
    del size  # The mask has the map's; another one than the image's is reported there.
    return objects()[0] == number
