"""The state dicts in a training script's file: nested, several, or in a saved model."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from segjax.errors import InputError
from segjax.pretrained.bounds import MOST_VALUES, Steps
from segjax.pretrained.inert_pickle import Made, Named
from segjax.pretrained.torch_tensors import Tensor, Unread, tensor_of

DEPTH = 8
"""The number of nested levels that are searched."""

MODULES = 64
"""The number of modules within one another that are read."""

LONGEST_NAME = 256
"""Characters of a name; further ones are left out."""

_CONTAINERS = (Mapping, list, tuple, Made)

StateDict = dict[str, Tensor | np.ndarray | Unread]


def state_dicts(value: Any, *, size: int = 0) -> dict[str, StateDict]:
    """Returns {"checkpoint.state_dict": {name: tensor}} for all containers of tensors.

    A saved model object counts as its state dict. `size` is the file's number of bytes.

    Raises:
      InputError: no container has tensors, or its values contain one another too often.
    """
    search = _Search(size)
    search.below(value, ())
    if not search.found:
        raise InputError(f"it holds no state dict, but {_described(value)}")
    return search.found


class _Search:
    """A walk over the values of a pickle that looks into each of them once."""

    def __init__(self, size: int):
        self.found: dict[str, StateDict] = {}
        self._seen: dict[int, StateDict] = {}
        self._tensors: dict[int, Tensor | np.ndarray | Unread | None] = {}
        self._steps = Steps(MOST_VALUES + size // 4, "values")

    def below(self, value: Any, keys: tuple[str, ...]) -> None:
        """Adds the state dicts in `value` to `found` by key."""
        if len(keys) > DEPTH or not isinstance(value, _CONTAINERS):
            return
        is_new = id(value) not in self._seen
        if is_new:
            self._seen[id(value)] = {}  # A value may contain itself.
            entries = self._entries(value)
            is_module = self._is_module(value)
            tensors = self._of_module(value, "", ()) if is_module else self._named(entries)
            self._seen[id(value)] = dict(tensors)
            for name, inner in () if is_module else entries.items():
                if name not in self._seen[id(value)]:
                    self.below(inner, (*keys, name))
        if self._seen[id(value)]:
            self.found[".".join(keys)] = self._seen[id(value)]

    def _tensor(self, value: Any) -> Tensor | np.ndarray | Unread | None:
        """Returns a value as a tensor, made once."""
        if id(value) not in self._tensors:
            self._tensors[id(value)] = tensor_of(value)
        return self._tensors[id(value)]

    def _named(self, entries: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        """Yields (name, tensor) of the entries that are tensors."""
        for name, value in entries.items():
            if (tensor := self._tensor(value)) is not None:
                yield name, tensor

    def _entries(self, value: Any) -> dict[str, Any]:
        """Returns the entries of a mapping, a sequence or an object, by name."""
        if isinstance(value, Mapping):
            self._steps.take(1 + len(value))
            return {_name(name): inner for name, inner in value.items()}
        if isinstance(value, list | tuple):
            self._steps.take(1 + len(value))
            return {str(i): inner for i, inner in enumerate(value)}
        if isinstance(value, Made):
            others = self._entries(value.items) | self._entries(value.elements)
            return self._pairs(value) | self._state(value) | others
        return {}

    def _pairs(self, value: Made) -> dict[str, Any]:
        """Returns the entries that are passed to the constructor of a mapping or a set."""
        match value.maker, value.arguments:
            case Named(_, "OrderedDict" | "dict"), (dict(entries),):
                return self._entries(entries)
            case Named(_, "OrderedDict" | "dict"), (list(pairs) | tuple(pairs),):
                self._steps.take(len(pairs))
                return {_name(name): inner for name, inner in pairs}
            case Named(_, "set"), (list(elements),):
                return self._entries(elements)
        return {}

    def _state(self, value: Made) -> dict[str, Any]:
        """Returns an object's attributes; its state may be a pair, of its dict and slots."""
        parts = value.state if isinstance(value.state, tuple) else (value.state,)
        merged = {}
        for part in parts[:2]:
            if isinstance(part, Mapping):
                merged |= self._entries(part)
        return merged

    def _is_module(self, value: Any) -> bool:
        return isinstance(value, Made) and {"_parameters", "_modules"} <= {*self._state(value)}

    def _of_module(
        self, module: Any, prefix: str, above: tuple[int, ...]
    ) -> Iterable[tuple[str, Tensor | np.ndarray | Unread]]:
        """Yields (name, tensor) of a module's parameters and buffers, with submodules."""
        if id(module) in above or len(above) > MODULES or not self._is_module(module):
            return
        state = self._state(module)
        left_out = [*self._entries(state.get("_non_persistent_buffers_set")).values()]
        for kind in ("_parameters", "_buffers"):
            for name, tensor in self._named(self._entries(state.get(kind))):
                if name not in left_out:
                    yield f"{prefix}{name}", tensor
        for name, inner in self._entries(state["_modules"]).items():
            yield from self._of_module(inner, f"{prefix}{name}.", (*above, id(module)))


def _name(key: Any) -> str:
    """Returns a key as text, cut where no name of an array is so long."""
    return str(key[:LONGEST_NAME] if isinstance(key, str | bytes) else key)[:LONGEST_NAME]


def _described(value: Any) -> str:
    """Returns a short description of a value for a message."""
    if isinstance(value, Made):
        if str(value.maker) not in ("collections.OrderedDict", "builtins.dict"):
            return str(value)
        value = _Search(0)._entries(value)
    if isinstance(value, Named):
        return f"the name {value}"
    if isinstance(value, Mapping) and value:
        shown = ", ".join(map(repr, list(value)[:5]))
        return f"a dict without tensors; its keys are {shown}"
    return f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"
