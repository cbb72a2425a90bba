"""Sums over the processes of a cluster, exact although JAX itself computes in 32 bits."""

from collections.abc import Mapping

import jax
import numpy as np


def sum_over_processes(values: np.ndarray) -> np.ndarray:
    """NumPy arrays of one shape and dtype, one a process, added up in that dtype.

    Integers are exact. Floats are added in the order of the processes: the same bits on all.
    """
    if jax.process_count() == 1:
        return values
    return np.asarray(_gathered(values).sum(0, dtype=values.dtype))


def gather_by_index(values: Mapping[int, float], length: int) -> dict[int, float]:
    """All processes' numbers by index; between them they hold each of `length` indices once."""
    if jax.process_count() == 1:
        return dict(values)
    mine = np.zeros(length)
    mine[list(values)] = list(values.values())
    return dict(enumerate(sum_over_processes(mine).tolist()))


def _gathered(values: np.ndarray) -> np.ndarray:
    """The arrays of all processes along a new first axis; as bytes, which JAX leaves alone."""
    from jax.experimental import multihost_utils

    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    gathered = np.ascontiguousarray(multihost_utils.process_allgather(raw))
    return gathered.view(values.dtype).reshape(-1, *values.shape)
