"""Weights that seeded functions make of parameters' names: a golden file holds outputs alone.

`runpy.run_path` reads it, from tests and from the scripts that make golden files.
"""

import zlib

import numpy as np

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
"""PyTorch's names of a module's own arrays, where they differ from Flax's."""


def generator(name: str) -> np.random.Generator:
    """Returns the random numbers that belong to a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the tensor that another library calls `name`, in PyTorch's layout."""
    rng = generator(name)
    if len(shape) == 4:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    if name.endswith(("weight", "running_var")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return rng.normal(0, 0.2, shape).astype(np.float32)


def eighths(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a tensor of whole eighths, so that bfloat16 holds it too."""
    if name.endswith("num_batches_tracked"):
        return np.array(7)
    return (generator(name).integers(-64, 64, shape) / 8).astype(np.float32)


def dotted(path: tuple[str, ...]) -> str:
    """Returns what PyTorch calls a variable of a module with our module's path."""
    return ".".join([*path[:-1], LEAVES.get(path[-1], path[-1])])


def by_name(shapes, name_of=dotted):
    """Returns variables of these shapes; `name_of(path)` is what the other library calls each.

    A path is that of a variable below its collection, such as ("conv1", "kernel").
    """
    from flax.traverse_util import flatten_dict, unflatten_dict

    flat = flatten_dict(dict(shapes))
    return unflatten_dict({p: as_flax(name_of(p[1:]), s.shape) for p, s in flat.items()})


def as_flax(name: str, shape: tuple[int, ...]):
    """Returns `fill` for a variable of this shape: kernels h w i o, others' are o i h w.

    Kernels of transposed convolutions are h w o i here, and i o h w there.
    """
    import jax.numpy as jnp

    if len(shape) != 4:
        return jnp.asarray(fill(name, shape))
    tensor = fill(name, tuple(shape[axis] for axis in (3, 2, 0, 1)))
    return jnp.asarray(tensor.transpose(2, 3, 1, 0))


def lively(shapes):
    """Returns variables of no fresh network, without compiling `init`: none is zero or one."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)

    def leaf(path, shape):
        if path[-1].key == "kernel":
            values = rng.normal(0, np.sqrt(2 / np.prod(shape.shape[:3])), shape.shape)
        else:
            values = rng.uniform(0.5, 1.0, shape.shape)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)
