"""What made each file of an output folder, and of which source: the finished is not remade.

`predictions.json` tells a reader what the last command was. The command itself goes by
`predictions.jsonl`: a line for each image, appended before its files take their names, so that
one that is killed at any moment goes on where it was.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from segjax.atomic import write_text
from segjax.errors import InputError
from segjax.outputs.kinds import Output

RECORD = "predictions.json"
LINES = "predictions.jsonl"
FIRST_LINE = '{"written by": "python -m segjax.predict", "version": 1}\n'

Stamp = tuple[int, int]
"""A file's size in bytes and when it was changed, in ns; of a folder the sum and the latest."""

Origin = tuple[str, int, int, int, int]
"""A source's resolved path, size, times of modification and of change (ns), and inode.

No program can set the time of change back, so a source that is written anew is seen even where
its size and time of modification stay.
"""


class Made(NamedTuple):
    """What a line says of a file: its source, what made it, and its stamp then."""

    origin: Origin
    key: str
    stamp: Stamp


class Record:
    """The two files of an output folder; reading them writes nothing.

    Raises:
      InputError: files of these names are there that this command did not write.
    """

    def __init__(self, out: pathlib.Path):
        self._out, self._lines = out, out / LINES
        self._made: dict[str, Made] = {}
        self._older: dict[str, set[Stamp]] = {}
        self._lists: set[str] = set()
        self._made_by = ""
        self._torn = False
        self._read()

    def begin(self, made_by: Mapping[str, Any], outputs: Sequence[Output]) -> str | None:
        """Says in the folder what makes its files now; returns what was said otherwise.

        Kinds of outputs that were not asked for before are no difference, nor are fewer.
        """
        self._made_by = json.dumps(made_by, sort_keys=True)
        older = _contents(self._out / RECORD)
        asked = {type(kind).__name__: repr(kind) for kind in outputs}
        had = older.get("outputs")
        had = had if isinstance(had, dict) else {}
        differs = _difference(older, made_by) if older else None
        if differs is not None:
            differs, had = f"{differs}: all files are made again", {}
        elif (
            other := _difference(had, {k: v for k, v in asked.items() if k in had})
        ) is not None:
            differs = f"{other}: these files are made again"
        self._out.mkdir(parents=True, exist_ok=True)
        if not self._lines.exists():
            write_text(self._lines, FIRST_LINE)
        contents = {**made_by, "outputs": {**had, **asked}}
        write_text(self._out / RECORD, json.dumps(contents, indent=1) + "\n")
        return differs

    def accounts(self, path: pathlib.Path) -> bool:
        """Returns whether this command wrote the file, or was about to."""
        name = self._name(path)
        return name in self._made or name in self._lists

    def finished(self, path: pathlib.Path, kind: Output, origin: Origin) -> bool:
        """Returns whether the file is there, made as now and from what its source is now."""
        made = self._made.get(self._name(path))
        if made is None or (made.origin, made.key) != (origin, self._key(kind)):
            return False
        there = stamp(path)
        # After a kill between line and rename it is still the one before.
        stale = there != made.stamp and there in self._older.get(self._name(path), ())
        return there is not None and not stale

    def changed(self, path: pathlib.Path) -> bool:
        """Returns whether the file is there, and is none that this command wrote."""
        there, name = stamp(path), self._name(path)
        if there is None or name not in self._made:
            return there is not None
        return there != self._made[name].stamp and there not in self._older.get(name, ())

    def add(
        self, origin: Origin, files: Iterable[tuple[pathlib.Path, Output, pathlib.Path]]
    ) -> None:
        """Notes an image's files, each with its kind and the path that it is renamed from."""
        made = {}
        for path, kind, partial in files:
            size, changed = _stamp(partial)
            made[self._name(path)] = [self._key(kind), size, changed]
        self._append({"source": origin, "files": made})

    def claim(self, path: pathlib.Path) -> None:
        """Notes a file of all images or frames together, before it is written."""
        if not self.accounts(path):
            self._append({"list": self._name(path)})

    def _name(self, path: pathlib.Path) -> str:
        return path.relative_to(self._out).as_posix()

    def _key(self, kind: Output) -> str:
        return hashlib.sha256(f"{self._made_by}{kind!r}".encode()).hexdigest()[:16]

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line)
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._torn else "") + text + "\n")
        self._torn = False
        self._take(json.loads(text))

    def _read(self) -> None:
        try:
            with self._lines.open(encoding="utf-8", errors="replace") as file:
                _check(self._lines, file.readline() == FIRST_LINE)
                for line in file:
                    self._torn = not line.endswith("\n")
                    try:
                        self._take(json.loads(line))
                    except (ValueError, TypeError, KeyError, RecursionError):
                        continue  # A line cut short by a full disk or a kill.
        except FileNotFoundError:
            _check(self._out / RECORD, not (self._out / RECORD).exists())

    def _take(self, line: dict[str, Any]) -> None:
        if "list" in line:
            self._lists.add(line["list"])
            return
        path, *stamped = line["source"]
        for name, (key, size, changed) in line["files"].items():
            if name in self._made:
                self._older.setdefault(name, set()).add(self._made[name].stamp)
            self._made[name] = Made((path, *stamped), key, (size, changed))


def origin(path: pathlib.Path) -> Origin:
    """Returns a source as it is now; sizes below 0 where it is gone, unlike any other."""
    real = os.path.realpath(path)
    try:
        status = path.stat()
    except OSError:  # A link to nothing, or one that goes in circles, too.
        return real, -1, -1, -1, -1
    return real, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def stamp(path: pathlib.Path) -> Stamp | None:
    """Returns the file's, or None where there is none."""
    try:
        return _stamp(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _stamp(path: pathlib.Path) -> Stamp:
    if path.is_dir():
        within = [_stamp(each) for each in path.iterdir()]
        return sum(size for size, _ in within), max((when for _, when in within), default=0)
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _check(path: pathlib.Path, ours: bool) -> None:
    if not ours:
        raise InputError(
            f"{path} exists already, but is not as this command writes it; choose another "
            "--out, or move it away."
        )


def _contents(path: pathlib.Path) -> dict[str, Any]:
    """Returns what the file tells a reader; nothing where it is missing or broken."""
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _difference(older: Mapping[str, Any], newer: Mapping[str, Any]) -> str | None:
    """Returns the first entry of `newer` that differs, in words."""
    for name, here in newer.items():
        if older.get(name) != here:
            return f"{name} was {_short(older.get(name))} and is now {_short(here)}"
    return None


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
