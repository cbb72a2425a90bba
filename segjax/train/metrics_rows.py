"""Reading `metrics.jsonl`: every row that is whole, and what is not."""

import json
import pathlib
from typing import Any, NamedTuple

from segjax.errors import first_of


class MetricsRows(NamedTuple):
    """The content of a file of rows.

    Attributes:
      rows: one mapping from names to numbers a row, each with its integer `step`.
      damaged: numbers of the lines that are not rows, from 1.
      torn: whether the last line lacks its end, as after a kill; it is not among `damaged`.
    """

    rows: list[dict[str, Any]]
    damaged: list[int]
    torn: bool

    def fault(self) -> str:
        """Returns which lines are damaged, in words; "" if none is."""
        if not self.damaged:
            return ""
        lines = "line" if len(self.damaged) == 1 else "lines"
        return f"{lines} {first_of([str(number) for number in self.damaged])}"


def read_rows(path: pathlib.Path) -> MetricsRows:
    """Returns the rows of a file; without the file there are none.

    Raises:
      OSError: the file cannot be read.
    """
    if not path.is_file():
        return MetricsRows([], [], torn=False)
    *lines, last = path.read_bytes().split(b"\n")
    rows, damaged = [], []
    for number, line in enumerate([*lines, last] if last else lines, start=1):
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif number <= len(lines):
            damaged.append(number)
    return MetricsRows(rows, damaged, torn=bool(last) and _row(last) is None)


def _row(line: bytes) -> dict[str, Any] | None:
    """Returns the row of a line, or None."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    plain = all(isinstance(value, int | float | str | None) for value in row.values())
    return row if plain else None
