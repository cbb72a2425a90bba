"""Variables of a network from files and to files, each array checked against the network.

Our own files are `.safetensors` with Flax's names, such as `params/backbone/conv1/kernel`.
Those of torchvision and timm are read as they were published (`segjax.pretrained`); PyTorch is
not needed and nothing in a file is run.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save as serialize

from segjax.atomic import write_bytes
from segjax.conformity import canvas, check_classifiers, classifiers, num_classes
from segjax.contracts import Variables
from segjax.errors import InputError
from segjax.pretrained.files import read_arrays
from segjax.pretrained.find import find_weights
from segjax.pretrained.layouts import LAYOUTS, is_known, translate
from segjax.pretrained.match import fit


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Initial variables from a file, or by a name of the Hugging Face hub.

    Attributes:
      source: a path such as "fcn.pth", or a name such as "timm/resnet101.tv_in1k".
      allow: regular expressions of names that need not fit; see `load`.
      key: which of the state dicts in the file, such as "model_ema"; see `load`.
    """

    source: str
    allow: tuple[str, ...] = ()
    key: str | None = None

    def find(self) -> pathlib.Path:
        """Returns the file, from the hub where it has to be; so a wrong path is known at once.

        Raises:
          InputError: there is no such file.
        """
        return find_weights(self.source)

    def load(
        self,
        model: nn.Module,
        *,
        channels: int = 3,
        seed: int = 0,
        note: Callable[[str], None] = print,
    ) -> Variables:
        """Returns the variables for `model`; see `load`."""
        return load(
            self.source,
            model,
            channels=channels,
            seed=seed,
            allow=self.allow,
            key=self.key,
            note=note,
        )


def load(
    path_or_name: str | pathlib.Path,
    model: nn.Module,
    *,
    channels: int = 3,
    seed: int = 0,
    allow: tuple[str, ...] = (),
    key: str | None = None,
    note: Callable[[str], None] = print,
) -> Variables:
    """Returns all variables of `model`: from a file, and what the file cannot have, from a
    seed.

    The file is one that `save` wrote, or torchvision's or timm's; a classification checkpoint
    goes into the model's backbone. The model's `classifiers`, where the file's are for another
    number of classes, start from the seed, and an auxiliary head that the model was built
    without is left out; `note` says so.
    A state dict may lie within what a training script saved, and its names may have a prefix
    of wrappers (`module.`, `_orig_mod.`, `model.`); `note` says which was taken and left out.

    Args:
      path_or_name: a file of safetensors, NumPy (`.npz`) or PyTorch (`.pth`, `.pt`, `.bin`,
        `.ckpt`, `.pth.tar`), whose bytes say of which kind it is; or NAME for such a file in
        `<cache>/weights/`, where the cache is `SEGJAX_CACHE`, else the user's own; or else a
        repository of the Hugging Face hub, taken from its cache or downloaded.
      model: the network that they are for.
      channels: of the images that it takes.
      seed: of whatever the file does not give.
      allow: regular expressions of names that may be missing, unexpected, of another shape, or
        not finite; what the model has under these names starts from the seed.
      key: where the state dict lies in the file, such as "model_ema" or
        "checkpoint.state_dict"; or the first part of the names to take, such as "teacher".
      note: takes each line about what is not as in the file.

    Raises:
      InputError: there is no such file, it cannot be read, its layout is not known, or arrays
        are missing, unexpected, of another shape or not finite; they are named.
    """
    path = find_weights(str(path_or_name))
    variables = variable_shapes(model, channels=channels)
    wanted: dict[str, Any] = flatten_dict(dict(variables), sep="/")  # type: ignore[assignment]
    check_classifiers(model, wanted)
    arrays, notes = read_arrays(path, key=key, is_known=is_known)
    try:
        checkpoint = translate(arrays, flat_shapes(variables))
        if checkpoint is None:
            raise InputError(
                "has no layout that segjax knows: its arrays are "
                f"{', '.join(sorted(arrays)[:5]) or 'none'}. Known: {LAYOUTS}."
            )
        fitted = fit(
            checkpoint,
            wanted,
            classifiers=classifiers(model),
            num_classes=num_classes(model),
            allow=allow,
            seed=seed,
        )
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    for line in (*notes, *fitted.notes):
        note(f"{path.name}: {line}")
    found: dict[str, Any] = dict(fitted.arrays)
    if fitted.fresh:
        found |= _initialised(model, channels, seed, fitted.fresh)
    return unflatten_dict({name: found[name] for name in wanted}, sep="/")


def save(path: str | pathlib.Path, variables: Variables, *, description: str = "") -> None:
    """Writes variables as one `.safetensors` file, with a description in its metadata."""
    flat = flatten_dict(dict(variables), sep="/")
    arrays = {name: np.asarray(jax.device_get(a), order="C") for name, a in flat.items()}
    metadata = {"format": "segjax", "description": description}
    write_bytes(path, serialize(arrays, metadata=metadata))


def variable_shapes(model: nn.Module, *, channels: int = 3) -> Any:
    """Returns shapes and dtypes of all of a network's variables; nothing is computed.

    Raises:
      ValueError: the network refuses its image or its own fields.
    """
    return jax.eval_shape(lambda: _init(model, channels, 0))


def flat_shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns {"params/conv1/kernel": shape} of a Flax tree of collections."""
    flat: dict[str, Any] = flatten_dict(dict(variables), sep="/")  # type: ignore[assignment]
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def _initialised(
    model: nn.Module, channels: int, seed: int, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns what the model itself has under these names; the others are never computed."""

    def draw():
        """Returns the named ones of all variables."""
        flat = flatten_dict(dict(_init(model, channels, seed)), sep="/")
        return {name: flat[name] for name in names}

    return jax.device_get(jax.jit(draw)())


def _init(model: nn.Module, channels: int, seed: int) -> Any:
    image = jnp.zeros((1, *canvas(model, 64, 64), channels))
    return model.init(jax.random.key(seed), image, train=False)
