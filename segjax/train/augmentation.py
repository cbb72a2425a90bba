"""Augmentation on the devices as a part of the training step, and as the plan tries it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from segjax.contracts import Array, Batch, DeviceTransform, Objective
from segjax.parallel.micro_batches import positions
from segjax.transforms.on_device import augment


def augmented(objective: Objective, transforms: Sequence[DeviceTransform]) -> Objective:
    """Returns the objective of batches that the transforms have changed; itself without any."""
    if not transforms:
        return objective

    def forward(variables, batch: Batch, key: Array):
        """Returns the objective of this device's share of the batch, augmented."""
        places = positions(len(batch["image"]))
        return objective(variables, augment(batch, transforms, key, places=places), key)

    return forward


def augmented_batch(
    batch: Mapping[str, np.ndarray], transforms: Sequence[DeviceTransform], *, seed: int
) -> dict[str, Any]:
    """Returns a batch of the loader as a network in training sees it, up to normalisation.

    Raises:
      InputError: a transform does not take the examples.
    """
    if not transforms:
        return dict(batch)
    key = jax.random.fold_in(jax.random.key(seed), int(batch["step"][0]))
    one_program = jax.jit(lambda batch: augment(batch, transforms, key))
    return jax.device_get(one_program(dict(batch)))
