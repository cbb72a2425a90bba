"""Fields of resampled and of joined maps, where `segjax.ops.receptive_field` has no layer."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from segjax.ops.receptive_field import Field, Layer, after, field_of, hull, union, window_of


def resampled(field: Field, weights: np.ndarray) -> Field:
    """Returns the field of m samples, each a sum of n, by the matrix m × n that interpolates
    them.

    Near a border the windows are shorter or stand still. So all samples of one phase are
    brought to its first turn, and their hull is what a sample reads that no border hinders.

    >>> double = np.array([[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0],
    ...                    [0, 0.75, 0.25], [0, 0.25, 0.75], [0, 0, 1]])
    >>> resampled(Field(1, 1, 0), double).windows
    ((-1, 0), (0, 1))
    """
    m, n = weights.shape
    read = [(int(i[0]), int(i[-1])) for i in map(np.flatnonzero, weights) if len(i)]
    if len(read) < m:
        raise ValueError("A sample without weights reads nothing.")
    steps = [Fraction(n, m)]
    if m > 1:
        steps.append(Fraction(n - 1, m - 1))  # Corners that keep their places.
    return _composed(
        field, *min((_hulls(read, s) for s in steps), key=lambda h: _largest(h[0]))
    )


def taken(field: Field, index: Sequence[int], *, size: int) -> Field | None:
    """Returns the field of `x[index]`, x of `size`; None unless it crops x or continues it by
    mirrors.

    The longest stretch that counts up gives every position's place; no border is there.
    """
    runs = np.split(np.asarray(index), np.flatnonzero(np.diff(index) != 1) + 1)
    starts = np.cumsum([0, *map(len, runs)])
    longest = int(np.argmax([len(run) for run in runs]))
    if len(runs[longest]) < min(size, len(index)):
        return None
    return after(field, Layer(padding=int(starts[longest] - runs[longest][0])))


def joined(a: Field, b: Field, *, length: int) -> Field:
    """Returns the field of two maps of one `length` together, side by side or added.

    Where their strides differ, as when one was brought to the size of the other, the windows of
    all positions are listed; beyond them the finer stride goes on.
    """
    if a.stride == b.stride:
        return union(a, b)
    stride = Fraction(min(a.stride, b.stride))
    turns = math.lcm(length, stride.denominator)
    windows = [hull([window_of(a, i), window_of(b, i)]) for i in range(turns)]
    return field_of(windows, int(stride * turns))


def _hulls(
    read: list[tuple[int, int]], step: Fraction
) -> tuple[list[tuple[int, int]], Fraction]:
    """Returns the hull of each phase's windows, brought to the first turn; and the step."""
    hulls: dict[int, tuple[int, int]] = {}
    for i, (first, last) in enumerate(read):
        turn, phase = divmod(i, step.denominator)
        shift = turn * step.numerator
        low, high = hulls.get(phase, (first - shift, last - shift))
        hulls[phase] = min(low, first - shift), max(high, last - shift)
    return [hulls[phase] for phase in sorted(hulls)], step


def _largest(windows: list[tuple[int, int]]) -> int:
    return max(last - first for first, last in windows)


def _composed(field: Field, windows: list[tuple[int, int]], step: Fraction) -> Field:
    """Returns what samples read of the image that read `windows` of the map with `field`."""
    own = max(len(field.windows), 1)
    turns = own // math.gcd(own, step.numerator)
    places = [
        (first + turn * step.numerator, last + turn * step.numerator)
        for turn in range(turns)
        for first, last in windows
    ]
    ends = [hull([window_of(field, first), window_of(field, last)]) for first, last in places]
    return field_of(ends, int(step * Fraction(field.stride) * len(ends)))
