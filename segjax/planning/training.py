"""The training step of a plan, compiled for other batches and settings."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np

from segjax.announce import announced
from segjax.contracts import AXIS
from segjax.errors import is_out_of_memory
from segjax.experiment import Experiment
from segjax.parallel.cluster import device_count, local_device_count, process_share
from segjax.parallel.data import replicated_shapes
from segjax.parallel.dry_run import dry_run, zeros
from segjax.parallel.sharing import over_devices
from segjax.parallel.spatial import devices_per_image
from segjax.planning.cost import Cost, cost_of
from segjax.train.flops import flops_of
from segjax.train.loop import train_step
from segjax.train.plan import Plan

STEP_BYTES = 4
"""Of the state's number of steps."""


@dataclasses.dataclass(frozen=True)
class TrainingStep:
    """The step of a checked experiment, and a batch whose examples show their shapes.

    `on_host` says that the devices' memory is the machine's: there, batches that are read ahead
    and the copy of a state that is being saved count too.
    """

    plan: Plan
    batch: Mapping[str, np.ndarray]
    on_host: bool = False

    @property
    def groups(self) -> int:
        """How many devices of this process, or groups that share an image, take examples."""
        return local_device_count() // devices_per_image(self.plan.experiment.split)

    @property
    def share(self) -> int:
        """Examples of a batch on a device, or on a group of devices that share images."""
        return len(self.batch["image"]) // self.groups

    @cached_property
    def state(self) -> dict[str, int]:
        """Bytes of each part of the whole state, without the step's number."""
        state = self.plan.state_shapes()
        parts = {
            "parameters": state.params,
            "norm statistics": state.batch_stats,
            "optimizer state": state.opt_state,
            "running mean (ema)": state.averaged,
        }
        return {name: tree_bytes(part) for name, part in parts.items()}

    @cached_property
    def take(self) -> Callable:
        """The step itself, `(state, batch) → (state, metrics)`; compiled once for each size."""
        experiment = self.plan.experiment
        return _over_devices(train_step(self.plan), experiment)

    def example_bytes(self) -> int:
        """Returns the bytes of one example as the loader hands it over."""
        return sum(value[:1].nbytes for value in self.batch.values())

    def cost(self, share: int | None = None, experiment: Experiment | None = None) -> Cost:
        """Returns the step's cost with `share` examples on each device, or group of devices.

        Args:
          share: None for that of the batch.
          experiment: one whose network has the same variables; None for the plan's own.

        Raises:
          RuntimeError: XLA cannot compile it.
        """
        share = self.share if share is None else share
        examples = "1 example" if share == 1 else f"{share} examples"
        where = "" if device_count() == 1 else " on each device"
        with announced(f"Compiling a training step of {examples}{where}"):
            return cost_of(self._traced(share, experiment or self.plan.experiment))

    def flops(self) -> float:
        """Returns the FLOPs of a step over all devices and processes, as telemetry counts them.

        Only matrix products and convolutions count; nothing is compiled.
        """
        processes = process_share()[1]
        shape = lambda like: (processes * like.shape[0], *like.shape[1:])
        whole = {
            key: jax.ShapeDtypeStruct(shape(value), value.dtype)
            for key, value in self.batch.items()
        }
        # Micro-batches do not change the FLOPs of the model.
        step = train_step(self.plan, accumulate=1)
        return flops_of(step, self.plan.state_shapes(), whole, axis=AXIS).total()

    def _traced(self, share: int, experiment: Experiment) -> jax.stages.Lowered:
        groups = local_device_count() // devices_per_image(experiment.split)
        own = experiment is self.plan.experiment
        plan = dataclasses.replace(self.plan, experiment=experiment)
        take = self.take if own else _over_devices(train_step(plan), experiment)
        shape = lambda value: (share * groups, *value.shape[1:])
        like = lambda value: jax.ShapeDtypeStruct(shape(value), value.dtype)
        batch = {key: zeros(like(value)) for key, value in self.batch.items()}
        with dry_run() as found:
            take(replicated_shapes(plan.state_shapes()), batch)
        return found[0]

    def peak(self, share: int | None = None, experiment: Experiment | None = None) -> float:
        """Returns the most bytes of a device while training; infinite if XLA finds no room.

        The next batch is there before a step is done.
        """
        try:
            cost = self.cost(share, experiment)
        except Exception as error:
            if is_out_of_memory(error):
                return float("inf")
            raise
        share = self.share if share is None else share
        return self.peak_of(cost, share, experiment)

    def peak_of(self, cost: Cost, share: int, experiment: Experiment | None = None) -> int:
        """Returns the peak of a step's cost, with the batch that waits for its turn."""
        split = (experiment or self.plan.experiment).split
        waiting = share * self.example_bytes() // devices_per_image(split)
        return cost.peak_bytes + waiting + self.beside_bytes(share)

    def held_bytes(self, cost: Cost) -> int:
        """Returns the bytes of the state on a device: all, or a share by `shard_state`."""
        whole = sum(self.state.values()) + STEP_BYTES
        if not self.plan.experiment.shard_state:
            return whole
        batch = self.share * self.example_bytes()
        share = cost.argument_bytes - batch // devices_per_image(self.plan.experiment.split)
        return min(share, whole)

    def beside_bytes(self, share: int) -> int:
        """Returns bytes of the machine's memory, for each device on it, beside its arrays."""
        if not self.on_host:
            return 0
        loader = self.plan.experiment.loader
        ahead = (loader.buffer + max(loader.threads, 1)) * max(loader.workers, 1)
        read = ahead * share * self.groups * self.example_bytes()
        return (read + sum(self.state.values())) // local_device_count()


def _over_devices(step: Callable, experiment: Experiment) -> Callable:
    return over_devices(step, split=experiment.split, shard_state=experiment.shard_state)


def tree_bytes(tree: Any) -> int:
    """Returns the bytes of arrays or shapes."""
    size = lambda leaf: int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
    return sum(map(size, jax.tree.leaves(tree)))
