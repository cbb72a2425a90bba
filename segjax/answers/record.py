"""What made the files of an output folder, so that what is finished need not be made again."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from segjax.answers.outputs import Output
from segjax.train.workdir import write_text

RECORD = "predictions.json"


class Record:
    """`predictions.json`: the run, its step and predictor, and the settings of each output.

    A file is finished if it is newer than its source and than the record: the record is
    written anew whenever it changes, so that all that others made is older.
    """

    def __init__(
        self, out: pathlib.Path, made_by: Mapping[str, Any], outputs: Sequence[Output]
    ):
        self._path = out / RECORD
        settings = {type(kind).__name__: repr(kind) for kind in outputs}
        self._contents = {**made_by, "outputs": settings}

    def begin(self) -> str | None:
        """Writes the record unless it stands; returns what an older one says differently."""
        older = _read(self._path)
        differs = None if older is None else _difference(older, self._contents)
        if older is None or differs is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps(self._contents, indent=1) + "\n")
        self._since = self._path.stat().st_mtime_ns
        return differs

    def finished(self, source: pathlib.Path, files: Sequence[pathlib.Path]) -> bool:
        """Whether all files of a source are there, made by this record from what it is now."""
        try:
            since = max(self._since, source.stat().st_mtime_ns)
            return all(path.stat().st_mtime_ns > since for path in files)
        except FileNotFoundError:
            return False


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """The record that is there; an empty one, unlike any other, where it is broken."""
    try:
        contents = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return contents if isinstance(contents, dict) else {}


def _difference(older: dict[str, Any], newer: dict[str, Any]) -> str | None:
    """The first entry that differs, in words; fewer outputs than before are no difference."""
    had, asked = _flat(older), _flat(newer)
    for name, here in asked.items():
        if had.get(name) != here:
            return f"{name} is {_short(had.get(name))} there and {_short(here)} here"
    return None


def _flat(contents: dict[str, Any]) -> dict[str, Any]:
    outputs = contents.get("outputs")
    return contents | (outputs if isinstance(outputs, dict) else {}) | {"outputs": None}


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
