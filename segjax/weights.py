"""Variables of a network as files: `.safetensors` with Flax's own names, such as
`params/backbone/conv1/kernel`, checked against the network that they are for.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from segjax.data.cache import cache_root
from segjax.errors import InputError
from segjax.types import Variables


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Initial variables from a file, or by a name under which a file lies in the cache.

    Attributes:
      source: a path that ends in `.safetensors`, or a name such as "timm/resnet101.tv_in1k".
    """

    source: str

    def load(self, model: nn.Module, *, channels: int = 3) -> Variables:
        """The variables for `model`; see `load`."""
        return load(self.source, model, channels=channels)


def load(path_or_name: str, model: nn.Module, *, channels: int = 3) -> Variables:
    """All variables of `model`, read from a file that `save` wrote.

    Args:
      path_or_name: a `.safetensors` file, or NAME for `<cache>/weights/NAME.safetensors`, where
        the cache is `SEGJAX_CACHE`, else the user's own.
      model: the network that they are for.
      channels: of the images that it takes.

    Raises:
      InputError: there is no such file, it cannot be read, or an array is missing, unexpected
        or of another shape; the first is named.
    """
    path = _find(path_or_name)
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable .safetensors file: {error}.") from error
    _check(arrays, flat_shapes(variable_shapes(model, channels=channels)), path)
    return unflatten_dict(arrays, sep="/")


def save(path: str | pathlib.Path, variables: Variables, *, description: str = "") -> None:
    """Writes variables as one `.safetensors` file, with a description in its metadata."""
    path = pathlib.Path(path)
    flat = flatten_dict(dict(variables), sep="/")
    arrays = {name: np.ascontiguousarray(jax.device_get(a)) for name, a in flat.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        metadata = {"format": "segjax", "description": description}
        temporary.write_bytes(serialize(arrays, metadata=metadata))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def variable_shapes(model: nn.Module, *, channels: int = 3) -> Any:
    """Shapes and dtypes of all of a network's variables; nothing is computed.

    Raises:
      ValueError: the network refuses its image or its own fields.
    """
    canvas = getattr(model, "canvas", lambda height, width: (height, width))
    image = jnp.zeros((1, *canvas(64, 64), channels))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))


def flat_shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """{"params/conv1/kernel": shape} of a Flax tree of collections."""
    flat: dict[str, Any] = flatten_dict(dict(variables), sep="/")  # type: ignore[assignment]
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def _check(arrays: Mapping[str, Any], wanted: Mapping[str, tuple], path: pathlib.Path) -> None:
    saved = flat_shapes(arrays)
    wrong = [
        f"{name} is {saved.get(name, 'missing')} there, {wanted.get(name, 'not')} in the model"
        for name in sorted({*saved, *wanted})
        if saved.get(name) != wanted.get(name)
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(f"{path} is for another network: {wrong[0]}{more}.")


def _find(path_or_name: str) -> pathlib.Path:
    path = pathlib.Path(path_or_name)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise InputError(
                f"There is no weights file {path}; check the path, or set init=None."
            )
        return path
    cached = cache_root() / "weights" / f"{path_or_name}.safetensors"
    if not cached.is_file():
        raise InputError(
            f"The weights {path_or_name!r} are not here: place them as {cached} "
            "(in segjax's own names), or train from scratch with --set init=None."
        )
    return cached
