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
from segjax.parallel.dry_run import execute, follow, place
from segjax.parallel.state import dividing, spread, state_layout


def spatial_parallel(
    step: Callable, split: tuple[int, int], *, shard_state: bool = False
) -> Callable:
    """Returns `step(state, batch) → (state, metrics)`; rows × columns devices share an image.

    It is for images whose activations do not fit one device; and, with `shard_state`, for a
    state that is divided over all devices (`parallel.state`). `step` and its result are those
    of `data_parallel`, up to rounding: `jit` over a mesh splits the images, XLA exchanges the
    borders that convolutions read, and `AXIS` has length one. It takes the process's batch as
    it is, not `shard`ed. The devices of a group belong to one process.

    Sides need not be divisible: arrays with the images' height and width are padded to equal
    parts before they go to the devices, and cropped before `step` receives them.

    Raises:
      InputError: the devices of a process cannot be grouped by `split`.
    """
    mesh = training_mesh(split)
    everywhere = NamedSharding(mesh, PartitionSpec())
    dividing_state = partial(dividing, mesh) if shard_state else contextlib.nullcontext

    def taken(state, batch, size: tuple[int, int]):
        """Returns the result of the step on split images, without their padding."""
        batch = {key: _whole(mesh, value, size) for key, value in batch.items()}
        alone = jax.tree.map(lambda value: value[None], batch)
        # An axis of length one, over which the step's collectives can run.
        mapped = jax.vmap(step, in_axes=(None, 0), axis_name=AXIS)
        with _placing(mesh), dividing_state():
            return jax.tree.map(lambda result: result[0], mapped(state, alone))

    made: list[Callable] = []  # The program, once a state has shown its shapes.

    def run(state, batch: Mapping[str, np.ndarray]):
        """Returns (state, metrics) after a step on the process's batch."""
        size = batch["image"].shape[1:3]
        cut = {
            key: _on_mesh(mesh, value, planes=value.shape[1:3] == size)
            for key, value in batch.items()
        }
        layout = state_layout(state, mesh, shard_state=shard_state)
        if not made:
            out = (layout, everywhere)
            made.append(jax.jit(taken, static_argnums=2, donate_argnums=0, out_shardings=out))
        return execute(made[0], spread(state, layout), cut, size)

    return run


def map_images(function: Callable, split: tuple[int, int]) -> Callable:
    """Returns `function(variables, batch) → maps`; rows × columns devices share each image.

    Like `map_examples` it runs on this process's devices alone and takes `then`. `function`
    maps images b h w c to an array b h w …; see `spatial_parallel` for how images are split.

    Raises:
      InputError: the devices of this process cannot be grouped by `split`.
      ValueError: `function`, when called, returns maps of another size.
    """
    mesh = _mesh(jax.local_devices(), split)
    planes = NamedSharding(mesh, _PLANES)

    @partial(jax.jit, static_argnums=2, out_shardings=planes)
    def mapped(variables, batch, size: tuple[int, int]):
        """Returns the maps in parts, padded to equal sizes."""
        with _placing(mesh):
            result = function(variables, _whole(mesh, batch, size))
        if result.shape[1:3] != size:
            raise ValueError(
                f"Images of {size} that devices share must give maps of their size, got "
                f"{result.shape[1:3]}."
            )
        return jnp.pad(result, _missing(result.shape, mesh))

    def run(variables, batch: np.ndarray, *, then: Callable = lambda result: result):
        """Returns the maps of the images; `then` is applied before they are fetched."""
        size = batch.shape[1:3]
        filled = fill_up(batch, mesh.shape["groups"])
        images = _on_mesh(mesh, filled, planes=True)
        result = follow(then, execute(mapped, variables, images, size))
        return np.asarray(result)[: len(batch), : size[0], : size[1]]

    return run


def placed(x: Array) -> Array:
    """Returns a map b h w c, spread over the devices that share its image; else `x` itself.

    Operations apply it to their inputs and outputs. Otherwise XLA may keep one map complete on
    every device and the next one in parts. The kernel gradient of such a pair was twice too
    large (jax 0.10.2), and each device held more of an image than necessary.
    """
    mesh = _MESH.get()
    if mesh is None or x.shape[1] < mesh.shape["rows"] or x.shape[2] < mesh.shape["columns"]:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, _PLANES))


def is_splitting() -> bool:
    """Returns whether several devices share each image of the function being traced."""
    return _MESH.get() is not None


_MESH: ContextVar[Mesh | None] = ContextVar("mesh", default=None)
_PLANES = PartitionSpec("groups", "rows", "columns")
"""The layout of b h w … on a mesh: examples over groups of devices, an image over a group."""


@contextlib.contextmanager
def _placing(mesh: Mesh) -> Iterator[None]:
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def devices_per_image(split: tuple[int, int]) -> int:
    """Returns the number of devices that share an image; a process has whole groups of them.

    Raises:
      InputError: the devices of a process cannot be grouped by `split`.
    """
    parts, count = split[0] * split[1], jax.local_device_count()
    if min(split) < 1 or count % parts:
        raise InputError(
            f"split={split} has {split[0]} x {split[1]} devices share an image, but there are "
            f"{count} (in each process): rows times columns must divide that number."
        )
    return parts


def training_mesh(split: tuple[int, int]) -> Mesh:
    """Returns the mesh of the devices of all processes.

    Raises:
      InputError: the devices of a process cannot be grouped by `split`.
    """
    return _mesh(jax.devices(), split)


def _mesh(devices: list, split: tuple[int, int]) -> Mesh:
    """Returns a mesh of groups of rows × columns devices, each group of one process."""
    devices_per_image(split)
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered).reshape(-1, *split), ("groups", "rows", "columns"))


def _missing(shape: tuple[int, ...], mesh: Mesh) -> list[tuple[int, int]]:
    """Returns the padding of b h w … that gives every device of a group an equal part."""
    rows, columns = -shape[1] % mesh.shape["rows"], -shape[2] % mesh.shape["columns"]
    return [(0, 0), (0, rows), (0, columns), *[(0, 0)] * (len(shape) - 3)]


def _on_mesh(mesh: Mesh, value: np.ndarray, *, planes: bool) -> jax.Array:
    """Returns the process's examples on their devices; planes are padded to equal parts."""
    sharding = NamedSharding(mesh, _PLANES if planes else PartitionSpec("groups"))
    filled = np.pad(value, _missing(value.shape, mesh)) if planes else value
    put = partial(jax.make_array_from_process_local_data, sharding)
    return place(sharding, put, filled, shares=jax.process_count())


def _whole(mesh: Mesh, value: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Returns a plane without the padding of `_on_mesh`, still in parts; others unchanged."""
    if value.ndim < 3:
        return value
    plane = value[:, : size[0], : size[1]]
    return jax.lax.with_sharding_constraint(plane, NamedSharding(mesh, _PLANES))
