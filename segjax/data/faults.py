"""Faults of single files: the first one ends a preparation, an audit collects them all."""

import contextlib
import contextvars
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from segjax.errors import InputError


class Fault(InputError):
    """One fault of a file or of a pair of files.

    Attributes:
      kind: a name for faults of its sort, such as "unknown_ids".
      files: where the fault is, the most telling one first.
      pixels: {label id: pixels that have it}, of unknown ids.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        *files: pathlib.Path,
        pixels: Mapping[int, int] | None = None,
    ):
        super().__init__(text)
        self.kind, self.files, self.pixels = kind, files, dict(pixels or {})


_COLLECTED: contextvars.ContextVar[list[Fault] | None] = contextvars.ContextVar(
    "segjax_faults", default=None
)


@contextlib.contextmanager
def collected() -> Iterator[list[Fault]]:
    """Yields a list to which `report` adds faults, within the block and this thread."""
    faults: list[Fault] = []
    token = _COLLECTED.set(faults)
    try:
        yield faults
    finally:
        _COLLECTED.reset(token)


def report(faults: Sequence[Callable[[], Fault]]) -> None:
    """Raises the first fault, with the number of the others; within `collected` adds them all.

    What follows a call must work without the files at fault. Faults are given as functions:
    where only the first is said, no other is worked out.

    Raises:
      InputError: there is a fault, and nothing collects it.
    """
    if not faults:
        return
    into = _COLLECTED.get()
    if into is not None:
        into += [fault() for fault in faults]
        return
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    raise InputError(f"{faults[0]()}{more}")


def raise_first(problems: Sequence[str]) -> None:
    """Raises InputError if there are problems: the first one, and how many more there are.

    Raises:
      InputError: the first problem, and how many more there are.
    """
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
