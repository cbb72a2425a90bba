"""Panoptic-DeepLab's inference: pixels of things join the nearest centre, classes are voted.

    heat-map   its local maxima are the centres        1 . . . 2     a pixel and its offset
    offset     each pixel points to a centre           ↖ ↖ . ↗ ↗     choose the nearest one
    classes    the most frequent one of an object's pixels is the object's

All shapes are static: there are `most` slots for objects, and one for each class of stuff.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from segjax.objects import PanopticMap, Segment

_TOGETHER = 8
"""Centres that are compared in one pass over the pixels, which reads and writes memory once."""


class Grouped(NamedTuple):
    """The segments of an image, before empty slots are dropped.

    Attributes:
      ids: h w, int32: 0 for none, 1 … m for objects by falling heat, m + 1 + c for stuff c.
      classes: m, int32: the class of each object.
      scores: m + k, float32: of each object its heat times the mean probability of its class in
        it, of each class of stuff its mean probability in it; 0 for empty slots.
    """

    ids: Array
    classes: Array
    scores: Array


def group(
    semantic: Float[Array, "h w k"],
    center: Float[Array, "h w 1"],
    offset: Float[Array, "h w 2"],
    *,
    things: Sequence[int],
    threshold: float,
    kernel: int,
    most: int,
    stuff_area: int,
) -> Grouped:
    """Returns the segments of one image from the maps of a network.

    A pixel whose most likely class is a thing belongs to the object of the nearest centre, or
    to none where there is no centre; of equally near ones to that with more heat. An object has
    the most frequent class of its pixels, the first of several. Pixels of the other classes are
    stuff. Memory does not grow with `most`: centres are compared one after another.

    Args:
      semantic: probabilities of the classes.
      center: the heat-map.
      offset: (down, right) from each pixel to the centre of its object, in pixels.
      things: class ids whose objects are counted.
      threshold: heat that a centre exceeds.
      kernel: odd side of the square in which a centre has the most heat.
      most: objects that are kept, those with the most heat; of equal ones the first.
      stuff_area: pixels that a class of stuff needs to be kept.

    Source: Panoptic-DeepLab (Cheng et al., 2020), section 3.3; the areas are the authors' code.
    """
    k = semantic.shape[-1]
    classes = jnp.argmax(semantic, -1)
    is_thing = jnp.asarray(np.isin(np.arange(k), list(things)))[classes]
    places, heat, count = centers(center[..., 0], threshold=threshold, kernel=kernel, most=most)
    slot = jnp.where(is_thing, _nearest(offset, places, count), 0)

    # Slot 0 is of pixels that are in no object.
    votes = jnp.zeros((most + 1, k), jnp.int32).at[slot, classes].add(1)
    winner = jnp.argmax(votes[1:], -1)
    area = votes.sum(-1)[1:]
    stuff = jnp.where(is_thing, 0, 1 + classes)
    stuff_pixels = jnp.zeros(k + 1, jnp.int32).at[stuff].add(1)[1:]
    kept = stuff_pixels >= max(stuff_area, 1)
    is_kept = ~is_thing & kept[classes]
    ids = jnp.where(is_kept, most + stuff, slot)

    own = jnp.concatenate([jnp.zeros(1, jnp.int32), winner, jnp.arange(k)])[ids]
    probability = jnp.take_along_axis(semantic, own[..., None], -1)[..., 0]
    sums = jnp.zeros(1 + most + k, semantic.dtype).at[ids].add(probability)[1:]
    means = sums / jnp.maximum(jnp.concatenate([area, stuff_pixels]), 1)
    factor = jnp.concatenate([jnp.where(area > 0, heat, 0), jnp.where(kept, 1.0, 0.0)])
    return Grouped(ids.astype(jnp.int32), winner.astype(jnp.int32), means * factor)


def centers(
    heat: Float[Array, "h w"], *, threshold: float, kernel: int, most: int
) -> tuple[Int[Array, "m 2"], Float[Array, "m"], Int[Array, ""]]:
    """Returns (row, column) and heat of the centres, by falling heat, and their number.

    A centre has the most heat of the `kernel` × `kernel` pixels around it, and more than the
    threshold. Slots beyond the number have heat 0.
    """
    height, width = heat.shape
    largest = lambda x, sides: lax.reduce_window(x, -jnp.inf, lax.max, sides, (1, 1), "SAME")
    around = largest(largest(heat, (kernel, 1)), (1, kernel))
    peaks = jnp.where((heat == around) & (heat > threshold), heat, -jnp.inf)
    best, place = lax.top_k(peaks.ravel(), min(most, height * width))
    best, place = (jnp.pad(x, (0, most - len(x))) for x in (best, place))
    is_center = jnp.isfinite(best) & (jnp.arange(most) < height * width)
    places = jnp.stack([place // width, place % width], -1)
    return places, jnp.where(is_center, best, 0.0), is_center.sum()


def _nearest(
    offset: Float[Array, "h w 2"], places: Int[Array, "m 2"], count: Int[Array, ""]
) -> Int[Array, "h w"]:
    """Returns 1 + the index of the centre nearest to where each pixel points; 0 without any."""
    height, width = offset.shape[:2]
    y = jnp.arange(height, dtype=offset.dtype)[:, None] + offset[..., 0]
    x = jnp.arange(width, dtype=offset.dtype)[None, :] + offset[..., 1]

    # Places beyond the centres are infinitely far, and never nearer than another.
    is_center = jnp.arange(len(places))[:, None] < count
    there = jnp.where(is_center, places.astype(offset.dtype), jnp.inf)
    there = jnp.pad(there, ((0, -len(places) % _TOGETHER), (0, 0)), constant_values=jnp.inf)

    def compared(block: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        """Returns the nearest of a block of centres and of all before it; ties: the first."""
        distance, slot = best
        for i in range(_TOGETHER):
            index = block * _TOGETHER + i
            row, column = there[index]
            here = (y - row) ** 2 + (x - column) ** 2
            slot = jnp.where(here < distance, index + 1, slot)
            distance = jnp.minimum(distance, here)
        return distance, slot

    start = jnp.full((height, width), jnp.inf, offset.dtype), jnp.zeros((height, width), int)
    return lax.fori_loop(0, -(-count // _TOGETHER), compared, start)[1]


def panoptic_map(grouped: Grouped, things: Sequence[int]) -> PanopticMap:
    """Returns the segments, numbered from 1: objects by falling heat, then stuff."""
    ids, classes, scores = (np.asarray(each) for each in grouped)
    present = np.unique(ids[ids > 0])
    number = np.zeros(len(scores) + 1, np.int32)
    number[present] = np.arange(1, len(present) + 1)
    most, segments = len(classes), []
    for place in present.tolist():
        class_id = int(classes[place - 1]) if place <= most else place - most - 1
        segments.append(
            Segment(
                int(number[place]),
                class_id,
                class_id in things,
                score=float(scores[place - 1]),
            )
        )
    return PanopticMap(number[ids], tuple(segments))
