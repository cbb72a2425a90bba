"""Fields that must lie in a range, refused when their dataclass is built."""

import math
from collections.abc import Callable
from typing import Any

from segjax.errors import InputError


def positive(value: float) -> bool:
    """Returns whether it is a finite number above 0."""
    return 0 < value < math.inf


def not_negative(value: float) -> bool:
    """Returns whether it is a finite number of at least 0."""
    return 0 <= value < math.inf


def below_one(value: float) -> bool:
    """Returns whether it is at least 0 and below 1."""
    return 0 <= value < 1


def check(part: Any, needs: str, fits: Callable[[float], bool], *names: str) -> None:
    """Raises InputError unless each named field of `part` fits or is not a number.

    Types are checked once the whole experiment is known. `needs` says in words what fits.

    Raises:
      InputError: a number does not fit.
    """
    for name in names:
        value = getattr(part, name)
        if isinstance(value, (int, float)) and not fits(value):
            raise InputError(f"{type(part).__name__}: {name}={value} must be {needs}.")
