"""A trained network as a file that runs without segjax: StableHLO with its weights inside."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from segjax.contracts import Array, Variables
from segjax.export.fold import fold_norms, folded_norms
from segjax.ops.dispatch import plain

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""What JAX can lower to, wherever it runs."""

SMALLEST = 32
"""Pixels that a side has at least where any size is taken: so bounds of maps can be proved."""

REFUSALS = (TypeError, ValueError, ZeroDivisionError, jax.errors.InconclusiveDimensionOperation)
"""What tracing raises where a network cannot take a shape, or JAX not decide whether it can."""


def frozen(
    run: Callable[[Variables, Array], Any],
    variables: Variables,
    *,
    size: tuple[int, int] | None,
    channels: int,
    fold: bool,
) -> Callable[[Array], Any]:
    """Returns images b h w c → the outputs of `run`, with the variables as constants.

    It is traced in its plain form, for any platform. `fold` makes batch normalisation part of
    the convolutions (`segjax.export.fold`). One image of
    `size`, or of `SMALLEST` squared where that is None, is traced at once: what the network
    raises then, of `REFUSALS`, is its own word on that size.
    """
    image = image_of(size, channels)
    if fold:
        variables = fold_norms(run, variables, image)
    variables = jax.tree.map(jnp.asarray, variables)

    def answer(image: Array) -> Any:
        with plain(), folded_norms() if fold else contextlib.nullcontext():
            return run(variables, image)

    jax.eval_shape(answer, image)
    return answer


def image_of(size: tuple[int, int] | None, channels: int) -> jax.ShapeDtypeStruct:
    """Returns one image of `size`, or of `SMALLEST` squared where any size is taken."""
    return jax.ShapeDtypeStruct((1, *(size or (SMALLEST, SMALLEST)), channels), jnp.uint8)


def stablehlo(
    answer: Callable[[Array], Any],
    *,
    size: tuple[int, int] | None,
    channels: int,
    platforms: Sequence[str],
) -> export.Exported:
    """Returns `answer` of uint8 images, lowered; `.serialize()` is what a file holds.

    The batch has any length. `size` None: any height and width of `SMALLEST` at least.

    Raises:
      ValueError: the network refuses that size; or it needs numbers where any size is asked
        for, or for the batch. One line says which.
    """
    sides = ("h", "w") if size is None else (str(size[0]), str(size[1]))
    least = [f"{side} >= {SMALLEST}" for side in sides] if size is None else []
    shape = export.symbolic_shape(", ".join(("b", *sides, str(channels))), constraints=least)
    image = jax.ShapeDtypeStruct(shape, jnp.uint8)
    try:
        return export.export(jax.jit(answer), platforms=tuple(platforms))(image)
    except REFUSALS as error:
        what = "size" if size is None else "batch"
        raise ValueError(
            f"this network cannot be traced for any {what} ({reason(error)})"
        ) from error


def reason(error: Exception) -> str:
    """Returns the first line of what an error says; where it says nothing, its name."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def parameters(variables: Any) -> int:
    """Returns how many numbers there are in all of a network's variables."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
