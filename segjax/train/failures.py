"""Why a run of an ablation failed: one line in its folder, until it succeeds."""

import contextlib
import pathlib

from segjax.atomic import write_text
from segjax.parallel.cluster import is_main

FAILURE = "failure.txt"


def record_failure(workdir: pathlib.Path, reason: BaseException) -> None:
    """Writes the first line of the reason into the run's folder; by the main process.

    A folder that cannot be written says nothing: the reason is printed all the same.
    """
    if not is_main():
        return
    line = f"{next(iter(str(reason).splitlines()), '') or type(reason).__name__}\n"
    with contextlib.suppress(OSError):
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(workdir / FAILURE, line)


def forget_failure(workdir: pathlib.Path) -> None:
    """Removes the line of a run that has succeeded; by the main process."""
    if is_main():
        with contextlib.suppress(OSError):
            (workdir / FAILURE).unlink(missing_ok=True)


def failure_of(workdir: pathlib.Path) -> str | None:
    """Returns why the run failed when it was last tried; None if it did not."""
    try:
        return (workdir / FAILURE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
