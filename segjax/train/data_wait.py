"""How long the devices stand still because the loader has no batch ready."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax


class DataWait:
    """A clock of idle devices, for a `with` block.

    A step is dispatched and computed while the host fetches the next batch. That costs nothing
    as long as the step takes longer. On a CPU a step is over when its call returns, and only
    what the loader has read ahead costs nothing. The clock therefore counts the time from the
    end of a step, or from the request if that is later, until the next batch is there:

        device   ── step 7 ──┐           ┌── step 8 ──
        host     request ────┼─ waiting ─┘ batch
                             └── idle ───┘
    """

    def __init__(self) -> None:
        # A thread waits for the end of each step: asking the device would stop the host.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="end_of_step")
        self._end: Future[float] | None = None
        self._idle, self._held = 0.0, 0.0
        self._since, self._start = 0.0, 0.0

    def __enter__(self) -> "DataWait":
        return self

    def __exit__(self, *_) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def dispatching(self) -> None:
        """Notes that the host starts a step now; on a CPU its call returns when it is over."""
        self._start = time.monotonic()

    def dispatched(self, results: Any) -> None:
        """Notes the step that was started; `results` are what it returns, or will be."""
        if self._end is not None and self._end.done():
            self._held += max(self._start - max(self._since, self._end.result()), 0.0)
        self._end = self._threads.submit(_end_of, results)

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """Counts the time in the block during which no step is computed."""
        request = time.monotonic()
        yield
        arrival = time.monotonic()
        if self._end is not None and self._end.done():
            self._idle += max(arrival - max(request, self._end.result()), 0.0)

    def take(self) -> float:
        """Returns the seconds since the last call that the devices waited for data."""
        idle, self._idle = self._idle, 0.0
        return idle

    def take_held(self) -> float:
        """Returns the seconds since the last call that the devices waited for this process.

        That is the time from the end of a step to the start of the next one: for data, for rows
        that are written, and for whatever else the host does between two steps. What comes
        before the call is over, and does not count any more.
        """
        held, self._held = self._held, 0.0
        self._since = time.monotonic()
        return held


def _end_of(results: Any) -> float:
    """Returns when the results are there; an error in them is raised where they are read."""
    try:
        jax.block_until_ready(results)
    except Exception:
        pass
    return time.monotonic()
