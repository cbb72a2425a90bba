"""Micro-batches: the parts of a batch that a step takes one after another.

Micro-batch m of a has the examples m, m + a, m + 2a, … of the global batch. So its examples do
not depend on the number of devices, and each device holds an equal share of each.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from segjax.contracts import AXIS, Array, Batch

_PART: ContextVar[tuple[Any, int]] = ContextVar("part", default=(0, 1))
"""The micro-batch that is traced, and the number of them."""


def micro_batch(batch: Batch, part: Array, parts: int) -> Batch:
    """Returns a micro-batch of a device's share of the batch: `part`, from 0, of `parts`."""

    def cut(value: Array) -> Array:
        # The first axis stays first, and so stays spread over devices that share the batch.
        by_part = value.reshape(-1, parts, *value.shape[1:])
        return lax.dynamic_index_in_dim(by_part, part, axis=1, keepdims=False)

    return jax.tree.map(cut, batch)


@contextlib.contextmanager
def tracing_part(part: Array, parts: int) -> Iterator[None]:
    """Has `positions` return those of a micro-batch while its step is traced."""
    token = _PART.set((part, parts))
    try:
        yield
    finally:
        _PART.reset(token)


def positions(count: int) -> Array:
    """Returns the positions in the global batch of the `count` examples that a device holds.

    Random numbers are drawn by position, so they do not depend on devices or micro-batches. It
    works only under `parallel.sharing.over_devices`.
    """
    part, parts = _PART.get()
    first = lax.axis_index(AXIS) * count
    return (first + jnp.arange(count)) * parts + part
