"""The training state on the devices: complete on each, or each array in parts (`shard_state`).

Parts are those of ZeRO (Rajbhandari et al., 2020, arXiv:1910.02054): parameters, optimizer
state and running means lie in parts; devices gather a parameter while they use it.
"""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.contracts import Array
from segjax.parallel.dry_run import place

LEAST = 4096
"""The size of the smallest array that is divided. Smaller ones cost more time than memory."""

_MESH: ContextVar[Mesh | None] = ContextVar("mesh of a divided state", default=None)


def state_layout(state: Any, mesh: Mesh, *, shard_state: bool) -> Any:
    """Returns the sharding of each array of a state on a mesh.

    If `shard_state`, each array is divided along its largest axis that the number of devices
    divides. Arrays without such an axis, and those under `LEAST` numbers, are complete on
    every device.
    """
    least = LEAST if shard_state else math.inf
    spec = lambda leaf: _part(leaf.shape, mesh, least=least)
    return jax.tree.map(lambda leaf: NamedSharding(mesh, spec(leaf)), state)


def spread(state: Any, layout: Any) -> Any:
    """Returns a state laid out so; arrays in host memory are the same in every process."""

    put = lambda leaf, sharding: place(sharding, partial(_put, sharding=sharding), leaf)
    return jax.tree.map(put, state, layout)


def _put(leaf: Any, *, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
        return leaf
    value = np.asarray(leaf)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def gathered(state: Any) -> Any:
    """Returns a state, or a part of it, in host memory; its arrays are complete and own copies.

    All processes must call it if the state is divided over them. One array at a time is
    complete on the devices.
    """

    def fetch(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not _is_here(leaf):
            from jax.experimental import multihost_utils

            return np.array(multihost_utils.process_allgather(leaf, tiled=True))
        return np.array(leaf)

    return jax.tree.map(fetch, state)


def _is_here(leaf: jax.Array) -> bool:
    return leaf.is_fully_replicated or leaf.is_fully_addressable


@contextlib.contextmanager
def dividing(mesh: Mesh) -> Iterator[None]:
    """Has `complete` gather the parameters of the step that the block traces."""
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def complete(params: Any) -> Any:
    """Returns parameters, complete on each device where they are used; their gradients are not.

    Without `shard_state` it returns them unchanged. It keeps XLA from dividing the network
    instead, by channels. Gradients go in parts to the devices that hold the parameters.
    """
    mesh = _MESH.get()
    if mesh is None:
        return params
    everywhere = NamedSharding(mesh, PartitionSpec())

    def of(leaf: Array) -> Array:
        """Returns a parameter that is gathered for its use."""
        part = NamedSharding(mesh, _part(leaf.shape, mesh, least=LEAST))

        @jax.custom_vjp
        def used(x: Array) -> Array:
            return jax.lax.with_sharding_constraint(x, everywhere)

        def back(_, gradient: Array) -> tuple[Array]:
            return (jax.lax.with_sharding_constraint(gradient, part),)

        used.defvjp(lambda x: (used(x), None), back)
        return used(leaf)

    return jax.tree.map(of, params)


def _part(shape: tuple[int, ...], mesh: Mesh, *, least: float) -> PartitionSpec:
    """Returns how an array is divided over all devices of a mesh."""
    fits = [(size, axis) for axis, size in enumerate(shape) if size % mesh.size == 0]
    if math.prod(shape) < least or not fits:
        return PartitionSpec()
    _, axis = max(fits)
    return PartitionSpec(*[None] * axis, mesh.axis_names)
