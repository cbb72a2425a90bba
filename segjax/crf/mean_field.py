"""Mean-field inference in the fully connected CRF (Krähenbühl and Koltun, 2011, algorithm 1).

    E(x) = Σ_i u_i(x_i) + Σ_{i<j} Σ_m μ_m(x_i, x_j) k_m(f_i, f_j)

Every iteration filters the marginals Q with each kernel, turns the filtered marginals into an
energy by the labels' compatibility, adds the unary energy, and normalises:

    Q ← softmax(−u − Σ_m (K_m Q) μ_m)

The sum in E leaves out a pixel's message to itself; as in the authors' code, it is kept here.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Filter = Callable[[Array], Array]
"""A linear function of values, n k -> n k."""

Normalization = Literal["symmetric", "before", "after", "none"]
NORMALIZATIONS = ("symmetric", "before", "after", "none")

_TINY = 1e-20
"""Keeps a division by 0 finite, although every sum contains its own positive term."""


class Pairwise(NamedTuple):
    """A kernel and the compatibility of labels.

    Attributes:
      filter: the normalised kernel.
      compatibility: the energy of labels k and l at two similar pixels, a symmetric k × k
        matrix; or k numbers, its diagonal; or one number w: Potts, energy w where labels
        differ.
    """

    filter: Filter
    compatibility: Float[Array, "k k"] | Float[Array, " k"] | Float[Array, ""] | float


def mean_field(
    unary: Float[Array, "n k"], pairwise: Sequence[Pairwise], *, iterations: int
) -> Float[Array, "n k"]:
    """Returns the marginals after `iterations`; softmax(−unary) for 0.

    Args:
      unary: energy of each label at each pixel.
      pairwise: kernels with their compatibilities.
      iterations: number of iterations; gradients flow through all of them.
    """
    return jax.nn.softmax(-mean_energy(unary, pairwise, iterations=iterations))


def mean_energy(
    unary: Float[Array, "n k"], pairwise: Sequence[Pairwise], *, iterations: int
) -> Float[Array, "n k"]:
    """Returns the energy whose softmax(−energy) is `mean_field`."""

    def energy(messages: tuple[Array, ...]) -> Float[Array, "n k"]:
        terms = zip(messages, pairwise, strict=True)
        return sum(
            (message_energy(message, term.compatibility) for message, term in terms), unary
        )

    def round_(messages: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        marginals = jax.nn.softmax(-energy(messages))
        return tuple(term.filter(marginals) for term in pairwise), None

    # The loop carries messages, not marginals: XLA on a CPU would recompute anything else in
    # each pass of the softmax.
    silence = tuple(jnp.zeros_like(unary) for _ in pairwise)
    return energy(lax.scan(round_, silence, length=iterations)[0])


def message_energy(
    messages: Float[Array, "n k"], compatibility: Array | float
) -> Float[Array, "n k"]:
    """Returns the energies that the messages give each label."""
    compatibility = jnp.asarray(compatibility)
    match compatibility.ndim:
        # Potts' w (1 − [k = l]) gives w Σ_l m_l − w m_k; the softmax cancels the sum.
        case 0:
            return -compatibility * messages
        case 1:
            return compatibility[None] * messages
    return jnp.matmul(messages, compatibility, precision=lax.Precision.HIGHEST)


def normalized(kernel: Filter, count: int, normalization: Normalization) -> Filter:
    """Returns the filter K of `count` pixels, normalised by its sums s = K 1.

        symmetric    s^−½ K s^−½        before    K s⁻¹        after    s⁻¹ K
        none         K

    Raises:
      ValueError: the normalisation is unknown.
    """
    sums = kernel(jnp.ones((count, 1)))
    match normalization:
        case "symmetric":
            scale = lax.rsqrt(sums + _TINY)
            return lambda values: scale * kernel(scale * values)
        case "before":
            return lambda values: kernel(values / (sums + _TINY))
        case "after":
            return lambda values: kernel(values) / (sums + _TINY)
        case "none":
            return kernel
    known = ", ".join(NORMALIZATIONS)
    raise ValueError(f"normalization must be one of {known}, got {normalization!r}.")
