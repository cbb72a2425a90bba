"""Fields of resampled and of joined maps, which `segjax.ops.receptive_field` does not have."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from segjax.ops.receptive_field import Field, Layer, after, field_of, hull, union, window_of


def resampled(field: Field, weights: np.ndarray) -> Field:
    """Returns the field after an interpolation of n samples to m by the matrix m × n.

    Near a border windows are shorter or do not move. So all samples of a phase are shifted to
    its first period, and their hull is the window of a sample away from borders.

    >>> double = np.array([[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0],
    ...                    [0, 0.75, 0.25], [0, 0.25, 0.75], [0, 0, 1]])
    >>> resampled(Field(1, 1, 0), double).windows
    ((-1, 0), (0, 1))
    """
    m, n = weights.shape
    read = [(int(i[0]), int(i[-1])) for i in map(np.flatnonzero, weights) if len(i)]
    if len(read) < m:
        raise ValueError("A row of the matrix has no weights: its sample reads nothing.")
    steps = [Fraction(n, m)]
    if m > 1:
        steps.append(Fraction(n - 1, m - 1))  # Aligned corners.
    return _composed(
        field, *min((_hulls(read, s) for s in steps), key=lambda h: _largest(h[0]))
    )


def taken(field: Field, index: Sequence[int], *, size: int) -> Field | None:
    """Returns the field of `x[index]` for x of `size`, if it crops x or reflects its borders.

    The longest run of consecutive indices, which is away from borders, gives the position of
    every element. For other indices the result is None.
    """
    runs = np.split(np.asarray(index), np.flatnonzero(np.diff(index) != 1) + 1)
    starts = np.cumsum([0, *map(len, runs)])
    longest = int(np.argmax([len(run) for run in runs]))
    if len(runs[longest]) < min(size, len(index)):
        return None
    return after(field, Layer(padding=int(starts[longest] - runs[longest][0])))


def joined(a: Field, b: Field, *, length: int) -> Field:
    """Returns the field of two maps of the same `length` that are concatenated or added.

    If their strides differ, as after a resize, the windows of all positions are listed, and
    beyond them the finer stride continues.
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
    """Returns the hull of each phase's windows, shifted to the first period, and the step."""
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
    """Returns the field of samples that read `windows` of the map with `field`."""
    own = max(len(field.windows), 1)
    turns = own // math.gcd(own, step.numerator)
    places = [
        (first + turn * step.numerator, last + turn * step.numerator)
        for turn in range(turns)
        for first, last in windows
    ]
    ends = [hull([window_of(field, first), window_of(field, last)]) for first, last in places]
    return field_of(ends, int(step * Fraction(field.stride) * len(ends)))
