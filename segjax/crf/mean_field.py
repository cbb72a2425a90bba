"""Mean-field inference in the fully connected CRF (Krähenbühl and Koltun, 2011, algorithm 1).

    E(x) = Σ_i u_i(x_i) + Σ_{i<j} Σ_m μ_m(x_i, x_j) k_m(f_i, f_j)

Every round filters the marginals Q with each kernel, lets the labels' compatibility turn what
arrives into an energy, adds the unary energy, and normalises:

    Q ← softmax(−u − Σ_m (K_m Q) μ_m)

A pixel's message to itself, which the sum leaves out, is kept, as in the authors' code.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Filter = Callable[[Array], Array]
"""Values n k -> values n k, linear."""

Normalization = Literal["symmetric", "before", "after", "none"]
NORMALIZATIONS = ("symmetric", "before", "after", "none")

_TINY = 1e-20
"""Keeps the division by a sum of 0 finite; every sum contains its own term."""


class Pairwise(NamedTuple):
    """A kernel and its labels' compatibility.

    Attributes:
      filter: the kernel, normalised.
      compatibility: the energy of labels k and l at two like pixels, symmetric, k × k; or k
        numbers, its diagonal; or one number w: Potts, energy w where labels differ.
    """

    filter: Filter
    compatibility: Float[Array, "k k"] | Float[Array, " k"] | Float[Array, ""] | float


def mean_field(
    unary: Float[Array, "n k"], pairwise: Sequence[Pairwise], *, iterations: int
) -> Float[Array, "n k"]:
    """Returns the marginals after some rounds; softmax(−unary) after none.

    Args:
      unary: energy of each label at each pixel.
      pairwise: kernels with their compatibilities.
      iterations: rounds; differentiable through all of them.
    """
    return jax.nn.softmax(-mean_energy(unary, pairwise, iterations=iterations))


def mean_energy(
    unary: Float[Array, "n k"], pairwise: Sequence[Pairwise], *, iterations: int
) -> Float[Array, "n k"]:
    """Returns the energy whose softmax(−energy) is `mean_field`."""

    def energy(messages: tuple[Array, ...]) -> Float[Array, "n k"]:
        terms = zip(messages, pairwise, strict=True)
        return sum((_energy(message, term.compatibility) for message, term in terms), unary)

    def round_(messages: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        marginals = jax.nn.softmax(-energy(messages))
        return tuple(term.filter(marginals) for term in pairwise), None

    # Messages are carried, not marginals: XLA on a CPU works anything else out again for each
    # of the softmax's passes over it.
    silence = tuple(jnp.zeros_like(unary) for _ in pairwise)
    return energy(lax.scan(round_, silence, length=iterations)[0])


def _energy(messages: Float[Array, "n k"], compatibility: Array | float) -> Float[Array, "n k"]:
    """Returns the labels' energies where these messages arrive."""
    compatibility = jnp.asarray(compatibility)
    match compatibility.ndim:
        # Potts' w (1 − [k = l]) gives w Σ_l m_l − w m_k, and the softmax does not see the sum.
        case 0:
            return -compatibility * messages
        case 1:
            return compatibility[None] * messages
    return jnp.matmul(messages, compatibility, precision=lax.Precision.HIGHEST)


def normalized(kernel: Filter, count: int, normalization: Normalization) -> Filter:
    """Returns the filter K of `count` pixels with its sums s = K 1 divided out.

        symmetric    s^−½ K s^−½        before    K s⁻¹        after    s⁻¹ K
        none         K

    Raises:
      ValueError: there is no such normalisation.
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
    raise ValueError(f"normalization {normalization!r} is none of {', '.join(NORMALIZATIONS)}.")
