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
from segjax.errors import InputError, first_of
from segjax.initial import initial_state
from segjax.pretrained.file_checksum import with_checksum
from segjax.pretrained.files import read_arrays
from segjax.pretrained.find import find_weights
from segjax.pretrained.layouts import LAYOUTS, is_known, translate
from segjax.pretrained.match import Fitted, fit


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
        try:
            return find_weights(self.source)
        except InputError as error:
            remedy = "To train from scratch instead: --set init=None."
            raise InputError(f"{error} {remedy}") from error

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
            self.find(),
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
    complete: bool = False,
    note: Callable[[str], None] = print,
) -> Variables:
    """Returns all variables of `model`, from a file.

    The file is one that `save` wrote, or torchvision's or timm's. A classification checkpoint
    fills the model's backbone. Where the file has another number of classes than the model, the
    model's `classifiers` start from the seed. An auxiliary head that the model was built
    without is left out. `note` reports each of these. The state dict may lie inside a larger
    checkpoint of a training script, and its names may have the prefix of a wrapper (`module.`,
    `_orig_mod.`, `model.`); `note` reports which was taken and which prefix was removed.

    Args:
      path_or_name: a file of safetensors, NumPy (`.npz`) or PyTorch (`.pth`, `.pt`, `.bin`,
        `.ckpt`, `.pth.tar`); its bytes decide which of these it is. Or the NAME of such a file
        in `<cache>/weights/`, where the cache is `SEGJAX_CACHE` or the user's cache folder. Or
        a repository of the Hugging Face hub, which is read from the hub's cache or downloaded.
      model: the network that the variables are for.
      channels: of the images that the network takes.
      seed: for variables that the file does not give.
      allow: regular expressions of names that may be missing, unexpected, of another shape, or
        not finite; the model's variables of these names start from the seed.
      key: where the state dict lies in the file, such as "model_ema" or
        "checkpoint.state_dict"; or the first part of the names to take, such as "teacher".
      complete: refuses a file that leaves any variable to the seed.
      note: takes each line about a difference between file and model.

    Raises:
      InputError: there is no such file, it cannot be read, its layout is not known, or arrays
        are missing, unexpected, of another shape or not finite; they are named. Or the file
        leaves variables to the seed and `complete` is asked for.
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
    if complete and fitted.fresh:
        raise InputError(_incomplete(path, model, fitted))
    for line in (*notes, *fitted.notes):
        note(f"{path.name}: {line}")
    found: dict[str, Any] = dict(fitted.arrays)
    if fitted.fresh:
        found |= _initialised(model, channels, seed, fitted.fresh)
    return unflatten_dict({name: found[name] for name in wanted}, sep="/")


def init(model: nn.Module, *, channels: int = 3, seed: int = 0) -> Variables:
    """Returns the variables that `model` starts from.

    They are those of `model.init` inside `jax.jit`, but less is compiled (see
    `segjax.initial`). Outside `jit` it gives the same numbers up to rounding, and compiles
    each operation by itself.

    Args:
      model: any network of segjax, or a Linen module `(image b h w c, *, train)`.
      channels: of the images that it takes.
      seed: of the random numbers.

    Raises:
      ValueError: the network refuses its image or its own fields.

    >>> from segjax.models.unet import UNet
    >>> variables = init(UNet(num_classes=2, features=4, depth=1), channels=1)
    >>> sorted(variables)
    ['params']
    """
    init = lambda key: _init(model, channels, key)
    return jax.device_put(initial_state(init, jax.random.key(seed)))


def save(path: str | pathlib.Path, variables: Variables, *, description: str = "") -> None:
    """Writes variables as one `.safetensors` file.

    Its metadata holds the description and a checksum, which `load` verifies. Equal variables
    give equal bytes.
    """
    flat = flatten_dict(dict(variables), sep="/")
    arrays = {name: np.asarray(jax.device_get(a), order="C") for name, a in flat.items()}
    metadata = {"format": "segjax", "description": description}
    write_bytes(path, with_checksum(serialize(arrays), metadata))


def variable_shapes(model: nn.Module, *, channels: int = 3) -> Any:
    """Returns shapes and dtypes of all of a network's variables; nothing is computed.

    Raises:
      ValueError: the network refuses its image or its own fields.
    """
    return jax.eval_shape(lambda: _init(model, channels, jax.random.key(0)))


def flat_shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns {"params/conv1/kernel": shape} of a Flax tree of collections."""
    flat: dict[str, Any] = flatten_dict(dict(variables), sep="/")  # type: ignore[assignment]
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def _incomplete(path: pathlib.Path, model: nn.Module, fitted: Fitted) -> str:
    """Returns the line about a file that leaves variables to the seed."""
    layers = sorted({name.partition("/")[2].partition("/")[0] for name in fitted.fresh})
    return (
        f"{path} does not give all of {type(model).__name__}: {first_of(layers)} would start "
        f"from random numbers ({'; '.join(fitted.notes)}). Name weights of the whole "
        "network, or train it first."
    )


def _initialised(
    model: nn.Module, channels: int, seed: int, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns what the model itself has under these names; the others are never computed."""

    def draw(key: jax.Array) -> dict[str, Any]:
        """Returns the named ones of all variables."""
        flat = flatten_dict(dict(_init(model, channels, key)), sep="/")
        return {name: flat[name] for name in names}

    return initial_state(draw, jax.random.key(seed))


def _init(model: nn.Module, channels: int, key: jax.Array) -> Any:
    image = jnp.zeros((1, *canvas(model, 64, 64), channels))
    return model.init(key, image, train=False)
