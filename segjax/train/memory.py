"""The memory that a run holds now, and the most that it has held, in bytes."""

import pathlib
import sys

from segjax.parallel.devices import fullest_memory

STATUS = pathlib.Path("/proc/self/status")
"""Where Linux says how much memory a process has."""

_DEVICE = {
    "bytes_in_use": "device_memory_bytes",
    "peak_bytes_in_use": "device_memory_peak_bytes",
}
_PROCESS = {"VmRSS:": "process_memory_bytes", "VmHWM:": "process_memory_peak_bytes"}


def memory() -> dict[str, int]:
    """Returns `device_memory_bytes` and `process_memory_bytes`, and the peak of each.

    Those of the devices are of the fullest device of this process. They are left out where the
    backend does not say them, as on a CPU, where arrays are in the memory of the process.
    """
    of_devices = {_DEVICE[name]: count for name, count in fullest_memory().items()}
    return {**of_devices, **_of_process()}


def _of_process() -> dict[str, int]:
    """Returns the resident memory of this process; only its peak where there is no /proc."""
    if STATUS.is_file():
        lines = [line.split() for line in STATUS.read_text(encoding="ascii").splitlines()]
        found = {words[0]: int(words[1]) for words in lines if words and words[0] in _PROCESS}
        return {
            column: 1024 * found[name] for name, column in _PROCESS.items() if name in found
        }
    try:
        import resource
    except ImportError:  # There is none on Windows.
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"process_memory_peak_bytes": peak if sys.platform == "darwin" else 1024 * peak}
