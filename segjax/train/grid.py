"""Grids of overrides: `--grid rate=0.1,0.01` makes a variant of an experiment for each value.

A variant is named by its own values alone, so a value that is added later renames no other.
"""

import ast
import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from segjax.description import describe_lines
from segjax.errors import InputError
from segjax.experiment import Experiment, override

LONGEST = 100
"""Characters of a variant's name; what is longer is cut, and ends in a hash."""

LONGEST_VALUE = 40

MOST = 4096
"""Variants of a grid."""

_CLOSING = {")": "(", "]": "[", "}": "{"}
_OTHERS = ("none", "true", "false", "inf", "nan")
"""Words that a value which is not a string may be named by."""


class Axis(NamedTuple):
    """One `--grid`: a field and the texts of its values."""

    path: str
    values: tuple[str, ...]


class GridVariant(NamedTuple):
    """A point of a grid: its name, and the overrides that make it, without the name's."""

    name: str
    settings: tuple[str, ...]


def parsed_axis(text: str) -> Axis:
    """Returns the field and the values of a `--grid`.

    >>> parsed_axis("model.rates=(1,1,1), (1,2,4)")
    Axis(path='model.rates', values=('(1,1,1)', '(1,2,4)'))

    Raises:
      InputError: no `=`, no values, an empty value, or a bracket or quote that is not closed.
    """
    path, equals, listed = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise InputError(
            f"--grid {text}: write it as FIELD=VALUE,VALUE, for example model.features=8,16."
        )
    values = tuple(split_values(listed, option=f"--grid {text}"))
    if "" in values:
        raise InputError(
            f"--grid {text}: value {values.index('') + 1} is empty; put one comma between two "
            "values and none at the end."
        )
    return Axis(path, values)


def split_values(text: str, *, option: str) -> list[str]:
    """Returns what stands between the commas that are in no bracket and no quotes, stripped.

    Raises:
      InputError: a bracket or a quote has no partner; `option` begins the message.
    """
    parts, opened, quote, escaped = [""], "", "", False
    for letter in text:
        if not quote and not opened and letter == ",":
            parts.append("")
            continue
        parts[-1] += letter
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            opened += letter
        elif letter in _CLOSING:
            if opened[-1:] != _CLOSING[letter]:
                raise InputError(f"{option}: {letter!r} closes nothing; mend the brackets.")
            opened = opened[:-1]
    if quote or opened:
        what = quote or opened[-1]
        raise InputError(f"{option}: {what!r} is not closed; mend the brackets and quotes.")
    return [part.strip() for part in parts]


def parsed_grid(texts: Sequence[str], *, settings: Sequence[str] = ()) -> list[Axis]:
    """Returns the axes of all `--grid` options of a command.

    Raises:
      InputError: one is malformed, two would change the same field, `--set` changes a field
        that a grid replaces, or they stand for too many variants.
    """
    axes = [parsed_axis(text) for text in texts]
    earlier = [("--set", setting.partition("=")[0].strip()) for setting in settings]
    for axis in axes:
        if axis.path == "seed":
            raise InputError(
                f"--grid seed={','.join(axis.values)}: use --seeds {','.join(axis.values)}."
            )
        if axis.path == "name":
            raise InputError("--grid name: names are made from the values; leave it out.")
        for option, path in earlier:
            if path == axis.path:
                raise InputError(
                    f"--grid {axis.path}: {option} changes this field too; give all its values "
                    "in one --grid."
                )
            if path.startswith(f"{axis.path}."):
                raise InputError(
                    f"--grid {axis.path} replaces what {option} {path} has changed; "
                    + (
                        f"give --grid {axis.path} first."
                        if option == "--grid"
                        else "leave one of them out."
                    )
                )
        earlier.append(("--grid", axis.path))
    if (count := math.prod(len(axis.values) for axis in axes)) > MOST:
        raise InputError(f"--grid: these are {count:,} variants; the most are {MOST:,}.")
    return axes


def grid_variants(experiment: Experiment, axes: Sequence[Axis]) -> list[GridVariant]:
    """Returns every combination of the values, the last axis varying fastest.

    The names are those of a folder: `rates_1_2_4-rate_0.1`.

    Raises:
      InputError: an experiment has no such field, a value has the wrong type, or two values of
        an axis are equal.
    """
    _check_distinct(experiment, axes)
    heads = dict(zip([axis.path for axis in axes], _heads(axes), strict=True))
    found = []
    for values in itertools.product(*(axis.values for axis in axes)):
        changed, names, settings = experiment, [], []
        for axis, text in zip(axes, values, strict=True):
            changed = _with_value(changed, axis.path, text)
            value = value_at(changed, axis.path)
            names.append(f"{heads[axis.path]}_{value_name(value, text)}")
            settings.append(f"{axis.path}={text}")
        found.append(GridVariant(_shortened("-".join(names)), tuple(settings)))
    return found


def _check_distinct(experiment: Experiment, axes: Sequence[Axis]) -> None:
    """Raises InputError if two values of an axis are equal once they are read."""
    for axis in axes:
        seen: dict[str, str] = {}
        for text in axis.values:
            changed = _with_value(experiment, axis.path, text)
            said = _said(value_at(changed, axis.path))
            if said in seen:
                raise InputError(
                    f"--grid {axis.path}: the values {seen[said]} and {text} are equal; leave "
                    "one of them out."
                )
            seen[said] = text
        # Where a later field belongs to this one, it is looked up in the first value.
        experiment = _with_value(experiment, axis.path, axis.values[0])


def _with_value(experiment: Experiment, path: str, text: str) -> Experiment:
    try:
        return override(experiment, f"{path}={text}")
    except InputError as error:
        told = str(error).replace("--set", "--grid", 1)
        if "expected tuple" in told and not text.startswith(("(", "[")):
            told = f"{told.removesuffix('.')}; put brackets round each tuple: {path}=(…),(…)."
        raise InputError(told) from error


def value_at(value: Any, path: str) -> Any:
    """Returns the part of an experiment at a path such as "transforms.1.size", which exists."""
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, (tuple, list)) else getattr(value, key)
    return value


def _said(value: Any) -> str:
    """Returns a text that is the same for equal values, also for 1 and 1.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_said, value))})"
    return "\n".join(describe_lines(value, path="value"))


def _heads(axes: Sequence[Axis]) -> list[str]:
    """Returns the shortest end of each path that belongs to no other path."""
    paths = [axis.path.split(".") for axis in axes]
    heads = []
    for path in paths:
        others = [other for other in paths if other is not path]
        most = len(path)
        count = next(
            n
            for n in range(1, most + 1)
            if n == most
            or (not path[-n].isdigit() and all(other[-n:] != path[-n:] for other in others))
        )
        heads.append(".".join(path[-count:]))
    return heads


def value_name(value: Any, text: str) -> str:
    """Returns a value as a part of a folder's name; different values have different ones.

    Numbers, tuples of numbers and lower-case words are written out. Everything else is written
    as far as a folder's name allows, and ends in a hash of its text.

    >>> value_name((1, 2, 4), "(1,2,4)"), value_name(1e-05, "0.00001"), value_name(None, "None")
    ('1_2_4', '1e-05', 'None')
    """
    if _is_plain(value):
        return _plain(value)
    if isinstance(value, tuple) and len(value) > 1 and all(map(_is_number, value)):
        name = "_".join(map(_plain, value))
        if len(name) <= LONGEST_VALUE:
            return name
    literal = value is None or isinstance(value, (str, int, float, tuple, list, bytes))
    canonical = repr(value) if literal else _one_spelling(text)
    # The package of a name says little: segjax.backbones.resnet.ResNet18 → ResNet18.
    bare = re.sub(r"(?:\b[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", canonical)
    name = re.sub(r"[^\w.]+", "_", bare, flags=re.ASCII).strip("_.")[:LONGEST_VALUE]
    return f"{name}-{_hash(canonical)}" if name else _hash(canonical)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    is_word = isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9]{0,39}", value)
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (is_word is not None and value not in _OTHERS and bool(is_word))
    )


def _plain(value: Any) -> str:
    return str(value).replace("+", "")  # 1e+20


def _one_spelling(text: str) -> str:
    try:
        return ast.unparse(ast.parse(text, mode="eval"))
    except SyntaxError:
        return text


def _shortened(name: str) -> str:
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 7].rstrip('. ')}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
