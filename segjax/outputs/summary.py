"""What the predict command says in the end: a line, or one JSON object."""

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from segjax.console import one_line
from segjax.errors import RunError
from segjax.outputs.writer import Entry


def report(
    entries: Sequence[Entry],
    about: Mapping[str, Any],
    *,
    weights: str,
    out: pathlib.Path,
    as_json: bool,
) -> None:
    """Prints how many masks of which `weights` there are; as JSON, `about` and all entries.

    Files that were changed by hand, and so are not made again, are told in one line.

    Raises:
      RunError: images without a mask; those after the first are lines of their own.
    """
    failed = [entry.error for entry in entries if entry.error is not None]
    skipped = sum(entry.skipped for entry in entries)
    masks = len(entries) - len(failed)
    kept = [path for entry in entries for path in entry.kept]
    if as_json:
        counts = {"images": len(entries), "made": masks - skipped, "skipped": skipped}
        counts |= {"failed": len(failed), "kept": len(kept)}
        images = [_told(entry) for entry in entries]
        print(json.dumps({**about, "counts": counts, "images": images}))
    else:
        there = f", {skipped} of them already there" if skipped else ""
        print(f"{masks} mask{'s' * (masks != 1)} of {weights} in {out}{there}")
    if kept:
        more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
        line = (
            f"predict: not overwritten, because you changed them: "
            f"{', '.join(map(str, kept[:3]))}{more}; move them away to make them again."
        )
        print(one_line(line), file=sys.stderr)
    for error in failed[1:]:
        print(one_line(f"predict: {error}"), file=sys.stderr)
    if failed:
        raise RunError(f"{len(failed)} of {len(entries)} images have no mask: {failed[0]}")


def _told(entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = {"input": str(entry.source.path), "name": entry.name}
    if entry.frame is not None:
        told["frame"] = entry.frame
    if entry.error is not None:
        return {**told, "error": entry.error}
    if entry.kept:
        told["kept"] = [str(path) for path in entry.kept]
    return {**told, "outputs": [str(path) for path in entry.files], "skipped": entry.skipped}
