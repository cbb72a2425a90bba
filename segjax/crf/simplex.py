r"""The simplex of the permutohedral lattice around a feature (Adams et al., 2010, section 3.1).

The lattice lives in the plane of R^(d+1) whose coordinates sum to 0. Its points have integer
coordinates that all leave the same remainder 0 … d when divided by d + 1, and every simplex has
one corner of each remainder. In the plane of d = 2:

      0 ––– 1 ––– 2 ––– 0
     / \   / \   / \   /        remainders; each triangle has a 0, a 1 and a 2
    1 ––– 2 ––– 0 ––– 1

A corner's key is its first d coordinates; the last one follows from them.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32


def simplex(
    features: Float[Array, "n d"],
) -> tuple[Int32[Array, "d v n"], Float[Array, "v n"]]:
    """Returns the keys of the v = d + 1 corners around each feature, and their weights.

    Args:
      features: positions in units of the kernel's standard deviation.

    Returns:
      The keys; corner r has remainder r. And the barycentric coordinates: they are at least 0
      up to rounding, sum to 1, and Σ_r weight_r · corner_r is the feature.
    """
    d = features.shape[1]
    order = jnp.arange(d + 1, dtype=jnp.int32)
    elevated = _elevate(features)
    nearest = jnp.round(elevated * (1 / (d + 1)))
    remainder, off = nearest * (d + 1), nearest.sum(0).astype(jnp.int32)
    residue = elevated - remainder
    # Sums over the axis of length v are written out: XLA then computes them many times faster.
    line = order[:, None]
    other = residue[:, None]
    below = lambda j: (residue < other[j]) | ((line > j) & (residue == other[j]))
    rank = sum((below(j).astype(jnp.int32) for j in range(d + 1)), off[None])
    # The rounded coordinates may sum to off · (d + 1): those with extreme ranks are corrected.
    wrap = jnp.where(rank < 0, d + 1, 0) - jnp.where(rank > d, d + 1, 0)
    rank, corner = rank + wrap, remainder.astype(jnp.int32) + wrap
    distance = (elevated - corner.astype(elevated.dtype)) * (1 / (d + 1))

    def corner_of(r: Int32[Array, ""]) -> tuple[Int32[Array, "d n"], Float[Array, " n"]]:
        """Returns the key of the corner of remainder r, and the weight in it."""
        key = corner[:d] + r - jnp.where(rank[:d] > d - r, d + 1, 0)
        with_rank = lambda q: sum(jnp.where(rank[i] == q, distance[i], 0) for i in range(d + 1))
        first = jnp.where(r == 0, 1, 0).astype(distance.dtype)
        return key, first + with_rank(d - r) - with_rank((d + 1 - r) % (d + 1))

    # A loop, so that XLA computes ranks once before it, not once for each corner.
    keys, weights = lax.map(corner_of, order)
    return keys.swapaxes(0, 1), weights


def elevation(d: int) -> Float[np.ndarray, "v d"]:
    """Returns the map into the plane, scaled so that the filter's standard deviation is 1.

    Splat, blur and slice have variance 2 (d + 1)² / 3 along each axis, hence the scale.
    """
    i, j = np.arange(d + 1)[:, None], np.arange(1, d + 1)[None, :]
    basis = np.where(i < j, 1, np.where(i == j, -j, 0)) / np.sqrt(j * (j + 1))
    return (math.sqrt(2 / 3) * (d + 1) * basis).astype(np.float32)


def _elevate(features: Float[Array, "n d"]) -> Float[Array, "v n"]:
    """Returns the features in the plane."""
    basis = jnp.asarray(elevation(features.shape[1]), features.dtype)
    return jnp.einsum("vd,nd->vn", basis, features, precision=lax.Precision.HIGHEST)
