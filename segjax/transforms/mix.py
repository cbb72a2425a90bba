"""CutMix, Mosaic and copy-paste: an example with parts of others of its dataset.

Their partners come from the loader, with the transforms applied that stand before
(`segjax.contracts.NeedsPartners`). Put them behind the transform that fixes the size, but for
`Canvas`, which comes after them. Objects go with their pixels (`mixed_objects`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Shaped

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.labels import check_map, example_name
from segjax.transforms.border import connected_components
from segjax.transforms.crops import is_class
from segjax.transforms.entries import checked_kinds, size_of
from segjax.transforms.fields import (
    check_classes,
    check_number,
    check_probability,
    check_range,
)
from segjax.transforms.geometric import random_corner
from segjax.transforms.mixed_objects import chosen_objects
from segjax.transforms.mixing import check_mixable, fitted, followers, paste
from segjax.transforms.visible_objects import has_masks


@dataclass(frozen=True)
class CutMix:
    """A rectangle of another example, with `probability` (Yun et al., 2019, arXiv:1905.04899).

    The rectangle's share of the area is drawn from Beta(alpha, alpha), uniform for 1, and it
    has the image's proportions. Its centre is uniform; what lies outside is cut off. Image and
    label come from the same place of the partner. Of a partner of another size a random window
    is taken. Label and image change together, so the loss needs no mixture.
    """

    alpha: float = 1.0
    probability: float = 0.5

    partners: ClassVar[int] = 1

    def __post_init__(self):
        check_number(self, "alpha", 0.01)
        check_probability(self)

    def __call__(
        self, example: Example, rng: np.random.Generator, partners: Sequence[Example] = ()
    ) -> Example:
        """Returns the mixed example, or one with the same pixels.

        Raises:
          InputError: the example has boxes without masks, or the partner does not fit it.
        """
        check_mixable(self, example, partners)
        h, w = size_of(example, by="CutMix")
        side = math.sqrt(rng.beta(self.alpha, self.alpha))
        height, width = round(h * side), round(w * side)
        top, left = int(rng.integers(h)) - height // 2, int(rng.integers(w)) - width // 2
        if rng.random() >= self.probability:
            return {**example}
        partner = partners[0]
        corner = random_corner(partner["image"].shape[:2], (h, w), rng)
        partner, covered = fitted(partner, *corner, (h, w), by="CutMix")
        mask = np.zeros((h, w), bool)
        mask[max(top, 0) : top + height, max(left, 0) : left + width] = True
        return paste(example, partner, mask & covered, by="CutMix")


@dataclass(frozen=True)
class Mosaic:
    """Four examples as tiles of one, with `probability` (Bochkovskiy et al., 2020, YOLOv4).

    The size stays. The point where the tiles meet is uniform in `centre`, as shares of the
    height and of the width. Each tile is a random window of its example; the first is this
    example, the others are partners. A partner that is smaller than its tile is surrounded by
    `RandomCrop`'s colour and label 255.
    """

    centre: tuple[float, float] = (0.25, 0.75)
    probability: float = 0.5

    partners: ClassVar[int] = 3

    def __post_init__(self):
        check_range(self, "centre", 0, most=1)
        check_probability(self)

    def __call__(
        self, example: Example, rng: np.random.Generator, partners: Sequence[Example] = ()
    ) -> Example:
        """Returns the mosaic, or an example with the same pixels.

        Raises:
          InputError: the example has boxes without masks, or a partner does not fit it.
        """
        check_mixable(self, example, partners)
        h, w = size_of(example, by="Mosaic")
        y, x = (round(side * rng.uniform(*self.centre)) for side in (h, w))
        if rng.random() >= self.probability:
            return {**example}
        found = example
        tiles = ((0, y, 0, x), (0, y, x, w), (y, h, 0, x), (y, h, x, w))
        for place, (y0, y1, x0, x1) in enumerate(tiles):
            tile = partners[place - 1] if place else example
            corner = random_corner(tile["image"].shape[:2], (y1 - y0, x1 - x0), rng)
            window, _ = fitted(tile, corner[0] - y0, corner[1] - x0, (h, w), by="Mosaic")
            mask = np.zeros((h, w), bool)
            mask[y0:y1, x0:x1] = True
            found = paste(found, window, mask, by="Mosaic") if place else window
        return found


@dataclass(frozen=True)
class CopyPaste:
    """Objects of another example pasted on, with `probability` (Ghiasi et al., 2021).

    Each object of the `classes` in the partner is taken with the probability `share`. If the
    example has objects (`segjax.objects`), each comes with its box and mask, and those that it
    covers lose their pixels; crowds are not taken. With `instances` alone, an object is an
    instance; without, it is a connected region of one class.

    It is pasted at its place in the partner, without blending its border (arXiv:2012.07177
    finds no gain from that). The paper flips and scales both examples
    strongly before: put `RandomScale(0.1, 2.0)`, `RandomCrop` and `RandomFlip` in front.
    Of a partner of another size a random window is taken.
    """

    classes: tuple[int, ...]
    share: float = 0.5
    probability: float = 0.5

    partners: ClassVar[int] = 1

    def __post_init__(self):
        check_classes(self)
        check_number(self, "share", 0, most=1)
        check_probability(self)

    def __call__(
        self, example: Example, rng: np.random.Generator, partners: Sequence[Example] = ()
    ) -> Example:
        """Returns the example with the objects, or one with the same pixels.

        Raises:
          InputError: the example has boxes without masks, or no label, or the partner does not
            fit it.
        """
        check_mixable(self, example, partners)
        size = size_of(example, by="CopyPaste")
        if "label" not in example:
            raise InputError(f"{example_name(example)}: CopyPaste needs a label.")
        if rng.random() >= self.probability:
            return {**example}
        partner = partners[0]
        corner = random_corner(partner["image"].shape[:2], size, rng)
        partner, covered = fitted(partner, *corner, size, by="CopyPaste")
        if has_masks(kinds := checked_kinds(partner, by="CopyPaste")):
            chosen = self._chosen(partner, rng)
            partner, mask = chosen_objects(partner, chosen, followers(kinds))
            return paste(example, partner, mask & covered, by="CopyPaste")
        objects = np.where(covered, objects_of(partner, self.classes), 0)
        numbers = np.unique(objects[objects > 0])
        chosen = numbers[rng.random(numbers.size) < self.share]
        return paste(example, partner, np.isin(objects, chosen), by="CopyPaste")

    def _chosen(self, partner: Example, rng: np.random.Generator) -> Bool[np.ndarray, "n"]:
        if missing := [key for key in ("classes", "crowd") if key not in partner]:
            raise InputError(
                f"{example_name(partner)} has boxes, but no {missing[0]!r}: let the dataset "
                "give all entries of its objects (segjax.objects)."
            )
        of_class = np.isin(partner["classes"], self.classes) & ~partner["crowd"]
        return of_class & (rng.random(len(of_class)) < self.share)


def objects_of(example: Example, classes: Sequence[int]) -> Shaped[np.ndarray, "h w"]:
    """Returns the number of the object at each pixel; 0 where there is none of the classes."""
    check_map(example, "label", planes=True)
    masks = [is_class(example["label"], index) for index in classes]
    if "instances" in example and example["instances"].ndim == 2:
        return np.where(np.logical_or.reduce(masks), example["instances"], 0)
    objects = np.zeros(masks[0].shape, np.int64)
    for mask in masks:
        regions = connected_components(mask)
        objects = np.where(mask, regions + objects.max(), objects)
    return objects
