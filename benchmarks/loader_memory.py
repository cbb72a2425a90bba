"""The memory of a process and its children, shared pages divided among those who share them."""

import os
import pathlib


def memory_mib() -> float:
    """Returns the proportional set size of this process and all its descendants, in MiB."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        process = pathlib.Path("/proc", str(waiting.pop()))
        try:
            lines = (process / "smaps_rollup").read_text().splitlines()
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # It has ended.
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024
