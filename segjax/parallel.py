"""Runs a pure step on every device. The only file that counts devices or knows of `pmap`.

JAX keeps `pmap` as a thin layer over `jit(shard_map)` and in maintenance mode; should it go,
this file changes and no other.
"""

import importlib.metadata
import os
from collections.abc import Callable, Mapping

import jax
import numpy as np

from segjax.errors import InputError
from segjax.types import AXIS

_YNN = "--xla_cpu_experimental_ynn_fusion_type"


def tune_cpu() -> None:
    """Keeps XLA's CPU backend to its older convolutions; call before any device use.

    From jax 0.10 on a newer library, YNNPACK, takes over products and convolutions as well as
    sums over axes. The sums are faster for it; convolutions are slower, by a tenth for those of
    a ResNet and up to four times for narrow gradients (two cores, AVX-512). What `XLA_FLAGS`
    says of it already stays, and minor versions that were not tried are left alone: XLA ends
    a process whose flags it does not know.
    """
    given = os.environ.get("XLA_FLAGS", "")
    version = importlib.metadata.version("jaxlib")
    if _YNN not in given and version.startswith(("0.10.", "0.11.", "0.12.")):
        os.environ["XLA_FLAGS"] = f"{given} {_YNN}=LIBRARY_FUSION_TYPE_REDUCE".strip()


def initialize() -> None:
    """Joins the other processes of a cluster, where there is one; call before any device use.

    A cluster is a SLURM step (`srun`) or an Open MPI job of several tasks, a TPU pod, or the
    variables `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID` set by hand.

    Raises:
      InputError: the others cannot be joined.
    """
    env = os.environ
    sizes = [int(env.get(n, 1)) for n in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")]
    pod = "," in env.get("TPU_WORKER_HOSTNAMES", "")
    try:
        if "JAX_COORDINATOR_ADDRESS" in env and "JAX_NUM_PROCESSES" in env:
            jax.distributed.initialize(
                env["JAX_COORDINATOR_ADDRESS"],
                int(env["JAX_NUM_PROCESSES"]),
                int(env.get("JAX_PROCESS_ID", 0)),
            )
        elif max(sizes) > 1 or pod:
            jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"The processes of this cluster cannot be joined ({str(error).splitlines()[0]}): "
            "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID in each."
        ) from error


def describe_devices() -> str:
    """The devices of the run in words: "4 cpu devices", "8 NVIDIA H100 on 2 hosts".

    Raises:
      InputError: the platform that `JAX_PLATFORMS` asks for is not there.
    """
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # The latter where no plugin knows it.
        raise InputError(
            f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')} asks for a device that is "
            "not there; install that platform's jax (such as jax[cuda12]), or unset it."
        ) from error
    kind, count, hosts = devices[0].device_kind, len(devices), jax.process_count()
    where = f" on {hosts} hosts" if hosts > 1 else ""
    return f"{count} {kind} device{'s' if count > 1 else ''}{where}"


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def check_batch_size(batch_size: int) -> None:
    """Raises InputError unless the devices divide the global batch.

    Raises:
      InputError: names batch size, devices and the nearest sizes that fit.
    """
    count = jax.device_count()
    if batch_size % count:
        below, above = batch_size // count * count, (batch_size // count + 1) * count
        fits = f"{below} or {above}" if below else f"{above}"
        raise InputError(
            f"batch_size={batch_size} is not divisible by the {count} devices; use {fits}, "
            "or show JAX fewer devices."
        )


def data_parallel(step: Callable) -> Callable:
    """`step(state, batch) → (state, metrics)`, each device with its share of the batch.

    The state has no device axis: it is given once, donated, and returned once. Within `step`
    collectives run over `AXIS`. Batches come from `shard`.
    """
    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0)


def replicate(state):
    """The state on every device, laid out as `data_parallel` returns it.

    A first state in host memory would have `step` compiled twice: for it, and for its result.
    """
    identity = jax.pmap(
        lambda state, _: state, axis_name=AXIS, in_axes=(None, 0), out_axes=None
    )
    return identity(state, np.zeros(jax.local_device_count()))


def map_examples(function: Callable) -> Callable:
    """`function(variables, batch) → results by example`, on this process's devices alone.

    No collectives, so that processes may hold different numbers of batches. Takes and returns
    batches of any length: the last share is filled up with copies, which are cut off again.
    """
    devices = jax.local_devices()
    mapped = jax.pmap(function, in_axes=(None, 0), devices=devices)

    def run(variables, batch: np.ndarray):
        length = len(batch)
        fill = -length % len(devices)
        padded = np.concatenate([batch, np.repeat(batch[-1:], fill, axis=0)]) if fill else batch
        results = mapped(variables, padded.reshape(len(devices), -1, *batch.shape[1:]))
        return jax.tree.map(lambda r: np.asarray(r).reshape(-1, *r.shape[2:])[:length], results)

    return run


def shard(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The process's batch with a leading axis of its devices: b … → d b/d …."""
    count = jax.local_device_count()
    return {key: value.reshape(count, -1, *value.shape[1:]) for key, value in batch.items()}


def sum_over_processes(counts: np.ndarray) -> np.ndarray:
    """int64 counts added up over all processes; exact, although JAX itself has 32 bits only."""
    if jax.process_count() == 1:
        return counts
    from jax.experimental import multihost_utils

    halves = np.stack([counts >> 31, counts & (2**31 - 1)]).astype(np.int32)
    high, low = np.asarray(multihost_utils.process_allgather(halves), np.int64).sum(0)
    return (high << 31) + low


def gather_by_index(values: Mapping[int, float], length: int) -> dict[int, float]:
    """All processes' numbers by index; between them they hold each of `length` indices once."""
    if jax.process_count() == 1:
        return dict(values)
    from jax.experimental import multihost_utils

    mine = np.zeros(length, np.float32)
    mine[list(values)] = list(values.values())
    return dict(enumerate(np.asarray(multihost_utils.process_allgather(mine)).sum(0).tolist()))


def wait_for_all(name: str) -> None:
    """Returns when every process has come to the point called `name`."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
