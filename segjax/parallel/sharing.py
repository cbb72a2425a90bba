"""The choice by `split` whether devices share a batch only, or each image too."""

from collections.abc import Callable

import jax

from segjax.errors import InputError
from segjax.parallel.data import data_parallel, shard
from segjax.parallel.dry_run import execute
from segjax.parallel.spatial import devices_per_image, spatial_parallel


def check_batch_size(batch_size: int, *, split: tuple[int, int] = (1, 1)) -> None:
    """Raises InputError unless devices, or groups that share images, divide a batch evenly."""
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
    """Returns `step(state, batch) → (state, metrics)` on the batch that the loader returns.

    The devices share the batch; by `split`, groups of rows × columns devices share each image.

    Raises:
      InputError: the devices of a process cannot be grouped by `split`.
    """
    if split != (1, 1):
        return spatial_parallel(step, split)
    mapped = data_parallel(step)
    return lambda state, batch: execute(mapped, state, shard(batch))
