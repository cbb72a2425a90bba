"""`summary.json`: what made a folder, and what is in it. It shows that `convert` wrote it."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from segjax.atomic import write_bytes
from segjax.errors import InputError

SUMMARY = "summary.json"
WRITER = "python -m segjax.convert"
VERSION = 1


def write_if_new(path: pathlib.Path, contents: bytes | str) -> bool:
    """Writes a file unless it has these contents; returns whether it did.

    Raises:
      OSError: it cannot be written.
    """
    data = contents.encode("utf-8") if isinstance(contents, str) else contents
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
    return True


def earlier(out: pathlib.Path, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the summary of an earlier, finished run in this folder, or nothing.

    Raises:
      InputError: the folder holds files that `convert` did not write, or what other sources or
        options made.
    """
    found = _read(out)
    if not found.get("finished"):
        return {}
    if not all(isinstance(found.get(key), dict) for key in ("made_by", "classes")):
        raise InputError(
            f"{out / SUMMARY} is not as this command writes it: choose another --out, or move "
            "it away."
        )
    _check_same(out, found["made_by"], made_by)
    return found


def begin(out: pathlib.Path, made_by: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Says in a new folder that `convert` writes it, so that an interrupted run can go on."""
    if not earlier:
        write_if_new(out / SUMMARY, text({"finished": False, "made_by": made_by}))


def text(contents: Mapping[str, Any]) -> str:
    """Returns the text of a summary."""
    head = {"written_by": WRITER, "version": VERSION}
    return json.dumps({**head, **contents}, indent=1, ensure_ascii=False) + "\n"


def digest(contents: str) -> str:
    """Returns what tells a file that we wrote from one that the user changed."""
    return hashlib.sha256(contents.encode("utf-8")).hexdigest()[:16]


def _read(out: pathlib.Path) -> dict[str, Any]:
    path = out / SUMMARY
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise InputError(
                f"--out {out} holds files that this command did not write: choose an empty or "
                "a new folder."
            )
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("written_by") != WRITER:
        raise InputError(
            f"{path} is not as this command writes it: choose another --out, or move it away."
        )
    if found.get("version") != VERSION:
        raise InputError(
            f"{path} was written by another version of this command: choose another --out."
        )
    return found


def _check_same(
    out: pathlib.Path, earlier: Mapping[str, Any], made_by: Mapping[str, Any]
) -> None:
    for name in made_by:
        if earlier.get(name) != made_by[name]:
            raise InputError(
                f"--out {out} was made with {name} {_short(earlier.get(name))}, and now it is "
                f"{_short(made_by[name])}: choose another --out, or delete the folder."
            )


def _short(value: Any) -> str:
    shown = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
