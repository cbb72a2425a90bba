"""Whether the devices share a batch or each image too, as `split` asks."""

from collections.abc import Callable

import jax

from segjax.errors import InputError
from segjax.parallel.data import data_parallel, shard
from segjax.parallel.spatial import devices_per_image, spatial_parallel


def check_batch_size(batch_size: int, *, split: tuple[int, int] = (1, 1)) -> None:
    """Raises InputError unless the devices, or their groups that share images, divide a batch.

    Raises:
      InputError: names batch size, devices and the nearest sizes that fit; or `split`.
    """
    count = jax.device_count() // devices_per_image(split)
    if batch_size % count:
        below, above = batch_size // count * count, (batch_size // count + 1) * count
        fits = f"{below} or {above}" if below else f"{above}"
        what = "devices" if split == (1, 1) else "groups of devices that share an image"
        raise InputError(
            f"batch_size={batch_size} is not divisible by the {count} {what}; use {fits}, "
            "or show JAX fewer devices."
        )


def over_devices(step: Callable, *, split: tuple[int, int] = (1, 1)) -> Callable:
    """`step(state, batch) → (state, metrics)` on the process's batch as the loader gives it.

    The devices share the batch, and in groups of rows × columns each image where `split` asks.

    Raises:
      InputError: the devices of a process cannot be grouped so.
    """
    if split != (1, 1):
        return spatial_parallel(step, split)
    mapped = data_parallel(step)
    return lambda state, batch: mapped(state, shard(batch))
