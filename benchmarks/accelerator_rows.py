"""Result rows as JSON lines, and the clock that ends a measurement in time."""

import json
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]
KEYS = ("card", "tiny")
"""What must be equal for a row of one machine to do for another."""


def read(path: pathlib.Path) -> list[Row]:
    """Returns the rows of a file; a last line that was cut off in the middle is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def is_settled(row: Row) -> bool:
    """Whether a row need not be measured again: no error in it, but for memory too small."""
    answers = [row, *(value for value in row.values() if isinstance(value, dict))]
    errors = (answer.get("error") for answer in answers)
    return all(not isinstance(e, str) or e == "out of memory" for e in errors)


class Rows:
    """The rows of a measurement, appended to a file as they come.

    `done` names files of earlier ones: what they hold is not measured again, if it was
    measured on the same `machine` (card, tiny settings or not) and without an error.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        done: Iterable[pathlib.Path] = (),
        machine: Mapping[str, Any] | None = None,
    ):
        self.path, self._machine = path, dict(machine or {})
        path.parent.mkdir(parents=True, exist_ok=True)
        own = read(path) if path.is_file() else []
        # Written anew, or the next row would continue a line that was cut off.
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text("".join(_line(row) for row in own), encoding="utf-8")
        os.replace(partial, path)
        self.rows = own + [row for file in done for row in read(file)]

    def __contains__(self, key: tuple[str, str]) -> bool:
        return self.find(*key) is not None

    def find(self, stage: str, name: str) -> Row | None:
        """Returns the settled row of that name and machine, or None."""
        for row in self.rows:
            alike = all(row.get(key) == self._machine.get(key) for key in KEYS)
            if (row["stage"], row["name"]) == (stage, name) and alike and is_settled(row):
                return row
        return None

    def write(self, stage: str, name: str, values: Mapping[str, Any]) -> None:
        """Appends a row; it is on the disk when this returns."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        row = {"stage": stage, "name": name, "at": at, **values, **self._machine}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


class TimeOver(Exception):
    """The time of a stage is over; the row in hand is measured when the command runs again."""


class Clock:
    """Counts down the time of a measurement, or of a stage."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; negative when it is over."""
        return self._end - time.monotonic()
