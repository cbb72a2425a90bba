"""The receptive field of a stack of layers, and the pixels in it that dilation skips.

Pooling counts as convolution. One axis is enough: a field in two dimensions is the product of
two. Three kernels of 3 taps at dilation 2, and at 1, 2, 3, have the same field of 13 pixels:

    rates 2 2 2    x . x . x . x . x . x . x    "gridding": neighbours read disjoint lattices
    rates 1 2 3    x x x x x x x x x x x x x

Integers and fractions only.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

Window = tuple[int, int] | None
"""First and last pixel that one output reads; None if it reads none."""


class Layer(NamedTuple):
    """One axis of a convolution or pooling (or of a transposed convolution), in pixels.

    Negative padding cuts: `Layer(padding=-16)` crops 16 pixels before the first.
    """

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    transposed: bool = False


class Field(NamedTuple):
    """The receptive field of a stack's outputs along one axis of the image, holes included.

    Output i reads pixels start + i·stride … start + i·stride + size − 1; those below 0 are
    padding. After a transposed layer neighbouring outputs may have different windows, which
    repeat every n outputs. Then `windows` holds those of outputs 0 … n − 1, and output i + n
    reads n·stride pixels further. `size` is the largest window, `stride` the mean distance of
    two outputs (a Fraction where it is not whole), and `start` the first pixel of output 0, or
    of the first output that reads one. A field of size 0 reads nothing.
    """

    size: int
    stride: int | Fraction
    start: int
    windows: tuple[Window, ...] = ()


IMAGE = Field(1, 1, 0)
"""The field of a pixel."""


def receptive_field(layers: Iterable[Layer]) -> Field:
    """Returns the field of a stack, first layer first; an empty stack is the image itself.

    Raises:
      ValueError: a kernel, stride or dilation is below 1.

    VGG16 up to its first fully connected layer, 7 × 7 (FCN's paper, table 1):

    >>> blocks = [[Layer(3, padding=1)] * n + [Layer(2, stride=2)] for n in (2, 2, 3, 3, 3)]
    >>> receptive_field([*sum(blocks, []), Layer(7)])
    Field(size=404, stride=32, start=-90, windows=())

    Upsampling by 2 with 4 taps: outputs read pixels −1 and 0, then 0 and 1, and so on in turn:

    >>> receptive_field([Layer(4, stride=2, padding=1, transposed=True)])
    Field(size=2, stride=Fraction(1, 2), start=-1, windows=((-1, 0), (0, 1)))
    """
    return reduce(after, layers, IMAGE)


def after(field: Field, layer: Layer) -> Field:
    """Returns the field of a layer's outputs, given the field of its inputs.

    Raises:
      ValueError: a kernel, stride or dilation is below 1.
    """
    if min(layer.kernel, layer.stride, layer.dilation) < 1:
        raise ValueError(
            "Kernel, stride and dilation must be at least 1, "
            f"got {layer.kernel}, {layer.stride} and {layer.dilation}."
        )
    windows, step = _turns(field)
    if layer.transposed:
        turns = len(windows) * layer.stride
    else:
        turns = len(windows) // math.gcd(len(windows), layer.stride)
        step = step * turns * layer.stride // len(windows)
    return field_of(
        [
            hull(window_of(field, position) for position in _read(layer, output))
            for output in range(turns)
        ],
        step,
    )


def union(a: Field, b: Field) -> Field:
    """Returns the field of the sum (or concatenation) of two branches' outputs.

    Raises:
      ValueError: the branches' strides differ, so their outputs do not lie on one grid.

    >>> union(Field(3, 1, -1), Field(1, 1, 5))
    Field(size=7, stride=1, start=-1, windows=())
    """
    if a.stride != b.stride:
        raise ValueError(
            f"Branches of strides {a.stride} and {b.stride} do not lie on one grid; bring both "
            "to one stride first."
        )
    turns = math.lcm(len(_turns(a)[0]), len(_turns(b)[0]))
    windows = [hull([window_of(a, i), window_of(b, i)]) for i in range(turns)]
    return field_of(windows, int(a.stride * turns))


def _read(layer: Layer, output: int) -> list[int]:
    """Returns the positions of the input that one output of a layer reads."""
    taps = [layer.dilation * tap for tap in range(layer.kernel)]
    if layer.transposed:  # y_j = Σ k_t x_i over i·s − p + d·t = j
        sources = [output + layer.padding - tap for tap in taps]
        return [source // layer.stride for source in sources if source % layer.stride == 0]
    return [output * layer.stride - layer.padding + tap for tap in taps]


def _turns(field: Field) -> tuple[tuple[Window, ...], int]:
    """Returns the windows that repeat over the outputs, and the pixels after which they do.

    Raises:
      ValueError: the field lacks the windows that its stride needs.
    """
    windows = field.windows or ((field.start, field.start + field.size - 1),)
    step = Fraction(field.stride) * len(windows)
    if step.denominator != 1:
        raise ValueError(
            f"A stride of {field.stride} needs {Fraction(field.stride).denominator} windows, "
            f"got {len(windows)}; make fields with receptive_field."
        )
    return windows, int(step)


def window_of(field: Field, output: int) -> Window:
    """Returns the first and the last pixel that an output reads; None if it reads none.

    >>> window_of(Field(3, 2, -1), 5)
    (9, 11)
    """
    windows, step = _turns(field)
    turn, index = divmod(output, len(windows))
    window = windows[index]
    return window and (window[0] + turn * step, window[1] + turn * step)


def hull(windows: Iterable[Window]) -> Window:
    """Returns the smallest window that contains all of them; None if none reads a pixel."""
    read = [window for window in windows if window]
    if not read:
        return None
    return min(first for first, _ in read), max(last for _, last in read)


def field_of(windows: Sequence[Window], step: int) -> Field:
    """Returns the field of windows that repeat; drops them where size and stride suffice."""
    stride = Fraction(step, len(windows))
    stride = int(stride) if stride.denominator == 1 else stride
    read = [window for window in windows if window]
    size = max((last - first + 1 for first, last in read), default=0)
    start = read[0][0] if read else 0
    even = [(start + i * stride, start + i * stride + size - 1) for i in range(len(windows))]
    return Field(size, stride, start, () if even == list(windows) else tuple(windows))


def hdc_gaps(rates: Sequence[int], *, kernel_size: int = 3) -> tuple[int, ...]:
    """Returns (M_1 … M_n), the gaps of Wang et al. (2018, arXiv:1702.08502), section 3.2.

    M_n = r_n and M_i = max(M_{i+1} − 2 r_i, 2 r_i − M_{i+1}, r_i), in the paper's words the
    largest distance between two pixels that layers i … n read. The kernel's size is checked but
    not used; `is_hdc` compares M_2 with it.

    Raises:
      ValueError: there is no rate, or one below 1, or the kernel's size is even or below 3.

    >>> hdc_gaps([1, 2, 5]), hdc_gaps([1, 2, 9])
    ((1, 2, 5), (3, 5, 9))
    """
    _check(rates, kernel_size)
    gaps = [rates[-1]]
    for rate in reversed(rates[:-1]):
        gaps.append(max(gaps[-1] - 2 * rate, 2 * rate - gaps[-1], rate))
    return tuple(reversed(gaps))


def is_hdc(rates: Sequence[int], *, kernel_size: int = 3) -> bool:
    """Returns whether rates obey hybrid dilated convolution: M_2 ≤ K and no common factor.

    A single layer has no M_2, so only the second rule applies, and rate 1 passes. The rules are
    meant for rates that rise from 1. For those, at K = 3, `is_dense` gives the same answer; at
    K = 5 the rules refuse 1, 5, 25, which has no gap. For other rates they pass some lists with
    gaps and refuse some without:

    >>> is_hdc([2, 3]), is_dense([2, 3]), is_hdc([1, 3, 1]), is_dense([1, 3, 1])
    (True, False, False, True)

    Raises:
      ValueError: as `hdc_gaps`.
    """
    gaps = hdc_gaps(rates, kernel_size=kernel_size)
    return all(gap <= kernel_size for gap in gaps[1:2]) and math.gcd(*rates) == 1


def coverage(rates: Sequence[int], *, kernel_size: int = 3) -> Int64[np.ndarray, " field"]:
    """Returns the number of paths from each pixel of the field, along one axis, to the output.

    This is the gradient if all weights are 1. In two dimensions it is the outer product with
    itself. The order of rates does not matter.

    Raises:
      ValueError: as `hdc_gaps`, or the paths are too many for int64.

    >>> coverage([2, 2]), coverage([1, 2])
    (array([1, 0, 2, 0, 3, 0, 2, 0, 1]), array([1, 1, 2, 1, 2, 1, 1]))
    """
    _check(rates, kernel_size)
    if kernel_size ** len(rates) > np.iinfo(np.int64).max:
        raise ValueError(
            f"{kernel_size}**{len(rates)} paths are too many for int64; give fewer rates, or "
            "call is_dense."
        )
    paths = np.ones(1, np.int64)
    for rate in rates:
        taps = np.zeros(rate * (kernel_size - 1) + 1, np.int64)
        taps[::rate] = 1
        paths = np.convolve(paths, taps)
    return paths


def is_dense(rates: Sequence[int], *, kernel_size: int = 3) -> bool:
    """Returns whether every pixel of the field reaches the output, the aim of `is_hdc`.

    True if and only if no rate exceeds the field of all smaller rates: otherwise no path starts
    at the first pixel beyond that field. So one rate must be 1.

    Raises:
      ValueError: as `hdc_gaps`.

    >>> is_dense([1, 2, 5]), is_dense([1, 2, 9]), is_dense([2, 2, 2])
    (True, False, False)
    """
    _check(rates, kernel_size)
    field = 1
    for rate in sorted(rates):
        if rate > field:
            return False
        field += (kernel_size - 1) * rate
    return True


def design_rates(layers: int, max_rate: int, *, kernel_size: int = 3) -> list[tuple[int, ...]]:
    """Returns [rates]: the non-decreasing rates with the largest field without gaps.

    By the condition in `is_dense` each rate is at most the field of those before it. The
    largest choice at every step allows the largest next one: 1, K, K², … up to max_rate.

    Raises:
      ValueError: layers or max_rate is below 1, or the kernel's size is even or below 3.

    >>> design_rates(3, 5), design_rates(4, 27), design_rates(2, 9, kernel_size=5)
    ([(1, 3, 5)], [(1, 3, 9, 27)], [(1, 5)])
    """
    if min(layers, max_rate) < 1:
        raise ValueError(
            f"Layers and max_rate must be at least 1, got {layers} and {max_rate}."
        )
    _check([max_rate], kernel_size)
    rates, field = (), 1
    for _ in range(layers):
        rates += (min(max_rate, field),)
        field += (kernel_size - 1) * rates[-1]
    return [rates]


def _check(rates: Sequence[int], kernel_size: int) -> None:
    if len(rates) == 0 or min(rates) < 1:
        raise ValueError(f"Rates must be one or more, each at least 1, got {list(rates)}.")
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(
            f"Kernel size must be odd and at least 3, got {kernel_size}: a rate spreads taps "
            "on both sides of a centre."
        )
