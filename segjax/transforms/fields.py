"""Checks of the fields of transforms, made when a transform is constructed."""

import math
import numbers
from typing import Any

from segjax.contracts import IGNORE
from segjax.errors import InputError


def check_probability(transform: Any) -> None:
    """Raises InputError unless the field `probability` is a number from 0 to 1."""
    check_number(transform, "probability", 0, most=1)


def check_number(transform: Any, name: str, least: float, *, most: float = math.inf) -> None:
    """Raises InputError unless a field is a finite number from `least` to `most`."""
    value = getattr(transform, name)
    if not is_number(value) or not least <= value <= most:
        raise InputError(
            f"{type(transform).__name__} needs {name} {_limits(least, most)}, got {value!r}."
        )


def check_count(transform: Any, name: str, least: int, *, most: float = math.inf) -> None:
    """Raises InputError unless a field is a whole number from `least` to `most`."""
    value = getattr(transform, name)
    if not is_count(value) or not least <= value <= most:
        raise InputError(
            f"{type(transform).__name__} needs a whole number {name} {_limits(least, most)}, "
            f"got {value!r}."
        )


def check_range(transform: Any, name: str, least: float, *, most: float = math.inf) -> None:
    """Raises InputError unless a field is (low, high), with least <= low <= high <= most."""
    value = getattr(transform, name)
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value))
    if not is_pair or not least <= value[0] <= value[1] <= most:
        raise InputError(
            f"{type(transform).__name__} needs {name} as (low, high), both "
            f"{_limits(least, most)}, got {value!r}."
        )


def check_flag(transform: Any, name: str) -> None:
    """Raises InputError unless a field is True or False."""
    value = getattr(transform, name)
    if not isinstance(value, bool):
        raise InputError(
            f"{type(transform).__name__} needs {name}, True or False, got {value!r}."
        )


def check_scales(transform: Any) -> None:
    """Raises InputError unless `minimum` and `maximum` are finite, 0 < minimum <= maximum."""
    low, high = transform.minimum, transform.maximum
    if not is_number(low) or not is_number(high) or not 0 < low <= high:
        raise InputError(
            f"{type(transform).__name__} needs 0 < minimum <= maximum, got {low!r} and "
            f"{high!r}."
        )


def check_step(transform: Any) -> None:
    """Raises InputError unless the field `step` is None or a finite number above 0."""
    step = transform.step
    if step is not None and (not is_number(step) or step <= 0):
        raise InputError(f"{type(transform).__name__} needs step > 0 or None, got {step!r}.")


def check_classes(transform: Any) -> None:
    """Raises InputError unless the field `classes` is a tuple of one or more class ids."""
    value = transform.classes
    is_tuple = isinstance(value, tuple) and len(value) > 0
    if not is_tuple or not all(is_count(item) and item >= 0 for item in value):
        raise InputError(
            f"{type(transform).__name__} needs classes, a tuple of class ids such as (1, 2), "
            f"got {value!r}."
        )
    if IGNORE in value:
        raise InputError(
            f"{type(transform).__name__} has the class {IGNORE}, which marks ignored pixels: "
            f"leave it out of classes={value!r}."
        )


def pair_of(size: Any, name: str) -> tuple[int, int]:
    """Returns (height, width) of a size that is one number or a pair.

    Raises:
      InputError: the size is neither; the line names the transform `name`.
    """
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2 or not all(is_count(side) and side > 0 for side in pair):
        raise InputError(
            f"{name} needs size: one positive integer or (height, width), got {size!r}."
        )
    return pair


def is_count(value: Any) -> bool:
    """Returns whether a value is a Python integer and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite real number and not a bool."""
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _limits(least: float, most: float) -> str:
    return f">= {least}" if most == math.inf else f"in {least} ... {most}"
