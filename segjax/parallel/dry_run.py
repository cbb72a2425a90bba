"""Dry runs: programs over devices are traced, and not executed."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np

from segjax.parallel.kept_memory import at_hand

_FOUND: ContextVar[list[jax.stages.Lowered] | None] = ContextVar("lowered", default=None)


@contextlib.contextmanager
def dry_run() -> Iterator[list[jax.stages.Lowered]]:
    """Yields the programs that the block would execute on devices, in order.

    They are traced for the shapes of their arguments, and can be compiled afterwards. Nothing
    is computed or transferred: results are zeros, which take no memory. Arguments may be
    `jax.ShapeDtypeStruct`s.
    """
    found: list[jax.stages.Lowered] = []
    token = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(token)


def execute(program: Any, *arguments: Any) -> Any:
    """Returns `program(*arguments)`; in a dry run zeros of the shapes of its results."""
    found = _FOUND.get()
    if found is None:
        return program(*at_hand(arguments))
    found.append(lowered := program.lower(*arguments))
    return jax.tree.map(zeros, lowered.out_info)


def follow(function: Callable, results: Any) -> Any:
    """Returns `function(results)`; in a dry run zeros of its shape, without compiling it."""
    if _FOUND.get() is None:
        return function(results)
    return jax.tree.map(zeros, jax.eval_shape(function, results))


def place(sharding: jax.sharding.Sharding, put: Callable, tree: Any, *, shares: int = 1) -> Any:
    """Returns `put(tree)`, arrays of `sharding`; in a dry run their shapes, without data.

    `shares` is the number of processes whose arrays together are the whole.
    """
    if _FOUND.get() is None:
        return put(tree)
    total = lambda leaf: (leaf.shape[0] * shares, *leaf.shape[1:]) if shares > 1 else leaf.shape
    shape = lambda leaf: jax.ShapeDtypeStruct(total(leaf), leaf.dtype, sharding=sharding)
    return jax.tree.map(shape, tree)


def zeros(like: Any) -> np.ndarray:
    """Returns zeros of a shape and dtype in constant memory; they cannot be written to."""
    return np.broadcast_to(np.zeros((), like.dtype), like.shape)
