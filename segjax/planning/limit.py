"""How much memory a device has for a run."""

import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax

from segjax.parallel.cluster import device_bytes, is_cpu, local_device_count, process_share
from segjax.parallel.kept_memory import give_back
from segjax.parallel.sums import gather_by_index

GIB = 2**30
PROC, CGROUPS = pathlib.Path("/proc"), pathlib.Path("/sys/fs/cgroup")


class Limit(NamedTuple):
    """Memory for the arrays of a run on one device.

    Attributes:
      bytes: the limit; None where the device does not tell.
      source: what it is, in words: "free on this machine", "given by --memory".
      process: bytes that Python, its libraries and compiled programs take of a CPU's memory
        beside arrays; 0 for devices with memory of their own.
    """

    bytes: float | None
    source: str
    process: int = 0


def memory_limit(*, gib: float | None = None) -> Limit:
    """Returns the memory of one of this process's devices; `gib` replaces what it tells.

    The devices of a CPU share the machine's memory with the process and with other programs:
    theirs is what is available now, and the arrays that this process holds. Call it after the
    training step is compiled: only then is this process as large as that of a run.
    """
    if gib is not None:
        return Limit(gib * GIB, "given by --memory")
    if not is_cpu():
        told = device_bytes()
        return Limit(told, "that JAX may use of the device" if told else "unknown")
    give_back()  # What is free, but kept, counts as neither.
    available = available_bytes()
    if available is None:
        return Limit(None, "unknown")
    held = process_bytes("VmRSS") or 0
    process = max(held - sum(array.nbytes for array in jax.live_arrays()), 0)
    share = (available + held - process) / local_device_count()
    # All processes must compile the same programs.
    return Limit(of_processes(min, share), "free on this machine", process)


def of_processes(choose: Callable[[Iterable[float]], float], number: float) -> float:
    """Returns the smallest, say, of the numbers of all processes, which all must call this."""
    index, count = process_share()
    return choose(gather_by_index({index: number}, count).values())


def available_bytes(
    *, proc: pathlib.Path = PROC, cgroups: pathlib.Path = CGROUPS
) -> int | None:
    """Returns the bytes that this machine, or the group of processes, can still give.

    None where the machine does not tell.
    """
    machine = _field(proc / "meminfo", "MemAvailable")
    found = [] if machine is None else [machine]
    return min(found + _left_in_groups(proc, cgroups), default=None)


def _left_in_groups(proc: pathlib.Path, cgroups: pathlib.Path) -> list[int]:
    """Returns what each control group with a limit (a container, a job) has left.

    A group's file cache counts as left, since the kernel drops it first.
    """
    left = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for folder in _ancestors(root, path):
            most, used = (_number(folder / name) for name in names[:2])
            if most is not None and used is not None and most < 2**60:
                cached = _statistic(folder / "memory.stat", names[2])
                left.append(max(most - used + cached, 0))
    return left


def _ancestors(root: pathlib.Path, path: str) -> list[pathlib.Path]:
    """Returns the folders of a group and of those around it, as far as they are visible."""
    folder = root / path.lstrip("/")
    return [each for each in (folder, *folder.parents) if each.is_relative_to(root)]


def process_bytes(name: str, *, proc: pathlib.Path = PROC) -> int | None:
    """Returns a size of this process: "VmRSS", its memory, or "VmHWM", the most it ever was.

    None where the machine does not tell.
    """
    return _field(proc / "self" / "status", name)


def _field(path: pathlib.Path, name: str) -> int | None:
    """Returns a size of a file of /proc, whose lines are `Name:   1234 kB`."""
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return None


def _statistic(path: pathlib.Path, name: str) -> int:
    fields = dict(line.split(" ", 1) for line in _text(path).splitlines() if " " in line)
    return int(fields.get(name, 0))


def _number(path: pathlib.Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
