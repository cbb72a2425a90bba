"""Objects in the cache: encoded without loss when they are prepared, decoded when read."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.data.drawn_objects import DrawnObject
from segjax.data.usable_objects import clipped_box
from segjax.objects import ENTRIES, STATED, layered


def object_entries(objects: Sequence[DrawnObject], size: tuple[int, int]) -> dict[str, Any]:
    """Returns the entries of an example of this size that has such objects.

    `areas` is one of them where an object's area is stated; others have those of their masks.
    """
    numbers = [each.number for each in objects]
    boxes = [clipped_box(each, size) for each in objects]
    entries = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.array([each.class_id for each in objects], np.int32),
        "instance_ids": np.array(numbers, np.int32),
        "crowd": np.array([each.crowd for each in objects], bool),
        "instances": layered((each.whole(size) for each in objects), numbers, size),
    }
    if any(each.area is not None for each in objects):
        areas = [each.mask.sum() if each.area is None else each.area for each in objects]
        entries["areas"] = np.array(areas, np.float64)
    return entries


def encode_objects(entries: Mapping[str, Any]) -> bytes:
    """Returns the entries of objects as the contents of a compressed `.npz` file.

    Layers lie one after the other there, where they compress better.
    """
    present = (*ENTRIES, *(key for key in STATED if key in entries))
    arrays = {key: np.asarray(entries[key]) for key in present}
    arrays["instances"] = np.ascontiguousarray(np.moveaxis(arrays["instances"], -1, 0))
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # pyright: ignore (takes a name for a flag)
    return data.getvalue()


def decode_objects(data: bytes) -> dict[str, Any]:
    """Returns the entries that `encode_objects` was given."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        entries = {key: arrays[key] for key in arrays.files}
    entries["instances"] = np.ascontiguousarray(np.moveaxis(entries["instances"], 0, -1))
    return entries
