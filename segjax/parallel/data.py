"""Data parallelism: the devices share a batch of whole images.

JAX keeps `pmap` as a thin layer over `jit(shard_map)` and in maintenance mode; should it go,
this file changes and no other.
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from segjax.contracts import AXIS


def data_parallel(step: Callable) -> Callable:
    """`step(state, batch) → (state, metrics)`, each device with its share of the batch.

    The state has no device axis: it is given once, donated, and returned once. Within `step`
    collectives run over `AXIS`. Batches come from `shard`.
    """
    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0)


def shard(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the process's batch with a leading axis of its devices: b … → d b/d …."""
    count = jax.local_device_count()
    return {key: value.reshape(count, -1, *value.shape[1:]) for key, value in batch.items()}


def replicate(state):
    """Returns the state on every device, laid out as `data_parallel` returns it.

    A first state in host memory would have `step` compiled twice: for it, and for its result.
    """
    identity = jax.pmap(
        lambda state, _: state, axis_name=AXIS, in_axes=(None, 0), out_axes=None
    )
    return identity(state, np.zeros(jax.local_device_count()))


def map_examples(function: Callable) -> Callable:
    """Returns `function(variables, batch) → results by example`, on this process's devices
    alone.

    No collectives, so that processes may hold different numbers of batches. Takes and returns
    batches of any length: the last share is filled up with copies, which are cut off again.
    What comes back also takes `then`, a compiled function of arrays of any leading axes: it is
    applied to the results on their devices, before they are fetched.
    """
    devices = jax.local_devices()
    mapped = jax.pmap(function, in_axes=(None, 0), devices=devices)

    def run(variables, batch: np.ndarray, *, then: Callable = lambda results: results):
        length, filled = len(batch), fill_up(batch, len(devices))
        results = then(mapped(variables, filled.reshape(len(devices), -1, *batch.shape[1:])))
        return jax.tree.map(lambda r: np.asarray(r).reshape(-1, *r.shape[2:])[:length], results)

    return run


def fill_up(batch: np.ndarray, multiple: int) -> np.ndarray:
    """Returns the batch with copies of its last example, up to a multiple of so many."""
    copies = np.repeat(batch[-1:], -len(batch) % multiple, axis=0)
    return np.concatenate([batch, copies]) if len(copies) else batch
