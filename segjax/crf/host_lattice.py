"""The permutohedral lattice of `lattice`, built by NumPy: nothing is compiled for a size.

A key of d whole numbers is packed into one of 64 bits, in which a step to a neighbour is the
addition of a constant. Sorting the packed keys of all corners brings equal ones together; the
neighbours of a point are then found by bisection.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64, UInt8

from segjax.crf.simplex import elevation

_MOST_BITS = 62


class HostLattice(NamedTuple):
    """A lattice of m points around n features. Points are numbered from 1 on; 0 is no point.

    Attributes:
      vertex: the points at the v = d + 1 corners of each feature's simplex.
      weight: the feature's barycentric coordinates in its simplex.
      neighbor: the neighbours of points 0 … m, one step up and one down each of v axes; 0 where
        there is none.
      order: the corners r · n + i of feature i, ordered by their points.
      degree: the number of corners at each of points 0 … m.
    """

    vertex: Int32[np.ndarray, "v n"]
    weight: Float32[np.ndarray, "v n"]
    neighbor: Int32[np.ndarray, "v 2 m1"]
    order: Int64[np.ndarray, " e"]
    degree: Int64[np.ndarray, " m1"]


def host_features(
    image: UInt8[np.ndarray, "h w c"], widths: tuple[float, ...]
) -> Float32[np.ndarray, "d n"]:
    """Returns each pixel's position (x, y) and colour, divided by the d widths."""
    h, w, channels = image.shape
    y, x = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    values = np.concatenate([[x, y], np.moveaxis(image, -1, 0)]).astype(np.float32)
    return values.reshape(2 + channels, -1) / np.asarray(widths, np.float32)[:, None]


def build_host_lattice(features: Float32[np.ndarray, "d n"]) -> HostLattice | None:
    """Returns the lattice around `features`; None if its keys need more than 62 bits.

    Args:
      features: positions in units of the kernel's standard deviation, as in `build_lattice`.
    """
    d, n = features.shape
    corner, rank, weight = _simplex(features)
    least, most = corner.min(1).astype(np.int64), corner.max(1).astype(np.int64)
    # Room for all corners of the simplices and their neighbours.
    extent = [int(x) for x in most[:d] - least[:d] + 4 * (d + 1) + 1]
    bits = int(np.prod([float(x) for x in extent]) * 2).bit_length()
    if bits > _MOST_BITS:
        return None
    stride = np.array([int(np.prod(extent[i + 1 :], dtype=object)) for i in range(d)] + [0])
    key = _corner_keys(corner - least[:, None].astype(np.int32), rank, stride)
    order = _sorted(key := key.reshape(-1))
    ordered = key[order]
    first = np.empty(len(order), bool)
    first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    number = np.cumsum(first, dtype=np.int32)
    vertex = np.empty(len(order), np.int32)
    vertex[order] = number
    start = np.flatnonzero(first)
    degree = np.diff(start, prepend=0, append=len(order))
    degree[0] = 0
    steps = (d + 1) * stride - stride.sum()
    neighbor = _neighbors(ordered[start], steps)
    return HostLattice(vertex.reshape(d + 1, n), weight, neighbor, order, degree)


def sums_of_ones(lattice: HostLattice) -> Float[np.ndarray, " n"]:
    """Returns the filter of ones: splat, blur and slice, as in `lattice_filter`."""
    axes = len(lattice.vertex)
    ordered = lattice.weight.reshape(-1)[lattice.order]
    start = np.cumsum(lattice.degree[1:]) - lattice.degree[1:]
    values = np.concatenate([[np.float32(0)], np.add.reduceat(ordered, start)])
    for below, above in lattice.neighbor:
        values = values + np.float32(0.5) * (values[below] + values[above])
    found = np.zeros(lattice.vertex.shape[1], np.float32)
    for vertex, weight in zip(lattice.vertex, lattice.weight, strict=True):
        found += weight * values[vertex]
    return found / np.float32(1 + 2.0 ** (1 - axes))


def _simplex(
    features: Float32[np.ndarray, "d n"],
) -> tuple[Int32[np.ndarray, "v n"], Int32[np.ndarray, "v n"], Float32[np.ndarray, "v n"]]:
    """Returns the corner of remainder 0, the ranks of coordinates, and the weights.

    It computes what `simplex` does: see there.
    """
    d, n = features.shape
    elevated = _elevate(features)
    nearest = np.rint(elevated * np.float32(1 / (d + 1)))
    remainder, off = nearest * (d + 1), nearest.sum(0).astype(np.int32)
    residue = elevated - remainder
    rank = np.broadcast_to(off, residue.shape).copy()
    for j in range(d + 1):
        for i in range(j):
            later = residue[j] > residue[i]
            rank[i] += later
            rank[j] += ~later
    wrap = np.where(rank < 0, d + 1, 0) - np.where(rank > d, d + 1, 0)
    rank, corner = rank + wrap, remainder.astype(np.int32) + wrap
    distance = (elevated - corner.astype(np.float32)) * np.float32(1 / (d + 1))
    by_rank = np.empty_like(distance)
    np.put_along_axis(by_rank, rank, distance, axis=0)
    weight = by_rank[::-1] - np.roll(by_rank[::-1], 1, axis=0)
    weight[0] += 1
    return corner.astype(np.int32), rank.astype(np.int32), weight


def _elevate(features: Float32[np.ndarray, "d n"]) -> Float32[np.ndarray, "v n"]:
    """Returns `elevation(d) @ features`, coordinate i as Σ_{j>i} c_j − i c_i.

    A product of matrices would take both cores: its idle threads wait in a busy loop.
    """
    d, n = features.shape
    scaled = elevation(d)[0][:, None] * features
    elevated = np.empty((d + 1, n), np.float32)
    later = np.zeros(n, np.float32)
    for i in range(d, 0, -1):
        np.subtract(later, np.float32(i) * scaled[i - 1], out=elevated[i])
        later += scaled[i - 1]
    elevated[0] = later
    return elevated


def _corner_keys(
    corner: Int32[np.ndarray, "v n"], rank: Int32[np.ndarray, "v n"], stride: np.ndarray
) -> Int64[np.ndarray, "v n"]:
    """Returns the packed keys of all corners.

    From the corner of remainder r to the next, all coordinates grow by 1, and the one of rank
    d − r falls by d + 1.
    """
    d = len(stride) - 1
    by_rank = np.empty(corner.shape, np.int64)
    np.put_along_axis(by_rank, rank, np.broadcast_to(stride[:, None], corner.shape), axis=0)
    key = np.empty(corner.shape, np.int64)
    key[0] = stride @ (corner + 2 * (d + 1))
    for r in range(d):
        key[r + 1] = key[r] + stride.sum() - (d + 1) * by_rank[d - r]
    return key


def on_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Returns function(item) of each; NumPy computes on several cores in several threads."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def _sorted(key: Int64[np.ndarray, " e"]) -> Int64[np.ndarray, " e"]:
    """Returns the order of ascending keys; equal ones keep theirs.

    A stable sort merges runs, of which images have many: half the time of others. Two halves
    are sorted in two threads, then merged.
    """
    half = len(key) // 2
    first, second = on_threads(
        lambda part: part.start + np.argsort(key[part], kind="stable"),
        [slice(0, half), slice(half, len(key))],
    )
    order = np.concatenate([first, second])
    return order[np.argsort(key[order], kind="stable")]


def _neighbors(
    points: Int64[np.ndarray, " m"], steps: Int64[np.ndarray, " v"]
) -> Int32[np.ndarray, "v 2 m1"]:
    """Returns the neighbours of each of the points, whose keys are in ascending order."""
    neighbor = np.zeros((len(steps), 2, len(points) + 1), np.int32)

    def fill(axis: int) -> None:
        up, down = neighbor[axis]
        wanted = points + steps[axis]
        found = np.minimum(np.searchsorted(points, wanted), len(points) - 1)
        here = np.flatnonzero(points[found] == wanted)
        there = found[here]
        # If b is one step up from a, then a is one step down from b.
        up[here + 1], down[there + 1] = there + 1, here + 1

    on_threads(fill, range(len(steps)))
    return neighbor
