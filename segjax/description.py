"""Experiments as lines `path = value`, and `--set path=value`, which changes one.

A path names a field by dots and a tuple's item by its index: `model.backbone.output_stride`,
`transforms.1.size`. Everything that decides a run is a literal, a frozen dataclass (Linen
modules are dataclasses too) or a named function, so the lines describe it completely.
"""

import ast
import dataclasses
import difflib
import functools
import importlib.util
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flax.linen as nn

from segjax.conformity import lacking, missing, protocol_members
from segjax.errors import InputError
from segjax.literals import folded, shortened, spread

_LITERALS = (type(None), bool, int, float, str, bytes)


WIDTH = 96
"""The number of characters in a line of a shortened description, without its path."""


def describe_lines(value: Any, *, path: str = "", short: bool = False) -> Iterator[str]:
    """Yields lines `path = value`, in the order of the fields, for everything below `value`.

    With `short`, long tuples are shortened and folded, in a form that `replace_at` can read.
    The short description is for people, the full one for comparisons.
    """
    children = list(_children(value))
    if children:
        if path and not isinstance(value, (tuple, list)):
            yield f"{path} = {_dotted(type(value))}"
        for key, child in children:
            below = f"{path}.{key}" if path else key
            yield from describe_lines(child, path=below, short=short)
    elif short and _is_literal(value):
        yield f"{path} = {folded(value, width=WIDTH)}"
    else:
        yield f"{path} = {_leaf(value)}"


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Returns (name, value) of fields and items; nothing for values printed on one line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((name, getattr(value, name)) for name in fields(value))
    elif isinstance(value, (tuple, list)) and not _is_literal(value):
        yield from ((str(index), item) for index, item in enumerate(value))


def fields(value: Any) -> list[str]:
    """Returns the names of a dataclass's fields, without Linen's `parent` and `name`."""
    hidden = ("parent", "name") if isinstance(value, nn.Module) else ()
    return [f.name for f in dataclasses.fields(value) if f.init and f.name not in hidden]


def _is_literal(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_literal(item) for item in value)
    return isinstance(value, _LITERALS)


def _leaf(value: Any) -> str:
    if _is_literal(value):
        return repr(value)
    if isinstance(value, functools.partial):
        positional = "".join(f", {_leaf(v)}" for v in value.args)
        keywords = "".join(f", {k}={_leaf(v)}" for k, v in value.keywords.items())
        return f"functools.partial({_leaf(value.func)}{positional}{keywords})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{_dotted(type(value))}()"
    if hasattr(value, "__qualname__") or hasattr(value, "__name__"):
        return _dotted(value)
    return repr(value)


def written(value: Any) -> str:
    """Returns a value as Python writes it on one line, functions by their dotted names.

    >>> written((True, ast.parse))
    '(True, ast.parse)'
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = (f"{name}={written(getattr(value, name))}" for name in fields(value))
        return f"{type(value).__qualname__}({', '.join(given)})"
    if isinstance(value, tuple) and not _is_literal(value):
        return f"({', '.join(map(written, value))}{',' * (len(value) == 1)})"
    return _leaf(value)


def _brief(value: Any) -> str:
    """Returns the text of a value, shortened to fit a message."""
    text = shortened(value, width=WIDTH) if _is_literal(value) else _leaf(value)
    return text if len(text) <= 2 * WIDTH else f"{text[:WIDTH]} …"


def _dotted(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or value.__name__
    return f"{getattr(value, '__module__', '?')}.{name}"


def replace_at(value: Any, path: str, text: str) -> Any:
    """Returns a copy of `value` with the field at `path` set to the value that `text` means.

    Args:
      value: a dataclass, tuple or mapping, at any depth of nesting.
      path: "model.rates", "transforms.1.size".
      text: a Python literal, a tuple without its brackets ("1,2,5"), a dotted name that is
        imported and may be called with such arguments, or a string without quotes. In a tuple
        `*range(…)`, `*zip(range(…), …)` and `*(x,) * n` stand for their items.

    Raises:
      InputError: there is no such field (the message lists similar names), or the value has the
        wrong type, or the class refuses it.
    """
    return _replace(value, path.split("."), text, path)


def _replace(value: Any, keys: list[str], text: str, path: str) -> Any:
    key, rest = keys[0], keys[1:]
    if isinstance(value, (tuple, list)):
        index = _index(key, len(value), path)
        item = _replace(value[index], rest, text, path) if rest else _parse(text, Any, path)
        return type(value)([*value[:index], item, *value[index + 1 :]])
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        at = path.rsplit("." + ".".join(keys), 1)[0]
        raise InputError(f"--set {path}: {at} is {_leaf(value)}, which has no field {key!r}.")
    names = fields(value)
    if key not in names:
        near = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
        raise InputError(
            f"--set {path}: {type(value).__name__} has no field {key!r}; "
            f"{'near' if near else 'fields'}: {', '.join(near or names)}."
        )
    hint = hints(type(value)).get(key, Any)
    old = getattr(value, key)
    new = _replace(old, rest, text, path) if rest else _parse(text, hint, path)
    try:
        return replace(value, **{key: new})
    except (TypeError, ValueError) as error:
        raise InputError(f"--set {path}={text}: {error}") from error


def replace(value: Any, /, **changes: Any) -> Any:
    """Returns a copy of a dataclass or Linen module with the given fields changed."""
    return (
        value.clone(**changes)
        if isinstance(value, nn.Module)
        else dataclasses.replace(value, **changes)
    )


def _index(key: str, length: int, path: str) -> int:
    if not key.isdigit() or int(key) >= length:
        raise InputError(
            f"--set {path}: {key!r} is not an index of {length} items, 0 to {length - 1}."
        )
    return int(key)


def _parse(text: str, hint: Any, path: str) -> Any:
    """Returns the value that `text` means, of the type that `hint` requires."""
    remedy = ""
    try:
        value = _Evaluator(text.strip()).value()
    except SyntaxError:
        value, remedy = text, " Quote the strings in a call." if "(" in text else ""
    except _NoValue:
        value = text
    except InputError as error:
        # A folder may have the name of a module: test.v2.
        if hint is Any or not matches_type(text, hint):
            raise InputError(f"--set {path}={text}: {error}") from error
        value = text
    for candidate in (value, _converted(value), text):
        if matches_type(candidate, hint):
            return candidate
    raise InputError(
        f"--set {path}={text}: expected {type_name(hint)}, got {_brief(value)}.{remedy}"
    )


def _converted(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class _NoValue(Exception):
    """The error that a text is not an expression of `--set` but a plain string."""


class _Evaluator:
    """The evaluator of `--set`: literals, tuples, dotted names, and calls of such names."""

    def __init__(self, text: str):
        self._text = text

    def value(self) -> Any:
        """Returns the value of the text.

        Raises:
          InputError: a module has no such name, or a call fails.
        """
        return self._of(ast.parse(self._text, mode="eval").body)

    def _of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Tuple():
                return tuple(self._items(node.elts))
            case ast.List():
                return list(self._items(node.elts))
            case ast.UnaryOp(
                op=ast.USub(), operand=ast.Constant(value=int() | float() as number)
            ):
                return -number
            case ast.Attribute():
                return _imported(ast.unparse(node))
            case ast.Call():
                return self._called(node)
        raise _NoValue

    def _items(self, nodes: Iterable[ast.expr]) -> Iterator[Any]:
        for node in nodes:
            if not isinstance(node, ast.Starred):
                yield self._of(node)
            elif (several := spread(node.value, self._of)) is not None:
                yield from several
            else:
                raise _NoValue

    def _called(self, node: ast.Call) -> Any:
        function = self._of(node.func)
        arguments = [self._argument(a) for a in node.args]
        keywords = {k.arg: self._argument(k.value) for k in node.keywords if k.arg}
        try:
            return function(*arguments, **keywords)
        except (TypeError, ValueError) as error:
            raise InputError(f"{ast.unparse(node.func)}: {error}") from error

    def _argument(self, node: ast.expr) -> Any:
        """Returns an argument of a call; a text that is not a value, such as runs/a, as is."""
        try:
            return self._of(node)
        except _NoValue:
            return ast.get_source_segment(self._text, node)


def _imported(name: str) -> Any:
    parts = name.split(".")
    if importlib.util.find_spec(parts[0]) is None:
        raise _NoValue
    for cut in range(len(parts) - 1, 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(value, part):
                near = difflib.get_close_matches(part, dir(value), n=3, cutoff=0.5)
                hint = f"; near: {', '.join(near)}" if near else ""
                raise InputError(f"{'.'.join(parts[:cut])} has no {part!r}{hint}.")
            value = getattr(value, part)
        return value
    raise InputError(f"there is no module {name!r}.")


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """Returns the resolved annotations of a dataclass; {} if they cannot be resolved."""
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}


def matches_type(value: Any, hint: Any) -> bool:
    """Returns whether `value` has the annotated type; True if the annotation is too vague."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, (str, typing.TypeVar)):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(matches_type(value, option) for option in arguments)
    if origin is typing.Annotated:
        return matches_type(value, arguments[0])
    if origin is typing.Literal:
        return value in arguments
    if origin in (Callable, typing.get_origin(Callable[..., Any])):
        return callable(value)
    if origin is tuple:
        return _matches_tuple(value, arguments)
    if origin is not None:
        return _is_instance(value, origin)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return _is_instance(value, hint)


def _matches_tuple(value: Any, arguments: tuple) -> bool:
    if not isinstance(value, tuple):
        return False
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return all(matches_type(item, arguments[0]) for item in value)
    return len(value) == len(arguments) and all(map(matches_type, value, arguments))


def _is_instance(value: Any, cls: Any) -> bool:
    if not isinstance(cls, type):
        return True
    if getattr(cls, "_is_protocol", False):
        # isinstance would evaluate the properties, and a dataset's may read files.
        return not missing(value, cls)
    return isinstance(value, cls)


def type_name(hint: Any) -> str:
    """Returns an annotation as text for a message."""
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _mismatch(value: Any, hint: Any) -> str:
    """Returns what is wrong with a value, and what to write if it lacks part of a contract."""
    is_protocol = getattr(hint, "_is_protocol", False)
    is_uncalled = isinstance(value, type | functools.partial)
    if is_protocol and (is_uncalled or len(missing(value, hint)) < len(protocol_members(hint))):
        return str(lacking(value, hint))
    return f"expected {type_name(hint)}, got {_brief(value)}"


def wrong_types(value: Any, *, path: str = "") -> Iterator[str]:
    """Yields a sentence for each field, at any depth, with a wrong type or without a name.

    Two different lambdas or addresses may print alike, so that one run could resume the other.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        annotated = hints(type(value))
        for name in fields(value):
            item, hint = getattr(value, name), annotated.get(name, Any)
            if not matches_type(item, hint):
                yield f"{path}{name}: {_mismatch(item, hint)}"
            for unnamed in _unnamed(item):
                yield (
                    f"{path}{name}: {unnamed} has no name to describe it by; use a "
                    "function or a frozen dataclass of a module"
                )
    for key, child in _children(value):
        yield from wrong_types(child, path=f"{path}{key}.")


def _unnamed(value: Any) -> Iterator[str]:
    """Yields the text of a value, or of each item of a tuple, that says no name of a module."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _unnamed(item)
    elif any(mark in _leaf(value) for mark in ("<lambda>", "<locals>", " at 0x")):
        yield _leaf(value)
