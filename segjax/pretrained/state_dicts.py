"""The state dicts in a training script's file: nested, several, or in a saved model."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from segjax.errors import InputError
from segjax.pretrained.inert_pickle import Made, Named
from segjax.pretrained.torch_tensors import Tensor, Unread, tensor_of

DEPTH = 8
"""The number of nested levels that are searched."""

StateDict = dict[str, Tensor | np.ndarray | Unread]


def state_dicts(value: Any) -> dict[str, StateDict]:
    """Returns {"checkpoint.state_dict": {name: tensor}} for all containers of tensors.

    A saved model object counts as its state dict.

    Raises:
      InputError: no container has tensors.
    """
    found: dict[str, StateDict] = {}
    _search(value, (), found, {})
    if not found:
        raise InputError(f"it holds no state dict, but {_described(value)}")
    return found


def _search(
    value: Any, keys: tuple[str, ...], found: dict[str, StateDict], seen: dict[int, StateDict]
) -> None:
    """Adds the state dicts in `value` to `found` by key; skips values in `seen`."""
    if len(keys) > DEPTH:
        return
    entries = {} if id(value) in seen else _entries(value)
    if id(value) not in seen:
        tensors = {name: t for name, v in entries.items() if (t := tensor_of(v)) is not None}
        seen[id(value)] = dict(_of_module(value, "", ())) if _is_module(value) else tensors
    if seen[id(value)]:
        found[".".join(keys)] = seen[id(value)]
    if not _is_module(value):
        for name, inner in entries.items():
            if name not in seen[id(value)]:
                _search(inner, (*keys, name), found, seen)


def _entries(value: Any) -> dict[str, Any]:
    """Returns the entries of a mapping, a sequence or an object, by name."""
    if isinstance(value, Mapping):
        return {str(name): inner for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return {str(i): inner for i, inner in enumerate(value)}
    if isinstance(value, Made):
        return _pairs(value) | _state(value) | _entries(value.items) | _entries(value.elements)
    return {}


def _pairs(value: Made) -> dict[str, Any]:
    """Returns the entries that are passed to the constructor of a mapping or a set."""
    match value.maker, value.arguments:
        case Named(_, "OrderedDict" | "dict"), (dict(entries),):
            return _entries(entries)
        case Named(_, "OrderedDict" | "dict"), (list(pairs) | tuple(pairs),):
            return {str(name): inner for name, inner in pairs}
        case Named(_, "set"), (list(elements),):
            return _entries(elements)
    return {}


def _state(value: Made) -> dict[str, Any]:
    """Returns an object's attributes; its state may be a pair, of its dict and its slots."""
    parts = value.state if isinstance(value.state, tuple) else (value.state,)
    merged = {}
    for part in parts:
        if isinstance(part, Mapping):
            merged |= _entries(part)
    return merged


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and {"_parameters", "_modules"} <= _state(value).keys()


def _of_module(
    module: Any, prefix: str, above: tuple[int, ...]
) -> Iterable[tuple[str, Tensor | np.ndarray | Unread]]:
    """Yields (name, tensor) of a module's parameters and buffers, submodules included."""
    if id(module) in above or not _is_module(module):
        return
    state = _state(module)
    left_out = _entries(state.get("_non_persistent_buffers_set")).values()
    for kind in ("_parameters", "_buffers"):
        for name, value in _entries(state.get(kind)).items():
            tensor = tensor_of(value)
            if tensor is not None and name not in left_out:
                yield f"{prefix}{name}", tensor
    for name, inner in _entries(state["_modules"]).items():
        yield from _of_module(inner, f"{prefix}{name}.", (*above, id(module)))


def _described(value: Any) -> str:
    """Returns a short description of a value for a message."""
    if isinstance(value, Made):
        if str(value.maker) not in ("collections.OrderedDict", "builtins.dict"):
            return f"an object of {value.maker}"
        value = _entries(value)
    if isinstance(value, Named):
        return f"the name {value}"
    if isinstance(value, Mapping) and value:
        shown = ", ".join(map(repr, list(value)[:5]))
        return f"a dict without tensors; its keys are {shown}"
    return f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"
