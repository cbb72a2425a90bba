"""Crops that look at the label: not all of one class, or around a class."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from segjax.contracts import IGNORE, Example
from segjax.errors import InputError
from segjax.labels import check_map, example_name
from segjax.transforms.entries import size_of
from segjax.transforms.fields import (
    check_classes,
    check_count,
    check_number,
    check_probability,
    pair_of,
)
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour
from segjax.transforms.geometric import crop, random_corner


@dataclass(frozen=True)
class BalancedCrop:
    """A random window in which no class covers more than a share of the labelled pixels.

    As mmsegmentation's `RandomCrop(cat_max_ratio=0.75)`: windows are drawn until one has two
    classes or more, and the most frequent one covers less than `cat_max_ratio` of the pixels
    that are not ignored. After `tries` windows that do not, the next one is taken as it is.
    Size and `fill` are those of `RandomCrop`.
    """

    size: int | tuple[int, int]
    cat_max_ratio: float = 0.75
    tries: int = 10
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        pair_of(self.size, "BalancedCrop")
        check_number(self, "cat_max_ratio", 0, most=1)
        check_count(self, "tries", 1)
        check_number_or_colour("BalancedCrop", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the window.

        Raises:
          InputError: the label is not one map of class ids.
        """
        have, size = (
            size_of(example, by="BalancedCrop"),
            pair_of(self.size, "BalancedCrop"),
        )
        label = _label(example, by="BalancedCrop")
        if label.ndim != 2:
            raise InputError(
                f"{example_name(example)}: BalancedCrop counts the class ids of a label h w, "
                f"but the label is {label.shape}: use RandomCrop or ForegroundCrop."
            )
        corner = random_corner(have, size, rng)
        for _ in range(self.tries):
            if self._is_balanced(_inside(label, *corner, size)):
                break
            corner = random_corner(have, size, rng)
        return crop(example, *corner, size, fill=self.fill, by="BalancedCrop")

    def _is_balanced(self, label: Shaped[np.ndarray, "h w"]) -> bool:
        counts = np.unique(label[label != IGNORE], return_counts=True)[1]
        return counts.size > 1 and bool(counts.max() < self.cat_max_ratio * counts.sum())


@dataclass(frozen=True)
class ForegroundCrop:
    """A window around a pixel of some classes with `probability`, else a random window.

    nnU-Net's oversampling of foreground (Isensee et al., 2021): one of the `classes` that the
    example has is drawn, then one of its pixels, and the window's centre is that pixel. At the
    border the window moves inwards as far as it must, so that no pixel is wasted. An example
    without these classes gives a random window. nnU-Net forces a third of each batch. Size and
    `fill` are those of `RandomCrop`.
    """

    size: int | tuple[int, int]
    classes: tuple[int, ...]
    probability: float = 0.33
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        pair_of(self.size, "ForegroundCrop")
        check_classes(self)
        check_probability(self)
        check_number_or_colour("ForegroundCrop", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the window."""
        have, size = (
            size_of(example, by="ForegroundCrop"),
            pair_of(self.size, "ForegroundCrop"),
        )
        corner = random_corner(have, size, rng)
        if rng.random() < self.probability:
            corner = self._around_a_class(example, corner, have, size, rng)
        return crop(example, *corner, size, fill=self.fill, by="ForegroundCrop")

    def _around_a_class(
        self,
        example: Example,
        corner: tuple[int, int],
        have: tuple[int, int],
        size: tuple[int, int],
        rng: np.random.Generator,
    ) -> tuple[int, int]:
        """Returns (top, left) of a window around a pixel, or `corner` where there is none."""
        label = _label(example, by="ForegroundCrop")
        present = [c for c in self.classes if is_class(label, c).any()]
        if not present:
            return corner
        pixels = np.flatnonzero(is_class(label, present[rng.integers(len(present))]))
        centre = np.unravel_index(pixels[rng.integers(pixels.size)], have)
        top, left = (
            # A side that is shorter than the window's keeps its random place.
            int(np.clip(middle - new // 2, 0, old - new)) if old > new else start
            for middle, start, old, new in zip(centre, corner, have, size, strict=True)
        )
        return top, left


def is_class(label: Shaped[np.ndarray, "h w ..."], index: int) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels of a class, in a label of class ids or of planes."""
    if label.ndim == 2:
        return label == index
    if index >= label.shape[-1]:
        return np.zeros(label.shape[:2], bool)
    return label[..., index] == 1


def _label(example: Example, *, by: str) -> Shaped[np.ndarray, "h w ..."]:
    if "label" not in example:
        raise InputError(f"{example_name(example)}: {by} needs a label; use RandomCrop.")
    check_map(example, "label", planes=True)
    return example["label"]


def _inside(
    label: Shaped[np.ndarray, "h w"], top: int, left: int, size: tuple[int, int]
) -> Shaped[np.ndarray, "h2 w2"]:
    """Returns the part of a label that lies in a window."""
    return label[max(top, 0) : max(top + size[0], 0), max(left, 0) : max(left + size[1], 0)]
