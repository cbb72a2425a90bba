"""The objects of two examples in one image: those that stay visible, each with a number.

A pixel shows the objects of the example that it comes from. An object that loses pixels gets
the smallest box around those that are left, and one without a pixel is dropped.

    example 1 1 1    partner 1 1 .    pasted    . x x    layers 1 2 .    the first object is 1
                                      where x   . . .           1 1 1    still, the other is 2
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.labels import example_name
from segjax.transforms.object_pixels import box_of, pixels_of

Layers = Shaped[np.ndarray, "h w ..."]


def mixed_objects(
    example: Example,
    partner: Example,
    mask: Bool[np.ndarray, "h w"],
    followers: Sequence[str],
) -> dict[str, Any]:
    """Returns the entries of the objects after a partner's pixels were pasted.

    Numbers of the example's objects stay; the partner's become the smallest that are free.

    Args:
      example, partner: of one size, with `boxes`, `instance_ids` and the layers `instances`.
      mask: where pixels are the partner's.
      followers: the other entries with one item a box.

    Returns:
      `boxes`, `instance_ids`, `instances` and the followers.

    Raises:
      InputError: `instances` cannot hold so many numbers, or the two have other dtypes.
    """
    numbers = _free_numbers(example, partner)
    ours, theirs = example["instances"], _renumbered(partner, numbers)
    layers = np.where(mask[..., None], *_as_deep(theirs, ours))
    boxes, kept = _boxes_left(example["boxes"], ours, layers, example["instance_ids"])
    more, also_kept = _boxes_left(partner["boxes"], theirs, layers, numbers)
    joined = lambda one, other: np.concatenate([one[kept], other[also_kept]])
    entries = {key: joined(example[key], partner[key]) for key in followers}
    is_flat = ours.ndim == partner["instances"].ndim == 2
    return entries | {
        "boxes": np.concatenate([boxes, more.astype(boxes.dtype)]),
        "instance_ids": joined(example["instance_ids"], numbers),
        "instances": layers[..., 0] if is_flat else layers,
    }


def chosen_objects(
    example: Example, chosen: Bool[np.ndarray, " n"], followers: Sequence[str]
) -> tuple[Example, Bool[np.ndarray, "h w"]]:
    """Returns the example that lists its chosen objects alone, and the mask of their pixels.

    The layers keep the pixels of the others, which `mixed_objects` leaves out.
    """
    listed = {key: example[key][chosen] for key in ("boxes", "instance_ids", *followers)}
    size = example["image"].shape[:2]
    layers = example["instances"].reshape(*size, -1)
    is_chosen = np.isin(layers, listed["instance_ids"])
    return {**example, **listed}, np.logical_or.reduce(is_chosen, axis=-1)


def _free_numbers(example: Example, partner: Example) -> Integer[np.ndarray, " n"]:
    """Returns a number for each of the partner's objects that the example does not have."""
    ours, count = example["instance_ids"], len(partner["instance_ids"])
    dtype, other = example["instances"].dtype, partner["instances"].dtype
    free = np.setdiff1d(np.arange(1, len(ours) + count + 1), ours)[:count]
    names = f"{example_name(example)} and {example_name(partner)}"
    if dtype != other:
        raise InputError(
            f"{names}: 'instances' is {dtype} and {other}: let the dataset return uint16 for "
            "both."
        )
    if count and free[-1] > np.iinfo(dtype).max:
        raise InputError(
            f"{names} have {len(ours) + count} objects together, more than {dtype} can number: "
            "crop images before they are mixed."
        )
    return free.astype(ours.dtype)


def _renumbered(partner: Example, numbers: Integer[np.ndarray, " n"]) -> Layers:
    """Returns a partner's layers with these numbers, and 0 for what it does not list."""
    layers, ids = partner["instances"], partner["instance_ids"]
    table = np.zeros(max(int(layers.max(initial=0)), int(ids.max(initial=0))) + 1, layers.dtype)
    table[ids] = numbers
    return table[layers]


def _as_deep(*all_layers: Layers) -> list[Shaped[np.ndarray, "h w l"]]:
    """Returns layers h w or h w l with as many layers as the deepest has."""
    deep = [layers.reshape(*layers.shape[:2], -1) for layers in all_layers]
    depth = max(layers.shape[-1] for layers in deep)
    missing = lambda layers: ((0, 0), (0, 0), (0, depth - layers.shape[-1]))
    return [np.pad(layers, missing(layers)) for layers in deep]


def _boxes_left(
    boxes: Shaped[np.ndarray, "n 4"],
    before: Layers,
    after: Layers,
    ids: Integer[np.ndarray, " n"],
) -> tuple[Shaped[np.ndarray, "m 4"], Bool[np.ndarray, " n"]]:
    """Returns the boxes of the objects that are left, and which of the n they are."""
    left = pixels_of(after, ids)
    kept = np.array([len(each) > 0 for each in left], bool)
    boxes = boxes.copy()
    for place, (had, has) in enumerate(zip(pixels_of(before, ids), left, strict=True)):
        if 0 < len(has) < len(had):
            boxes[place] = box_of(has, after.shape[1])
    return boxes[kept], kept
