"""What the page's server grants, and the refusal of more."""

import dataclasses
import threading
import time
from collections.abc import Callable


class Refused(Exception):
    """A request that is not granted: its HTTP status, and one line for the person who asked.

    `retry_after` is in seconds, for what may be granted later.
    """

    def __init__(self, status: int, line: str, *, retry_after: int | None = None):
        super().__init__(line)
        self.status, self.line, self.retry_after = status, line, retry_after


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one server accepts.

    Attributes:
      upload: bytes of an image file.
      pixels: of an image, before it is made smaller.
      side: pixels along the longer side at which images are predicted; None: their own.
      waiting: predictions that may wait while one runs.
      connections: requests that are read or answered at the same time.
      of_one: how many of them may be one address's.
      seconds: for sending a request, and as long again for taking the answer.
      predictions: (a second, at once) that one address may ask for.
      requests: likewise, of any kind.
      held: bytes of results that are kept for the page to come back to.
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


class TokenBuckets:
    """A bucket of tokens for each address: `burst` at first, `rate` more a second.

    `clock` gives seconds.
    """

    MOST = 10_000
    """Addresses that are remembered; the one that was away for longest is forgotten first."""

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, address: str) -> float:
        """Returns 0 where a token was there and is taken, else the seconds until there
        is one.
        """
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.pop(address, (float(self._burst), now))
            tokens = min(self._burst, tokens + (now - since) * self._rate)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
            self._buckets[address] = (tokens if wait else tokens - 1, now)
            if len(self._buckets) > self.MOST:
                del self._buckets[next(iter(self._buckets))]
            return wait
