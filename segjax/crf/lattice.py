"""The permutohedral lattice: Gaussian filtering of n scattered values in O(n d²).

Adams, Baek and Davis (2010), "Fast high-dimensional filtering using the permutohedral lattice":
every value is spread onto the corners of its simplex (splat), the lattice is blurred by
(½, 1, ½) along each of its d + 1 axes, and values are interpolated from the corners (slice):

    filter = slice · B_d ⋯ B_1 B_0 · splat,    slice = splatᵀ / (1 + 2^−d)

Only the corners of these simplices exist; the blur takes 0 for all other points. For this
reason, and because the blur is coarse, the filter approximates Σ_j exp(−|f_i − f_j|² / 2) v_j.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32

from segjax.crf.hash_table import LatticePoints, find_points, look_up, representatives
from segjax.crf.segment_sum import SegmentRows, arrange, row_sums, weighted_gather
from segjax.crf.simplex import simplex
from segjax.ops.dispatch import is_plain, on_cpu

Linear = Callable[[Array], Array]


class Placed(NamedTuple):
    """Features placed in their simplices, before the lattice's capacity is known.

    Attributes:
      keys: keys of the v = d + 1 corners of each simplex.
      weight: the features' barycentric coordinates in their simplices.
      points: the distinct points among the corners; `points.count` is the capacity they need.
    """

    keys: Int32[Array, "d v n"]
    weight: Float[Array, "v n"]
    points: LatticePoints


class Lattice(NamedTuple):
    """A lattice of at most m points around n features.

    Attributes:
      vertex: the points at the v = d + 1 corners of each feature's simplex; m where the lattice
        overflowed.
      weight: the feature's barycentric coordinates in its simplex.
      neighbor: each point's two neighbours along each of v axes; m where there is none.
      rows: the arrangement by which a CPU sums values; None elsewhere.
      count: the number of points.
      overflow: whether there are more than m points; then the filter returns NaN.
    """

    vertex: Int32[Array, "v n"]
    weight: Float[Array, "v n"]
    neighbor: Int32[Array, "v 2 m"]
    rows: SegmentRows | None
    count: Int32[Array, ""]
    overflow: Bool[Array, ""]


def build_lattice(features: Float[Array, "n d"], *, capacity: int | None = None) -> Lattice:
    """Returns the lattice around `features`.

    No gradient flows through it; `lattice_filter` returns the gradient by the features.

    Args:
      features: positions in units of the kernel's standard deviation, finite, and below 10⁵ in
        size: float32 places larger ones wrongly.
      capacity: the number of points the lattice can hold; the filter's time grows with it. The
        default, n (d + 1), always suffices. Photographs at DeepLab's widths have 0.2 n to 1.1 n
        points.

    Raises:
      ValueError: the capacity is below 1.
    """
    n, d = features.shape
    return connect(place(features), n * (d + 1) if capacity is None else capacity)


def place(features: Float[Array, "n d"]) -> Placed:
    """Returns the features placed in their simplices, which needs no capacity yet."""

    def placed(features: Float[Array, "n d"]) -> Placed:
        keys, weight = simplex(features)
        return Placed(keys, weight, find_points(keys.reshape(len(keys), -1)))

    return jax.custom_batching.sequential_vmap(placed)(lax.stop_gradient(features))


def connect(placed: Placed, capacity: int) -> Lattice:
    """Returns the lattice of placed features, with room for `capacity` points.

    Raises:
      ValueError: the capacity is below 1.
    """
    if capacity < 1:
        raise ValueError(f"A lattice needs room for at least 1 point, got capacity={capacity}.")
    with_rows = on_cpu() and not is_plain()
    connected = partial(_connected, min(capacity, placed.weight.size), with_rows)
    return jax.custom_batching.sequential_vmap(connected)(placed)


def _connected(capacity: int, with_rows: bool, placed: Placed) -> Lattice:
    """Returns the lattice; `with_rows` adds the arrangement by which a CPU sums."""
    keys, weight, points = placed
    vertex = jnp.minimum(points.point, capacity).reshape(weight.shape)
    neighbor = _neighbors(points, keys.reshape(len(keys), -1), capacity)
    rows = arrange(vertex, weight, capacity) if with_rows else None
    overflow = (points.count > capacity) | ~points.complete
    return Lattice(vertex, weight, neighbor, rows, points.count, overflow)


def _neighbors(
    points: LatticePoints, keys: Int32[Array, "d e"], capacity: int
) -> Int32[Array, "v 2 m"]:
    """Returns the neighbours of each point: one step up and one step down along each axis."""
    d, entries = keys.shape
    corner = representatives(points, capacity)
    exists = corner < entries
    key = keys[:, jnp.minimum(corner, entries - 1)]
    here = jnp.arange(capacity, dtype=jnp.int32)
    nobody = jnp.full(capacity, capacity, jnp.int32)

    def along(step: Int32[Array, " d"]) -> Int32[Array, "2 m"]:
        found = look_up(points, keys, key + step[:, None])
        number = points.point[jnp.minimum(found, entries - 1)]
        up = jnp.where(exists & (found < entries) & (number < capacity), number, capacity)
        # If b is one step up from a, then a is one step down from b.
        return jnp.stack([up, nobody.at[up].set(here, mode="drop")])

    # A step along axis a adds d to coordinate a and takes 1 from all others.
    return lax.map(along, (d + 1) * jnp.eye(d + 1, d, dtype=jnp.int32) - 1)


def lattice_filter(
    lattice: Lattice, features: Float[Array, "n d"], values: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    """Returns an approximation of Σ_j exp(−|f_i − f_j|² / 2) v_j for every i, j = i included.

    The filter is linear in the values, and its gradient by them is exact: the same filter with
    the blurs in reverse order. The filter is only piecewise smooth in the features: it jumps
    where a feature changes its simplex. So the gradient by the features is that of the sum that
    the filter approximates, computed by the filter as in Krähenbühl and Koltun (2013), section
    4. With a the gradient by the result, b the values, and K the filter, it is

        a_i (K(f b) − f K b)_i + b_i (Kᵀ(f a) − f Kᵀ a)_i        for each dimension of f.

    This gradient is as inexact as the filter, and useful as a direction: for the widths, on an
    image of 24 × 20 pixels, its angle to the gradient of the sum is 15°. It costs 2 (d + 1)
    filters, only if a gradient by the features is requested.

    Args:
      lattice: `build_lattice(features)`.
      features: the same features.
      values: k numbers for each feature.
    """
    return _filter(False, lattice, features, values)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _filter(
    transposed: bool,
    lattice: Lattice,
    features: Float[Array, "n d"],
    values: Float[Array, "n k"],
) -> Float[Array, "n k"]:
    """Returns the values filtered, by the transpose if asked; features serve gradients only."""
    run = jax.custom_batching.sequential_vmap(partial(_splat_blur_slice, transposed))
    return run(lattice, values)


def _forward(transposed, lattice, features, values):
    """Returns the filtered values and those saved for `_backward`; features only if needed."""
    asked = features.perturbed
    lattice = jax.tree.map(lambda leaf: leaf.value, lattice)
    result = _filter(transposed, lattice, features.value, values.value)
    return result, (lattice, *((features.value, values.value) if asked else (None, None)))


def _backward(transposed, saved, cotangent):
    """Returns the gradients by features and values; none by the lattice."""
    lattice, features, values = saved
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        cotangent = jnp.zeros(cotangent.shape)
    if features is None:
        nowhere = jnp.zeros((lattice.vertex.shape[1], lattice.vertex.shape[0] - 1))
        return None, None, _filter(not transposed, lattice, nowhere, cotangent)
    forth: Linear = lambda x: _filter(transposed, lattice, features, x)
    back: Linear = lambda x: _filter(not transposed, lattice, features, x)
    filtered, by_values = forth(values), back(cotangent)

    def by_dimension(f: Float[Array, " n"]) -> Float[Array, " n"]:
        # Differences of large numbers lose digits: subtract the mean to make features small.
        f = (f - f.mean())[:, None]
        ahead = cotangent * (forth(f * values) - f * filtered)
        behind = values * (back(f * cotangent) - f * by_values)
        return (ahead + behind).sum(1)

    return None, lax.map(by_dimension, features.T).T, by_values


_filter.defvjp(_forward, _backward, symbolic_zeros=True)


def _splat_blur_slice(
    transposed: bool, lattice: Lattice, values: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    """Returns the result of splat, blur and slice; transposed, blurs run in reverse order."""
    axes, _, m = lattice.neighbor.shape
    if lattice.rows is None:
        splat = jnp.zeros((m, values.shape[1]), values.dtype)
        for vertex, weight in zip(lattice.vertex, lattice.weight, strict=True):
            splat = splat.at[vertex].add(weight[:, None] * values, mode="drop")
    else:
        splat = row_sums(lattice.rows, values)
    # Missing neighbours read the row of zeros after all points.
    splat = jnp.pad(splat, ((0, 1), (0, 0)))

    def blur(values: Array, neighbor: Int32[Array, "2 m"]) -> tuple[Array, None]:
        below, above = (
            values.at[jnp.append(index, m)].get(mode="promise_in_bounds") for index in neighbor
        )
        return values + 0.5 * (below + above), None

    blurred, _ = lax.scan(blur, splat, lattice.neighbor, reverse=transposed)
    weight = lattice.weight / (1 + 2.0 ** (1 - axes))
    weight = jnp.where(lattice.overflow, jnp.nan, weight)
    return weighted_gather(blurred, lattice.vertex, weight)
