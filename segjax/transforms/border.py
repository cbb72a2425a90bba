"""U-Net's weight map: borders between cells count most (Ronneberger et al., 2015, eq. 2)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32, Int64

from segjax.contracts import IGNORE, Example
from segjax.errors import InputError
from segjax.labels import check_planes, example_name
from segjax.transforms.entries import checked_kinds
from segjax.transforms.fields import is_number


@dataclass(frozen=True)
class BorderWeights:
    """Adds `weight`, float32 h w: w = w_c + w0 · exp(−(d1 + d2)² / (2 sigma²)).

    d1 and d2 are the distances in pixels to the nearest and the second nearest cell, and cells
    are the connected regions of the class `foreground` (its pixels touch by their sides). The
    second term is for pixels outside cells, where the separating borders are; pixels of label
    255 weigh 0. w_c is `class_weights[label]`, which the paper chooses to make up for rare
    classes in the training set; without it w_c = 1.

    Comes last: crops and deformations change which cells there are. It takes about 0.1 s
    for 388 × 388 pixels, however many cells, and grows with the pixels and with `sigma`.
    """

    w0: float = 10.0
    sigma: float = 5.0
    foreground: int = 1
    class_weights: tuple[float, ...] = ()

    def __post_init__(self):
        are_numbers = is_number(self.w0) and is_number(self.sigma)
        if not are_numbers or self.w0 < 0 or self.sigma <= 0:
            raise InputError(
                f"BorderWeights needs w0 >= 0 and sigma > 0, got {self.w0!r} and "
                f"{self.sigma!r}."
            )
        if not all(is_number(weight) and weight >= 0 for weight in self.class_weights):
            raise InputError(f"BorderWeights needs weights >= 0, got {self.class_weights}.")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example with its weight map; the generator is not used.

        Raises:
          InputError: the label is not one map of class ids, or one has no entry in
            `class_weights`.
        """
        checked_kinds(example, by="BorderWeights")
        label = _class_ids(example)
        valid = label != IGNORE
        weight = valid.astype(np.float32)
        if self.class_weights:
            count = len(self.class_weights)
            wrong = label[valid & ((label < 0) | (label >= count))]
            if wrong.size:
                raise InputError(
                    f"BorderWeights has {count} class_weights, but a label is {wrong[0]}: give "
                    "one weight a class."
                )
            table = np.asarray(self.class_weights, np.float32)
            weight[valid] = table[label[valid]]
        inside = label == self.foreground
        # Beyond six sigma the term is below w0 · 2e-8.
        d1, d2 = two_nearest(connected_components(inside), reach=math.ceil(6 * self.sigma))
        outside = valid & ~inside
        sums = (d1 + d2)[outside]
        weight[outside] += (self.w0 * np.exp(-(sums**2) / (2 * self.sigma**2))).astype(
            np.float32
        )
        return {**example, "weight": weight}


def _class_ids(example: Example) -> Int[np.ndarray, "h w"]:
    label = example.get("label")
    if isinstance(label, np.ndarray) and (label.ndim == 3 or label.dtype.kind not in "iub"):
        raise InputError(
            f"{example_name(example)}: BorderWeights finds cells in a label h w of class ids, "
            f"but the label is {label.dtype} of shape {label.shape}: leave BorderWeights out, "
            "or let the dataset return class ids."
        )
    check_planes(example)
    return example["label"]


def connected_components(inside: Bool[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Returns regions of pixels that touch by their sides, numbered from 1; 0 outside.

    >>> connected_components(np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1]], bool)).tolist()
    [[1, 0, 2], [1, 0, 2], [0, 2, 2]]
    """
    # The runs of each row are nodes of a graph, numbered in reading order.
    starts = inside & ~np.pad(inside, ((0, 0), (1, 0)))[:, :-1]
    runs = np.cumsum(starts).reshape(inside.shape) - 1
    touching = inside[:-1] & inside[1:]
    above, below = runs[:-1][touching], runs[1:][touching]
    root = np.arange(runs.flat[-1] + 1 if runs.size else 0)
    while np.any(root[above] != root[below]):
        lower = np.minimum(root[above], root[below])
        np.minimum.at(root, root[above], lower)
        np.minimum.at(root, root[below], lower)
        while np.any(root[root] != root):
            root = root[root]
    number = np.unique(root, return_inverse=True)[1] + 1
    components = np.zeros(inside.shape, np.int32)
    components[inside] = number[runs[inside]]
    return components


def two_nearest(
    components: Int32[np.ndarray, "h w"], *, reach: int
) -> tuple[Float64[np.ndarray, "h w"], Float64[np.ndarray, "h w"]]:
    """Returns Euclidean distances in pixels to the nearest and the second nearest component.

    Exact up to `reach` pixels; infinite where there is none within `reach` rows and columns.

    In the column where a pixel's second nearest component is met, it is one of the column's own
    two nearest: so two passes suffice, along columns and then along rows, each keeping two. A
    squared distance and a number are packed in one integer, whose minimum is the nearest.
    """
    first = np.where(components > 0, components.astype(np.int64), _NONE)
    first, second = _spread(first, np.full_like(first, _NONE), reach)
    first, second = _spread(
        np.ascontiguousarray(first.T), np.ascontiguousarray(second.T), reach
    )
    return _distance(first.T), _distance(second.T)


_BITS = 32
_MASK = (1 << _BITS) - 1
_NONE = 1 << 62
"""The key where there is no component: larger than any, even with a squared distance added."""


def _spread(
    first: Int64[np.ndarray, "h w"], second: Int64[np.ndarray, "h w"], reach: int
) -> tuple[Int64[np.ndarray, "h w"], Int64[np.ndarray, "h w"]]:
    """Returns the smallest key and that of another component over all rows, with distances."""
    h = len(first)
    first, second = (
        np.pad(keys, ((reach, reach), (0, 0)), constant_values=_NONE)
        for keys in (first, second)
    )
    offsets = [(slice(i, i + h), (i - reach) ** 2 << _BITS) for i in range(2 * reach + 1)]
    nearest, other, key = np.full((3, h, first.shape[1]), _NONE)
    for rows, squared in offsets:
        np.add(first[rows], squared, out=key)
        np.minimum(nearest, key, out=nearest)
    own, component = nearest & _MASK, first & _MASK
    for rows, squared in offsets:
        np.copyto(key, first[rows])
        np.copyto(key, second[rows], where=component[rows] == own)
        key += squared
        np.minimum(other, key, out=other)
    return nearest, other


def _distance(key: Int64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    return np.where(key < _NONE, np.sqrt(key >> _BITS), np.inf)
