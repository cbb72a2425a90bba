"""Spatial partitioning: groups of rows × columns devices share each image of a batch."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.contracts import AXIS, Array
from segjax.errors import InputError
from segjax.parallel.data import fill_up


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
        """Returns the step on images in parts, without what filled them up."""
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
    """Returns `function(variables, batch) → maps`, each image shared by rows × columns devices.

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
        """Returns the maps in parts, filled up to equal ones."""
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
        filled = fill_up(batch, mesh.shape["groups"])
        result = then(mapped(variables, _on_mesh(mesh, filled, planes=True), size))
        return np.asarray(result)[: len(batch), : size[0], : size[1]]

    return run


def placed(x: Array) -> Array:
    """Returns a map b h w c, spread over the devices that share its image; `x` itself where
    none do.

    Operations say it of what they read and give. Left to itself, XLA may keep one map whole on
    every device and its neighbour in parts; the kernel gradient of such a pair came out twice
    too large (jax 0.10.2), and more of an image lies on each device than need be.
    """
    mesh = _MESH.get()
    if mesh is None or x.shape[1] < mesh.shape["rows"] or x.shape[2] < mesh.shape["columns"]:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, _PLANES))


def is_splitting() -> bool:
    """Returns whether what is traced now has its images shared by several devices."""
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


def devices_per_image(split: tuple[int, int]) -> int:
    """Returns the devices that share an image; every process has whole groups of them."""
    parts, count = split[0] * split[1], jax.local_device_count()
    if min(split) < 1 or count % parts:
        raise InputError(
            f"split={split} has {split[0]} x {split[1]} devices share an image, but there are "
            f"{count} (in each process): rows times columns must divide that number."
        )
    return parts


def _mesh(devices: list, split: tuple[int, int]) -> Mesh:
    """Groups of rows × columns devices, each of one process."""
    devices_per_image(split)
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered).reshape(-1, *split), ("groups", "rows", "columns"))


def _missing(shape: tuple[int, ...], mesh: Mesh) -> list[tuple[int, int]]:
    """Returns what `pad` adds to b h w … so that every device of a group has as much."""
    rows, columns = -shape[1] % mesh.shape["rows"], -shape[2] % mesh.shape["columns"]
    return [(0, 0), (0, rows), (0, columns), *[(0, 0)] * (len(shape) - 3)]


def _on_mesh(mesh: Mesh, value: np.ndarray, *, planes: bool) -> jax.Array:
    """Returns the process's examples on their devices; planes in equal parts, with zeros
    beyond.
    """
    if not planes:
        examples = NamedSharding(mesh, PartitionSpec("groups"))
        return jax.make_array_from_process_local_data(examples, value)
    filled = np.pad(value, _missing(value.shape, mesh))
    return jax.make_array_from_process_local_data(NamedSharding(mesh, _PLANES), filled)


def _whole(mesh: Mesh, value: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Returns a plane without what `_on_mesh` added, still in parts; others as they come."""
    if value.ndim < 3:
        return value
    plane = value[:, : size[0], : size[1]]
    return jax.lax.with_sharding_constraint(plane, NamedSharding(mesh, _PLANES))
