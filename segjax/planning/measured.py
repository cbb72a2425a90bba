"""The most memory that a device held while a block ran."""

import contextlib
import gc
import pathlib
from collections.abc import Iterator

import jax

from segjax.parallel.cluster import is_cpu, local_device_count, peak_device_bytes
from segjax.parallel.kept_memory import give_back
from segjax.planning.limit import PROC, of_processes, process_bytes

CLEAR_PEAK = "5"
"""What Linux takes in `/proc/self/clear_refs` to forget the highest resident size so far."""


class PeakMemory:
    """Bytes of each device, once its `measuring` block is over; None where it is not told."""

    bytes: float | None = None

    @contextlib.contextmanager
    def measuring(self, *, proc: pathlib.Path = PROC) -> Iterator[None]:
        """Measures the block.

        On a CPU it is the growth of the process, with the arrays that were there before: so it
        holds what single operations allocate beside XLA's plan. Other devices tell their
        highest use since the process began.
        """
        if not is_cpu():
            yield
            told = peak_device_bytes()
            self.bytes = None if told is None else of_processes(max, told)
            return
        gc.collect()
        give_back()  # Arrays in memory that compiling freed would not be seen.
        arrays = sum(array.nbytes for array in jax.live_arrays())
        before = process_bytes("VmRSS", proc=proc)
        try:
            (proc / "self" / "clear_refs").write_text(CLEAR_PEAK, encoding="utf-8")
        except OSError:
            before = None
        yield
        after = process_bytes("VmHWM", proc=proc)
        if before is not None and after is not None:
            held = (max(after - before, 0) + arrays) / local_device_count()
            self.bytes = of_processes(max, held)
