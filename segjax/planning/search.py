"""The largest batch that fits, found with few compilations and confirmed by two of them."""

from collections.abc import Callable
from typing import NamedTuple

MOST = 65_536
"""Examples on a device beyond which no larger batch is looked for."""

BY_LINE = 4
"""Sizes that are guessed from a line before the remaining ones are halved."""


class Largest(NamedTuple):
    """The result of a search.

    Attributes:
      size: the largest that fits; 0 where not even 1 does.
      peaks: {size: bytes} of all sizes that were tried, by which `size` fits and `size + 1`
        does not, unless the search ended at its bound.
    """

    size: int
    peaks: dict[int, float]


def largest_that_fits(
    peak: Callable[[int], float], limit: float, *, start: int, fixed: float, most: int = MOST
) -> Largest:
    """Returns the largest size whose peak is at most `limit`.

    Peaks are nearly affine in the size, so a line through two of them says where to look. The
    result does not rest on the line: its own peak was asked for, and that of the next size.

    Args:
      peak: bytes that a size takes; infinite where its program cannot be compiled.
      limit: bytes that there are.
      start: the first size to try.
      fixed: bytes that about every size takes, for the first guess.
      most: the search ends there.
    """
    peaks: dict[int, float] = {0: fixed}
    tries = 0
    guess = min(start, most)
    while True:
        peaks[guess] = peak(guess)
        fits = max((n for n in peaks if n and peaks[n] <= limit), default=0)
        over = min((n for n in peaks if peaks[n] > limit and n > fits), default=most + 1)
        if over == fits + 1:
            return Largest(fits, {n: peaks[n] for n in sorted(peaks) if n})
        tries += 1
        between = _on_line(peaks, limit) if tries <= BY_LINE else (fits + over) // 2
        guess = min(max(between, fits + 1), over - 1)


def _on_line(peaks: dict[int, float], limit: float) -> int:
    """Returns the last size below the limit on the line through the two peaks nearest to it.

    The peak of size 0 is a guess; it is used only beside a single other one.
    """
    finite = {n: bytes_ for n, bytes_ in peaks.items() if bytes_ != float("inf")}
    known = {n: bytes_ for n, bytes_ in finite.items() if n} if len(finite) > 2 else finite
    if len(known) < 2:
        return 0
    (a, low), (b, high) = sorted(known.items(), key=lambda at: abs(at[1] - limit))[:2]
    slope = (high - low) / (b - a)
    return int(a + (limit - low) // slope) if slope > 0 else max(known) * 2


def divisors(number: int) -> list[int]:
    """Returns the divisors of a number in ascending order.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    return [part for part in range(1, number + 1) if number % part == 0]
