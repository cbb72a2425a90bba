"""Which checkpoint a run uses when some are damaged, and what becomes of those."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from segjax.announce import say
from segjax.errors import RunError, first_of
from segjax.parallel.cluster import is_main, wait_for_all
from segjax.parallel.sums import gather_bytes, sum_over_processes
from segjax.train.checksums import Damaged
from segjax.train.stored import METRICS, Stored, stored_in

ASIDE = "damaged-"
"""What the name of a damaged checkpoint begins with once a run has gone on without it."""


def newest_undamaged(
    folder: pathlib.Path, read: Callable[[Stored], Any]
) -> tuple[Stored, Any] | None:
    """Returns the newest checkpoint that can be read, and what `read` gives of it.

    Damaged ones are renamed to `damaged-<step>`, with a line for each, so that they neither
    count as kept checkpoints nor hinder the run. All processes return the same checkpoint.

    Args:
      folder: of the checkpoints.
      read: raises Damaged for a checkpoint that cannot be used.

    Returns:
      None if there is no checkpoint at all.

    Raises:
      RunError: there are checkpoints, and none can be read; nothing has been renamed then.
    """
    listed = _of_main_process([stored.step for stored in stored_in(folder)])
    damaged: dict[Stored, str] = {}
    for stored in [Stored(folder / str(step)) for step in reversed(listed)]:
        found, fault = _attempt(stored, read)
        if int(sum_over_processes(np.array(fault is not None, np.int32))):
            damaged[stored] = fault or "another process cannot read it"
            continue
        if is_main():
            _continue_without(damaged | _older_damaged(folder, stored), stored)
        wait_for_all(f"resuming from {stored.step}")
        return stored, found
    if damaged or set_aside(folder):
        raise RunError(none_undamaged(folder, damaged))
    return None


def best_undamaged(
    folder: pathlib.Path, choose: Callable[[], Stored], read: Callable[[Stored], Any]
) -> tuple[Stored, Any]:
    """Returns the best checkpoint that can be read, and what `read` gives of it.

    Damaged ones are renamed as in `newest_undamaged`, with a line for each.

    Args:
      folder: of the checkpoints.
      choose: returns the best of those that are there.
      read: raises Damaged for a checkpoint that cannot be used.

    Raises:
      RunError: the only checkpoint that is left is damaged; that one is not renamed.
    """
    while True:
        (step,) = _of_main_process([choose().step])
        stored = Stored(folder / str(step))
        found, fault = _attempt(stored, read)
        if not int(sum_over_processes(np.array(fault is not None, np.int32))):
            return stored, found
        fault = fault or "another process cannot read it"
        if len(_of_main_process([each.step for each in stored_in(folder)])) == 1:
            raise RunError(none_undamaged(folder, {stored: fault}))
        if is_main():
            aside = _set_aside(stored.folder)
            say(
                f"{stored.folder}, the best checkpoint, is damaged: {fault}. The best of the "
                f"others is evaluated; the damaged one is now {aside.name}, which you can "
                "delete."
            )
        wait_for_all(f"going on without {step}")


def none_undamaged(folder: pathlib.Path, damaged: Mapping[Stored, str]) -> str:
    """Returns the line about a folder whose checkpoints are all damaged."""
    each = [f"{stored.step} ({why})" for stored, why in damaged.items()]
    each += [path.name for path in set_aside(folder)]
    return (
        f"Every checkpoint in {folder} is damaged: {first_of(each)}. Restore one from a copy, "
        "or delete that folder to train from the start."
    )


def set_aside(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the damaged checkpoints that a run has gone on without."""
    return sorted(folder.glob(f"{ASIDE}*"))


def _attempt(stored: Stored, read: Callable[[Stored], Any]) -> tuple[Any, str | None]:
    try:
        return read(stored), None
    except Damaged as fault:
        return None, str(fault)


def _of_main_process(steps: Sequence[int]) -> list[int]:
    """Returns the main process's list: a network disk may show others an older one."""
    everyone = gather_bytes(lambda: json.dumps([*steps]).encode())
    return json.loads(everyone[0]) if everyone else [*steps]


def _older_damaged(folder: pathlib.Path, newest: Stored) -> dict[Stored, str]:
    """Returns the older checkpoints that can be neither kept nor ranked; reads no array."""

    def check(stored: Stored) -> None:
        stored.check()
        stored.score()

    older = [stored for stored in stored_in(folder) if stored.step < newest.step]
    faults = {stored: _attempt(stored, check)[1] for stored in older}
    return {stored: fault for stored, fault in faults.items() if fault is not None}


def _continue_without(damaged: Mapping[Stored, str], newest: Stored) -> None:
    """Sets damaged checkpoints aside, and a damaged score of the one that is resumed from."""
    for stored, why in damaged.items():
        aside = _set_aside(stored.folder)
        say(
            f"{stored.folder} is damaged: {why}. Resuming from step {newest.step}; the damaged "
            f"one is now {aside.name}, which you can delete."
        )
    try:
        newest.score()
    except Damaged as fault:
        if (newest.folder / METRICS).exists():
            _set_aside(newest.folder / METRICS)
        say(f"{newest.folder} is damaged: {fault}. Its state is not: it is evaluated again.")


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames a file or folder to a new name beside it; returns that."""
    names = [f"{ASIDE}{path.name}"] + [f"{ASIDE}{path.name}-{n}" for n in range(2, 1000)]
    new = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    try:
        return path.rename(new)
    except OSError as error:
        raise RunError(
            f"{path} is damaged and cannot be renamed to {new.name} ({error.strerror}): "
            "delete it, and run the same command again."
        ) from error
