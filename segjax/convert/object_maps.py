"""Objects of a map whose classes another map says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Integer

from segjax.convert.annotated import ClassMap
from segjax.convert.id_regions import IdRegions
from segjax.errors import InputError

Ids_HW = Integer[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class _Objects:
    objects: Callable[[], Ids_HW]
    class_map: ClassMap

    def __call__(self) -> tuple[Ids_HW, Mapping[int, str]]:
        return _numbered(self)


def object_regions(objects: Callable[[], Ids_HW], class_map: ClassMap) -> IdRegions:
    """Returns a region for each object of a map, with the class that its pixels have.

    `objects` reads the map; 0 is none. An object with pixels of several classes counts as one
    for each of them.
    """
    return IdRegions(_Objects(objects, class_map))


@lru_cache(maxsize=2)
def _numbered(maps: _Objects) -> tuple[Ids_HW, Mapping[int, str]]:
    """Returns the objects, numbered from 1 on, and the class of each.

    Raises:
      InputError: the two maps have different sizes, or an id has no class.
    """
    objects, ids = maps.objects(), maps.class_map.ids()
    if objects.shape != ids.shape:
        raise InputError(
            f"{maps.class_map.where} has {ids.shape[1]}x{ids.shape[0]} pixels, and its map of "
            f"objects {objects.shape[1]}x{objects.shape[0]}: export both again from the same "
            "image."
        )
    found = objects > 0
    pairs, numbers = np.unique(
        np.stack([objects[found], ids[found]], axis=-1), axis=0, return_inverse=True
    )
    known = maps.class_map.names
    if unknown := sorted({class_id for _, class_id in pairs.tolist()} - known.keys()):
        raise InputError(
            f"{maps.class_map.where} has the id {unknown[0]}, and no class has it: name its "
            "class, or ignore it."
        )
    numbered = np.zeros(objects.shape, np.int64)
    numbered[found] = numbers.reshape(-1) + 1
    names = {n: known[class_id] for n, (_, class_id) in enumerate(pairs.tolist(), 1)}
    return numbered, names
