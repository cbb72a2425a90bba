"""The machine that this process runs on, as far as compiled programs depend on it."""

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator


def machine_digest(*, with_user: bool = True) -> str:
    """Returns a short name of the processor's kind and the cores that XLA may use.

    `with_user` adds the user, for files that are not shared with others.

    XLA compiles for the instructions of the processor at hand, and divides sums by its cores:
    with other cores, a kept program would give other last bits than one compiled now.
    """
    user = os.getuid() if with_user and hasattr(os, "getuid") else ""
    about = [platform.machine(), platform.processor(), _cores(), user, *sorted({*_cpu_lines()})]
    return hashlib.sha256(repr(about).encode()).hexdigest()[:8]


def machine_words() -> str:
    """Returns the processor and the cores in words: "AMD EPYC 7R13 Processor, 2 cores"."""
    models = [line.partition(":")[2].strip() for line in _cpu_lines() if "model name" in line]
    model = models[0] if models else platform.processor() or platform.machine() or "a processor"
    count = _cores()
    return f"{' '.join(model.split())}, {count} core{'s' * (count != 1)}"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_lines() -> Iterator[str]:
    """Yields what Linux says of the processor's kind and instructions; elsewhere nothing."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = ("model name", "flags", "Features", "CPU part")
        yield from (line.strip() for line in lines if line.startswith(names))
