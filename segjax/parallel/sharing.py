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
      InputError: they do not divide the batch; the message names the nearest sizes that fit.
    """
    count = jax.device_count() // devices_per_image(split)
    at_once = count * accumulate
    if batch_size % at_once:
        below = batch_size // at_once * at_once
        fits = f"{below} or {below + at_once}" if below else f"{at_once}"
        what = "device" if split == (1, 1) else "group of devices that shares an image"
        if count > 1:
            what = "devices" if split == (1, 1) else "groups of devices that share an image"
        remedy = "or show JAX fewer devices."
        if accumulate > 1:
            what += f" times accumulate={accumulate}"
            remedy = "or a smaller accumulate."
        raise InputError(
            f"batch_size={batch_size} is not divisible by the {count} {what}; use {fits}, "
            f"{remedy}"
        )


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
