"""What devices share: a batch; each image too, by `split`; the state too, by `shard_state`."""

from collections.abc import Callable
from typing import Any

import jax

from segjax.errors import InputError
from segjax.parallel.data import data_parallel, replicate, shard
from segjax.parallel.dry_run import execute
from segjax.parallel.spatial import devices_per_image, spatial_parallel, training_mesh
from segjax.parallel.state import spread, state_layout


def check_batch_size(
    batch_size: int, *, split: tuple[int, int] = (1, 1), accumulate: int = 1
) -> None:
    """Raises InputError unless every device gets equally many examples of each micro-batch.

    Groups of devices that share images count as one device.

    Raises:
      InputError: they do not divide the batch; the message names the nearest sizes that fit,
        and the nearest `accumulate` if there is one.
    """
    count = jax.device_count() // devices_per_image(split)
    if batch_size % (count * accumulate):
        what = "device" if split == (1, 1) else "group of devices that shares an image"
        if count > 1:
            what = "devices" if split == (1, 1) else "groups of devices that share an image"
        remedy = "or show JAX fewer devices."
        if accumulate > 1:
            what += f" times accumulate={accumulate}"
        if accumulate > 1 and batch_size % count == 0:
            remedy = f"or accumulate={nearest_parts(batch_size // count, accumulate)}."
        raise InputError(
            f"batch_size={batch_size} is not divisible by the {count} {what}; use "
            f"{nearest_multiples(batch_size, count * accumulate)}, {remedy}"
        )


def nearest_multiples(number: int, of: int) -> str:
    """Returns in words the multiples of a number next to another one.

    >>> nearest_multiples(10, 4), nearest_multiples(3, 4)
    ('8 or 12', '4')
    """
    below = number // of * of
    return f"{below} or {below + of}" if below else f"{of}"


def nearest_parts(number: int, wanted: int) -> str:
    """Returns in words the divisors of a number next to one that is none.

    >>> nearest_parts(12, 5), nearest_parts(4, 7)
    ('4 or 6', '4')
    """
    parts = [part for part in range(1, number + 1) if number % part == 0]
    below = max(part for part in parts if part < wanted)
    above = min((part for part in parts if part > wanted), default=None)
    return f"{below}" if above is None else f"{below} or {above}"


def over_devices(
    step: Callable, *, split: tuple[int, int] = (1, 1), shard_state: bool = False
) -> Callable:
    """Returns `step(state, batch) → (state, metrics)` on the batch that the loader returns.

    The devices share the batch; by `split`, groups of rows × columns devices share each image.
    By `shard_state` each device holds a part of the state only (`segjax.parallel.state`).

    Raises:
      InputError: the devices of a process cannot be grouped by `split`.
    """
    if split != (1, 1) or shard_state:
        return spatial_parallel(step, split, shard_state=shard_state)
    mapped = data_parallel(step)
    return lambda state, batch: execute(mapped, state, shard(batch))


def on_devices(
    state: Any, *, split: tuple[int, int] = (1, 1), shard_state: bool = False
) -> Any:
    """Returns a state from host memory, laid out as the step of `over_devices` returns it.

    Raises:
      InputError: the devices of a process cannot be grouped by `split`.
    """
    if split == (1, 1) and not shard_state:
        return replicate(state)
    return spread(state, state_layout(state, training_mesh(split), shard_state=shard_state))
