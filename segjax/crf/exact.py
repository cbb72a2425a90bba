"""The Gaussian filter as a sum over all pairs: the oracle of the fast filters."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def gaussian_filter(
    features: Float[Array, "n d"], values: Float[Array, "n k"]
) -> Float[Array, "n k"]:
    """Returns Σ_j exp(−|f_i − f_j|² / 2) v_j for every i, including j = i.

    It takes time O(n² (d + k)) and memory O(n²), so it is for a few thousand positions.

    Args:
      features: positions in units of the kernel's standard deviation.
      values: k numbers for each position.

    >>> gaussian_filter(jnp.array([[0.0], [1.0]]), jnp.array([[1.0], [0.0]])).round(4).tolist()
    [[1.0], [0.60649...]]
    """
    distance = sum((f[:, None] - f[None, :]) ** 2 for f in features.T)
    return jnp.matmul(jnp.exp(-0.5 * distance), values, precision=lax.Precision.HIGHEST)
