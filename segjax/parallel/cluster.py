"""The processes of a cluster and their devices: joining, counting, describing, waiting."""

import importlib.metadata
import os

import jax

from segjax.errors import InputError

_YNN = "--xla_cpu_experimental_ynn_fusion_type"


def tune_cpu() -> None:
    """Makes XLA's CPU backend use its older convolutions; call it before any device use.

    From jax 0.10 on a newer library, YNNPACK, computes products, convolutions and sums over
    axes. The sums are faster; convolutions are slower, by a tenth for those of a ResNet and up
    to four times for narrow gradients (two cores, AVX-512). A setting that `XLA_FLAGS` already
    has is kept. Untested minor versions of jax are not changed, because XLA ends a process
    whose flags it does not know.
    """
    given = os.environ.get("XLA_FLAGS", "")
    version = importlib.metadata.version("jaxlib")
    if _YNN not in given and version.startswith(("0.10.", "0.11.", "0.12.")):
        os.environ["XLA_FLAGS"] = f"{given} {_YNN}=LIBRARY_FUSION_TYPE_REDUCE".strip()


def initialize() -> None:
    """Joins the other processes of a cluster, if there is one; call it before any device use.

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
    """Returns the devices of the run in words: "4 cpu devices", "8 NVIDIA H100 on 2 hosts".

    Raises:
      InputError: the platform that `JAX_PLATFORMS` names is not available.
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
    """Returns whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Returns whether this process is the only one of the run."""
    return jax.process_count() == 1


def process_share() -> tuple[int, int]:
    """Returns this process's index and the number of processes."""
    return jax.process_index(), jax.process_count()


def local_device_count() -> int:
    """Returns the number of this process's devices."""
    return jax.local_device_count()


def device_count() -> int:
    """Returns the number of devices of all processes."""
    return jax.device_count()


def is_cpu() -> bool:
    """Returns whether the devices are CPUs, whose memory is the machine's."""
    return jax.local_devices()[0].platform == "cpu"


def device_bytes() -> int | None:
    """Returns the bytes that JAX may use of a device; None where the device does not tell."""
    statistics = jax.local_devices()[0].memory_stats()
    return (statistics or {}).get("bytes_limit")


def peak_device_bytes() -> int | None:
    """Returns the most bytes a device held so far; None where the device does not tell."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def wait_for_all(name: str) -> None:
    """Waits until every process has reached the point called `name`."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
