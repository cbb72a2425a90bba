"""Data parallelism: the devices share a batch of whole images.

JAX keeps `pmap` as a thin layer over `jit(shard_map)`, in maintenance mode. If JAX removes it,
only this file has to change.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from segjax.contracts import AXIS
from segjax.parallel.cluster import in_least_memory
from segjax.parallel.dry_run import execute, follow, zeros


def data_parallel(step: Callable) -> Callable:
    """Returns `step(state, batch) → (state, metrics)` run with a share of the batch per device.

    The state has no device axis: it is passed once, donated, and returned once. Within `step`
    collectives run over `AXIS`. Batches come from `shard`.
    """
    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0)


def shard(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the process's batch with a leading axis of its devices, b … → d b/d …."""
    count = jax.local_device_count()
    return {key: value.reshape(count, -1, *value.shape[1:]) for key, value in batch.items()}


def replicate(state):
    """Returns the state on every device, laid out as `data_parallel` returns it.

    With a first state in host memory, `step` would compile twice: for it, and for its result.
    """
    return _identity()(state, np.zeros(jax.local_device_count()))


def replicated_shapes(state):
    """Returns the shapes of what `replicate` returns, with its layout; nothing is computed.

    With several processes these are zeros: `pmap` then traces for arrays of a host alone, and
    places them on the devices.
    """
    if jax.process_count() > 1:
        return jax.tree.map(zeros, state)
    return _identity().lower(state, np.zeros(jax.local_device_count())).out_info


def _identity() -> Any:
    return jax.pmap(lambda state, _: state, axis_name=AXIS, in_axes=(None, 0), out_axes=None)


def map_examples(function: Callable) -> Callable:
    """Returns `function(variables, batch) → results by example`, run on this process's devices.

    It uses no collectives, so processes may hold different numbers of batches. A batch may have
    any length: the last share is filled with copies, which are cut off again. The returned
    function also takes `then`, a compiled function of arrays with any leading axes, and applies
    it to the results on their devices before they are fetched.
    """
    devices = jax.local_devices()
    mapped = forward_program(function)

    def run(variables, batch: np.ndarray, *, then: Callable = lambda results: results):
        length, filled = len(batch), fill_up(batch, len(devices))
        shares = filled.reshape(len(devices), -1, *batch.shape[1:])
        results = follow(then, execute(mapped, variables, shares))
        return jax.tree.map(lambda r: np.asarray(r).reshape(-1, *r.shape[2:])[:length], results)

    return run


def forward_program(function: Callable) -> Any:
    """Returns `function(variables, share)` as a program over this process's devices.

    The share and the results have a leading axis of the devices. One CPU takes the order of
    operations with the least memory, which `pmap` cannot ask for; call it outside any trace.
    """
    devices = jax.local_devices()
    if len(devices) > 1 or not (options := in_least_memory()):
        return jax.pmap(function, in_axes=(None, 0), devices=devices)

    def program(variables, shares):
        return jax.tree.map(lambda r: r[None], function(variables, shares[0]))

    return jax.jit(program, compiler_options=options)


def fill_up(batch: np.ndarray, multiple: int) -> np.ndarray:
    """Returns the batch, filled with copies of its last example to a multiple of `multiple`."""
    copies = np.repeat(batch[-1:], -len(batch) % multiple, axis=0)
    return np.concatenate([batch, copies]) if len(copies) else batch
