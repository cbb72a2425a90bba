"""Limits of the page's server, and the refusal of requests beyond them."""

import dataclasses
import threading
import time
from collections.abc import Callable


class Refused(Exception):
    """A refused request: its HTTP status, and a message of one line for the user.

    `retry_after` is the number of seconds after which the request may be repeated.
    """

    def __init__(self, status: int, line: str, *, retry_after: int | None = None):
        super().__init__(line)
        self.status, self.line, self.retry_after = status, line, retry_after


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one server accepts.

    Attributes:
      upload: largest image file, in bytes.
      pixels: largest number of pixels of an image, before it is reduced.
      side: longer side in pixels at which images are predicted; None: their own.
      waiting: number of predictions that may wait while one runs.
      connections: number of requests that are read or answered at the same time.
      of_one: number of these that may come from one address.
      seconds: time for sending a request, and again for receiving the answer.
      predictions: (per second, at once) that one address may request.
      requests: the same for requests of any kind.
      held: bytes of results that are kept in memory.
      results: how many are kept at most.
    """

    upload: int = 20 * 2**20
    pixels: int = 50_000_000
    side: int | None = 1024
    waiting: int = 4
    connections: int = 32
    of_one: int = 8
    seconds: float = 30.0
    predictions: tuple[float, int] = (0.5, 10)
    requests: tuple[float, int] = (20.0, 100)
    held: int = 512 * 2**20
    results: int = 200


class TokenBuckets:
    """A bucket of tokens for each address: `burst` at first, then `rate` more per second.

    `clock` returns seconds.
    """

    MOST = 10_000
    """Largest number of addresses; the one that asked longest ago is dropped first."""

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, address: str) -> float:
        """Takes a token and returns 0, or returns the seconds until there is one."""
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.pop(address, (float(self._burst), now))
            tokens = min(self._burst, tokens + (now - since) * self._rate)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
            self._buckets[address] = (tokens if wait else tokens - 1, now)
            if len(self._buckets) > self.MOST:
                del self._buckets[next(iter(self._buckets))]
            return wait
