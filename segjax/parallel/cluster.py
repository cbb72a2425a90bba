"""The processes of a cluster and their devices: joining, counting, describing, waiting."""

import contextlib
import importlib.metadata
import importlib.util
import math
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax._src import distributed

from segjax.errors import InputError, TryAgain
from segjax.parallel.kept_memory import keep_memory
from segjax.parallel.peers import HEARTBEAT, LOST, Peers, lost_is_heard
from segjax.parallel.rendezvous import host_and_port, meet, start_timeout
from segjax.stopping import TRY_AGAIN, Cause, Stops, listening

_YNN = "--xla_cpu_experimental_ynn_fusion_type"
_PASSES = "--xla_disable_hlo_passes"
_SCHEDULER = "xla_cpu_scheduler_type"


def tune_cpu(*, keeps_memory: bool = True) -> None:
    """Sets XLA's CPU backend up as it is fastest here, and has programs reuse their memory.

    Call it before any device use. For the memory see `segjax.parallel.kept_memory.keep_memory`;
    `keeps_memory` is for processes whose programs are called by their first thread.

    From jax 0.10 on a newer library, YNNPACK, computes products, convolutions and sums over
    axes. The sums are faster; convolutions are slower, by a tenth for those of a ResNet and up
    to four times for narrow gradients (two cores, AVX-512). So it computes the sums alone.

    jax 0.10 removes optimization barriers before it fuses operations; jax 0.12 does so later.
    With 0.10 they are kept, so that maps which many operations read are computed once
    (`segjax.ops.materialize`), and `remat` does compute again what it should not store. Loops
    that XLA would compile as one operation cannot have barriers, so there are none of those. It
    is done only where JAX can use nothing but CPUs: with a plugin for other devices installed,
    set `JAX_PLATFORMS=cpu`.

    A setting that `XLA_FLAGS` already has is kept, in place of the one here. Untested minor
    versions of jax are not changed, because XLA ends a process whose flags it does not know.
    """
    if _is_tried():
        given = os.environ.get("XLA_FLAGS", "")
        wanted = {_YNN: "LIBRARY_FUSION_TYPE_REDUCE"}
        if _version().startswith("0.10.") and _has_only_cpus():
            wanted[_PASSES] = "cse_barrier_expander,small-while-loop-hoisting"
        flags = [f"{name}={value}" for name, value in wanted.items() if name not in given]
        os.environ["XLA_FLAGS"] = " ".join([given, *flags]).strip()
    if keeps_memory:
        keep_memory()


def in_least_memory() -> dict[str, str]:
    """Returns options of XLA's compiler, for `jax.jit`, for programs that only go forward.

    By default its CPU backend orders operations such that many of them can run at once. In the
    order that takes the least memory DeepLab v3's inference takes half the temporary memory,
    and 3 % less time; training steps would take up to 4 % more (`benchmarks/results.md`).
    An order that `XLA_FLAGS` names is kept.

    Call it after `tune_cpu` and `initialize`: it asks for the devices. JAX takes such options
    only for a program that is not called inside another `jax.jit`.
    """
    is_named = _SCHEDULER in os.environ.get("XLA_FLAGS", "")
    if not is_cpu() or is_named or not _is_tried():
        return {}
    return {_SCHEDULER: "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def _has_only_cpus() -> bool:
    """Returns whether JAX will find CPUs alone, without asking for the devices."""
    if platforms := getattr(jax.config, "jax_platforms", None):  # `JAX_PLATFORMS`.
        return platforms == "cpu"
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    modules = ("jax_plugins", "libtpu")
    return not plugins and not any(map(importlib.util.find_spec, modules))


def _is_tried() -> bool:
    """Returns whether XLA's options were tried with the jaxlib that is installed."""
    return _version().startswith(("0.10.", "0.11.", "0.12."))


def _version() -> str:
    return importlib.metadata.version("jaxlib")


def initialize() -> None:
    """Joins the other processes of a cluster, if there is one; call it before any device use.

    A cluster is a SLURM step (`srun`) or an Open MPI job of several tasks, a TPU pod, or the
    variables `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`, `JAX_PROCESS_ID` set by hand.

    Raises:
      InputError: the others cannot be joined.
      TryAgain: not all of them came in time.
    """
    with listening() as stops:
        if arguments := _cluster():
            _join(arguments, stops)


def _cluster() -> dict[str, Any]:
    """Returns the arguments of `jax.distributed.initialize`; none where a process is alone.

    Raises:
      InputError: a variable is malformed, or missing beside the others.
    """
    env = os.environ
    if "JAX_COORDINATOR_ADDRESS" in env and "JAX_NUM_PROCESSES" in env:
        return _set_by_hand()
    try:
        sizes = [int(env.get(n, 1)) for n in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")]
        pod = "," in env.get("TPU_WORKER_HOSTNAMES", "")
        return _detected() if max(sizes) > 1 or pod else {}
    except (ValueError, RuntimeError) as error:
        raise _unjoined(error) from error


def _set_by_hand() -> dict[str, Any]:
    """Returns the cluster that the variables describe, of which none may be left out.

    Raises:
      InputError: one is malformed, or the process has no number of its own.
    """
    count = _whole("JAX_NUM_PROCESSES")
    if count < 1:
        raise InputError(f"JAX_NUM_PROCESSES={count} is not a number of processes.")
    if "JAX_PROCESS_ID" not in os.environ and count > 1:
        raise InputError(
            f"JAX_PROCESS_ID is not set, but JAX_NUM_PROCESSES={count}: "
            f"give each process another one of 0 … {count - 1}."
        )
    index = _whole("JAX_PROCESS_ID", usual="0")
    if not 0 <= index < count:
        raise InputError(
            f"JAX_PROCESS_ID={index} is not one of 0 … {count - 1} (JAX_NUM_PROCESSES={count})."
        )
    address = os.environ["JAX_COORDINATOR_ADDRESS"]
    host_and_port(address)
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def _whole(variable: str, *, usual: str = "") -> int:
    given = os.environ.get(variable, usual)
    try:
        return int(given)
    except ValueError:
        raise InputError(f"{variable}={given} is not a whole number.") from None


def _detected() -> dict[str, Any]:
    """Returns what jax finds out about the cluster, which `initialize` would find again."""
    from jax._src.clusters import ClusterEnv

    names = ("coordinator_address", "num_processes", "process_id", "local_device_ids")
    found = ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, math.ceil(start_timeout())
    )
    return dict(zip(names, found, strict=True))


def _join(arguments: dict[str, Any], stops: Stops) -> None:
    """Joins the cluster: meets the others, lets JAX connect to them, and watches them."""
    count, index = arguments["num_processes"], arguments["process_id"]
    seconds = start_timeout()
    try:
        if None not in (arguments["coordinator_address"], count, index):
            address = str(arguments["coordinator_address"])
            meet(address, count=count, index=index, seconds=seconds)
        with (
            _given_up_after(_CONNECTING, stops),
            lost_is_heard(partial(stops.end, LOST, tell=False)),
        ):
            jax.distributed.initialize(
                **arguments,
                initialization_timeout=2 * _CONNECTING,
                heartbeat_timeout_seconds=HEARTBEAT,
                shutdown_timeout_seconds=HEARTBEAT,
            )
    except (ValueError, RuntimeError) as error:
        if isinstance(error, (InputError, TryAgain)):
            raise
        raise _unjoined(error) from error
    stops.handle_again()  # JAX has a handler of its own for SIGTERM.
    client = distributed.global_state.client
    if jax.process_count() > 1 and client is not None:
        stops.others = Peers(client, index=jax.process_index(), count=count, stops=stops)
        stops.others.watch()
        _connect_cpus()


def _connect_cpus() -> None:
    """Connects the CPU devices of all processes while all are here, having just met.

    Gloo connects them at the first sum over all of them, and fails if a process comes to it
    more than 30 s after another. The step's is too late: some compile it faster than others.
    """
    if jax.default_backend() == "cpu":
        one = np.ones(jax.local_device_count(), np.float32)
        jax.block_until_ready(jax.pmap(lambda x: jax.lax.psum(x, "all"), axis_name="all")(one))


_CONNECTING = 60
"""Seconds in which JAX connects processes that are all there."""


@contextlib.contextmanager
def _given_up_after(seconds: float, stops: Stops) -> Iterator[None]:
    """Ends the process if the block takes longer: JAX would do so itself, with a C++ stack."""
    kind = f"stopped because JAX did not connect the processes within {seconds:g} s"
    timer = threading.Timer(seconds, stops.end, [Cause(kind, TRY_AGAIN)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _unjoined(error: Exception) -> InputError:
    return InputError(
        f"The processes of this cluster cannot be joined ({str(error).splitlines()[0]}): "
        "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID in each."
    )


def finish() -> None:
    """Waits until the other processes of the run are done too."""
    with listening() as stops:
        if isinstance(stops.others, Peers):
            stops.others.finish()


def reached_preemption_point(step: int) -> bool:
    """Returns whether JAX has had a notice of preemption, and all processes stop at `step`.

    Each process must ask at every step.
    """
    if jax.process_count() == 1 or distributed.global_state.preemption_sync_manager is None:
        return False
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


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
