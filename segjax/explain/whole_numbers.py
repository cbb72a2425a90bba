"""Whole numbers that a notebook gives to `explain`; for the commands argparse reads them."""

import operator
from typing import Any

from segjax.errors import InputError


def whole_number(name: str, value: Any) -> int:
    """Returns a whole number, of Python's or NumPy's, as Python's.

    >>> whole_number("size", 4)
    4

    Raises:
      InputError: it is another value; the line names the argument.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, got {value!r}.") from None


def whole_numbers(name: str, values: Any, *, example: str) -> tuple[int, ...]:
    """Returns a list's whole numbers.

    Raises:
      InputError: it is another value; the line names the argument and shows the example.
    """
    wrong = InputError(f"{name} must be whole numbers, as in {example}, got {values!r}.")
    if isinstance(values, str):
        raise wrong
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        raise wrong from None
