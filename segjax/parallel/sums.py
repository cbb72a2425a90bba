"""Sums over the processes of a cluster, exact although JAX computes in 32 bits."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

MOST_AXES = 6


def sum_over_processes(values: np.ndarray) -> np.ndarray:
    """Returns the sum over processes of NumPy arrays with equal shape and dtype, in that dtype.

    Integers are exact. Floats are added in the order of the processes, so all processes get the
    same bits.
    """
    if jax.process_count() == 1:
        return values
    return np.asarray(_gathered(values).sum(0, dtype=values.dtype))


def sum_where_there_are(values: np.ndarray | None) -> np.ndarray | None:
    """Returns the sum over the processes that have an array; None if no process has one.

    Integers of some processes and floats of others are added as floats.

    Raises:
      ValueError: the processes have arrays of different shapes, or with too many axes.
    """
    if jax.process_count() == 1:
        return values
    # All processes must gather equally many bytes, also those without an array.
    about = np.full(2 + MOST_AXES, -1)
    if values is not None:
        if values.ndim > MOST_AXES:
            raise ValueError(f"Sums of {values.ndim} axes; up to {MOST_AXES} are gathered.")
        about[:2] = values.dtype.kind == "f", values.ndim
        about[2 : 2 + values.ndim] = values.shape
    others = [each for each in _gathered(about) if each[1] >= 0]
    shapes = {tuple(each[2 : 2 + each[1]].tolist()) for each in others}
    if not shapes:
        return None
    if len(shapes) > 1:
        raise ValueError(f"The processes' sums differ in shape: {sorted(shapes)}.")
    dtype = np.float64 if any(each[0] for each in others) else np.int64
    mine = np.zeros(shapes.pop(), dtype) if values is None else values.astype(dtype)
    return sum_over_processes(mine)


def gather_by_index(values: Mapping[int, float], length: int) -> dict[int, float]:
    """Returns all processes' numbers, by index; together they hold each index exactly once."""
    if jax.process_count() == 1:
        return dict(values)
    mine = np.zeros(length)
    mine[list(values)] = list(values.values())
    return dict(enumerate(sum_over_processes(mine).tolist()))


def gather_bytes(mine: Callable[[], bytes]) -> list[bytes]:
    """Returns the bytes of each process, in their order; nothing where there is one alone."""
    if jax.process_count() == 1:
        return []
    data = np.frombuffer(mine(), np.uint8)
    lengths = _gathered(np.array([len(data)]))[:, 0].tolist()
    padded = np.zeros(max(lengths), np.uint8)
    padded[: len(data)] = data
    return [row[:n].tobytes() for row, n in zip(_gathered(padded), lengths, strict=True)]


def _gathered(values: np.ndarray) -> np.ndarray:
    """Returns the arrays of all processes along a new first axis, sent as unchanged bytes."""
    from jax.experimental import multihost_utils

    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    gathered = np.ascontiguousarray(multihost_utils.process_allgather(raw))
    return gathered.view(values.dtype).reshape(jax.process_count(), *values.shape)
