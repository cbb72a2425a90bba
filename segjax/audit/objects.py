"""Objects of examples, counted for an audit: by class, by image, by size."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from segjax.contracts import Example
from segjax.objects import ENTRIES

BOUNDS = (32**2, 96**2)
"""Pixels from which COCO's scores call an object medium, and large."""

SIZES = ("small", "medium", "large")


class ObjectLook(NamedTuple):
    """The objects of one example.

    Attributes:
      classes: n, class ids.
      areas: n, pixels of each.
      crowd: n, whether it is a region of many objects.
    """

    classes: Int[np.ndarray, "n"]
    areas: Int[np.ndarray, "n"]
    crowd: Bool[np.ndarray, "n"]


@dataclass(frozen=True)
class ObjectCounts:
    """The objects of a dataset; crowds count for `crowds` alone.

    Attributes:
      total: objects.
      crowds: regions of many objects.
      images: with an object.
      most: objects of one image.
      classes: objects of each class, by class id.
      images_of_class: images with an object of each class.
      sizes: objects of each of `SIZES`.
    """

    total: int
    crowds: int
    images: int
    most: int
    classes: tuple[int, ...]
    images_of_class: tuple[int, ...]
    sizes: Mapping[str, int]


def look_at_objects(example: Example) -> ObjectLook | None:
    """Returns what is kept of an example's objects; None without them."""
    if any(key not in example for key in ENTRIES):
        return None
    ids = example["instance_ids"]
    pixels = np.bincount(example["instances"].ravel(), minlength=int(ids.max(initial=0)) + 1)
    return ObjectLook(example["classes"], pixels[ids], example["crowd"])


def object_counts(looks: Iterable[ObjectLook], *, classes: int) -> ObjectCounts:
    """Returns the counts of several examples, whose class ids are below `classes`."""
    looks = list(looks)
    found = [(each.classes[~each.crowd], each.areas[~each.crowd]) for each in looks]
    numbers = [len(ids) for ids, _ in found]
    by_class, images = np.zeros((2, classes), int)
    for ids, _ in found:
        by_class += np.bincount(ids, minlength=classes)
        images[np.unique(ids)] += 1
    areas = np.concatenate([np.zeros(0, int), *(areas for _, areas in found)])
    sizes = np.bincount(np.searchsorted(BOUNDS, areas, side="right"), minlength=len(SIZES))
    return ObjectCounts(
        total=sum(numbers),
        crowds=sum(int(each.crowd.sum()) for each in looks),
        images=sum(map(bool, numbers)),
        most=max(numbers, default=0),
        classes=tuple(by_class.tolist()),
        images_of_class=tuple(images.tolist()),
        sizes=dict(zip(SIZES, sizes.tolist(), strict=True)),
    )


def object_rows(counts: Sequence[ObjectCounts | None]) -> list[tuple[str, ...]]:
    """Returns a row for each fact about objects, a column a dataset; none without objects."""
    if not any(counts):
        return []
    cell = lambda each, text: "–" if each is None else text(each)
    row = lambda name, text: (name, *(cell(each, text) for each in counts))
    rows = [
        row("objects", lambda each: f"{each.total:,}"),
        row("objects an image", _of_images),
        row("object sizes", _sizes),
    ]
    if any(each and each.crowds for each in counts):
        rows.append(row("crowds", lambda each: f"{each.crowds:,}"))
    return rows


def _sizes(counts: ObjectCounts) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.sizes.items())


def _of_images(counts: ObjectCounts) -> str:
    return f"up to {counts.most:,}; {counts.images:,} images have some"
