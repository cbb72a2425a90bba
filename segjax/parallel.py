"""Runs a pure step on every device. The only file that counts devices or knows of `pmap`.

Devices share a batch (`data_parallel`, `map_examples`) or, where one image is too large for one
of them, each image too (`spatial_parallel`, `map_images`).

JAX keeps `pmap` as a thin layer over `jit(shard_map)` and in maintenance mode; should it go,
this file changes and no other.
"""

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.contracts import AXIS, Array
from segjax.errors import InputError

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


def is_alone() -> bool:
    """Whether no other process takes part in the run."""
    return jax.process_count() == 1


def process_share() -> tuple[int, int]:
    """(i, n): this process is the i-th of n, from 0."""
    return jax.process_index(), jax.process_count()


def check_batch_size(batch_size: int, *, split: tuple[int, int] = (1, 1)) -> None:
    """Raises InputError unless the devices, or their groups that share images, divide a batch.

    Raises:
      InputError: names batch size, devices and the nearest sizes that fit; or `split`.
    """
    count = jax.device_count() // _parts(split)
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
    What comes back also takes `then`, a compiled function of arrays of any leading axes: it is
    applied to the results on their devices, before they are fetched.
    """
    devices = jax.local_devices()
    mapped = jax.pmap(function, in_axes=(None, 0), devices=devices)

    def run(variables, batch: np.ndarray, *, then: Callable = lambda results: results):
        length, filled = len(batch), _filled(batch, len(devices))
        results = then(mapped(variables, filled.reshape(len(devices), -1, *batch.shape[1:])))
        return jax.tree.map(lambda r: np.asarray(r).reshape(-1, *r.shape[2:])[:length], results)

    return run


def _filled(batch: np.ndarray, multiple: int) -> np.ndarray:
    """The batch with copies of its last example, up to a multiple of so many."""
    copies = np.repeat(batch[-1:], -len(batch) % multiple, axis=0)
    return np.concatenate([batch, copies]) if len(copies) else batch


def spatial_parallel(step: Callable, split: tuple[int, int]) -> Callable:
    """`step(state, batch) → (state, metrics)`, each image shared by rows × columns devices.

    For images whose activations do not fit one device. The step is the one that `data_parallel`
    takes, and so is what comes back, up to rounding: `jit` over a mesh cuts the images, XLA
    exchanges the borders that convolutions read, and `AXIS` has length one. It takes the
    process's batch as it is, not `shard`ed. The devices of a group belong to one process.

    Sides need not be divisible: whatever has the images' height and width is padded to equal
    parts on its way to the devices, and cut back before the step sees it.

    Raises:
      InputError: the devices of a process cannot be grouped so.
    """
    mesh = _mesh(jax.devices(), split)
    everywhere = NamedSharding(mesh, PartitionSpec())

    @partial(jax.jit, static_argnums=2, donate_argnums=0, out_shardings=everywhere)
    def taken(state, batch, size: tuple[int, int]):
        """The step on images in parts, without what filled them up."""
        batch = {key: _whole(mesh, value, size) for key, value in batch.items()}
        alone = jax.tree.map(lambda value: value[None], batch)
        # An axis of length one, so that the step's sums over devices have their meaning.
        mapped = jax.vmap(step, in_axes=(None, 0), axis_name=AXIS)
        with _placing(mesh):
            return jax.tree.map(lambda result: result[0], mapped(state, alone))

    def run(state, batch: Mapping[str, np.ndarray]):
        size = batch["image"].shape[1:3]
        cut = {
            key: _on_mesh(mesh, value, planes=value.shape[1:3] == size)
            for key, value in batch.items()
        }
        return taken(jax.device_put(state, everywhere), cut, size)

    return run


def map_images(function: Callable, split: tuple[int, int]) -> Callable:
    """`function(variables, batch) → maps`, each image shared by rows × columns devices.

    As `map_examples`, on this process's devices alone and with its `then`, for a function from
    images b h w c to an array b h w …; see `spatial_parallel` for how images are cut.

    Raises:
      InputError: the devices of this process cannot be grouped so.
      ValueError: the function gives maps of another size, once it is called.
    """
    mesh = _mesh(jax.local_devices(), split)
    planes = NamedSharding(mesh, _PLANES)

    @partial(jax.jit, static_argnums=2, out_shardings=planes)
    def mapped(variables, batch, size: tuple[int, int]):
        """The maps in parts, filled up to equal ones."""
        with _placing(mesh):
            result = function(variables, _whole(mesh, batch, size))
        if result.shape[1:3] != size:
            raise ValueError(
                f"Images of {size} that devices share give maps of their size, got "
                f"{result.shape[1:3]}."
            )
        return jnp.pad(result, _missing(result.shape, mesh))

    def run(variables, batch: np.ndarray, *, then: Callable = lambda result: result):
        size = batch.shape[1:3]
        filled = _filled(batch, mesh.shape["groups"])
        result = then(mapped(variables, _on_mesh(mesh, filled, planes=True), size))
        return np.asarray(result)[: len(batch), : size[0], : size[1]]

    return run


def placed(x: Array) -> Array:
    """A map b h w c, spread over the devices that share its image; `x` itself where none do.

    Operations say it of what they read and give. Left to itself, XLA may keep one map whole on
    every device and its neighbour in parts; the kernel gradient of such a pair came out twice
    too large (jax 0.10.2), and more of an image lies on each device than need be.
    """
    mesh = _MESH.get()
    if mesh is None or x.shape[1] < mesh.shape["rows"] or x.shape[2] < mesh.shape["columns"]:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, _PLANES))


def is_splitting() -> bool:
    """Whether what is traced now has its images shared by several devices."""
    return _MESH.get() is not None


_MESH: ContextVar[Mesh | None] = ContextVar("mesh", default=None)
_PLANES = PartitionSpec("groups", "rows", "columns")
"""How b h w … lies on a mesh: examples over groups of devices, an image over a group's."""


@contextlib.contextmanager
def _placing(mesh: Mesh) -> Iterator[None]:
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def _parts(split: tuple[int, int]) -> int:
    """The devices that share an image; every process has whole groups of them."""
    parts, count = split[0] * split[1], jax.local_device_count()
    if min(split) < 1 or count % parts:
        raise InputError(
            f"split={split} has {split[0]} x {split[1]} devices share an image, but there are "
            f"{count} (in each process): rows times columns must divide that number."
        )
    return parts


def _mesh(devices: list, split: tuple[int, int]) -> Mesh:
    """Groups of rows × columns devices, each of one process."""
    _parts(split)
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered).reshape(-1, *split), ("groups", "rows", "columns"))


def _missing(shape: tuple[int, ...], mesh: Mesh) -> list[tuple[int, int]]:
    """What `pad` adds to b h w … so that every device of a group has as much."""
    rows, columns = -shape[1] % mesh.shape["rows"], -shape[2] % mesh.shape["columns"]
    return [(0, 0), (0, rows), (0, columns), *[(0, 0)] * (len(shape) - 3)]


def _on_mesh(mesh: Mesh, value: np.ndarray, *, planes: bool) -> jax.Array:
    """The process's examples on their devices; planes in equal parts, with zeros beyond."""
    if not planes:
        examples = NamedSharding(mesh, PartitionSpec("groups"))
        return jax.make_array_from_process_local_data(examples, value)
    filled = np.pad(value, _missing(value.shape, mesh))
    return jax.make_array_from_process_local_data(NamedSharding(mesh, _PLANES), filled)


def _whole(mesh: Mesh, value: jax.Array, size: tuple[int, int]) -> jax.Array:
    """A plane without what `_on_mesh` added, still in parts; others as they come."""
    if value.ndim < 3:
        return value
    plane = value[:, : size[0], : size[1]]
    return jax.lax.with_sharding_constraint(plane, NamedSharding(mesh, _PLANES))


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
