"""Which form of a convolution is taken on a CPU by default: bounds on its shapes.

They were timed shape by shape on two cores (`benchmarks/results.md`). A table that a run timed
on its own machine comes before them (`forms`).
"""

import math

from segjax.ops import kernel_gradients
from segjax.ops.forms import BY_KERNEL, BY_X, VALUE, Case
from segjax.ops.grouped import COLUMNS, groups_to_join
from segjax.ops.kernel_gradients import block_height
from segjax.ops.tap_matmul import TapWindow, live_taps
from segjax.ops.winograd import tiles

FACTORS = 1 << 26
"""Numbers that Winograd's factors and products may have by default: 256 MiB of float32.

A larger batch of the same maps takes another form.
"""


COPIES = 1 << 25
"""Numbers that the copies of both maps may have by default in the form `rows`: 128 MiB."""


def default_form(case: Case) -> str:
    """Returns the name of the form that is taken unless a table names another one."""
    if case.is_grouped:
        return _of_groups(case)
    if not all(isinstance(size, int) for size in case.shape):
        return "taps" if case.is_depthwise else "plain"  # Sizes that are not known yet.
    by_bounds = {VALUE: _of_value, BY_X: _of_gradient_by_x, BY_KERNEL: _of_gradient_by_kernel}
    return by_bounds[case.question](case.shape, case.kernel_shape, case.window)


def _of_groups(case: Case) -> str:
    """Returns the name of the fastest form for several channels in each group."""
    _, width, inner, outputs = case.kernel_shape
    each, is_known = outputs // case.window.groups, isinstance(sum(case.shape), int)
    together = groups_to_join(inner, each, case.window.groups)
    if not is_known or not together or min(inner, each) < 2:
        return "joined"
    widest = together * max(inner, each)
    if case.question == BY_KERNEL:
        # A tap's loop writes as many numbers as two maps of x have, at most.
        columns = case.result_shape[2]
        fits = together * each * -(-columns // COLUMNS) <= 2 * columns
        return "elements" if widest <= 24 and fits else "joined"
    is_spread = case.question == BY_X and case.window.strides != (1, 1)
    few = max(inner, each) <= 8 and widest <= 24
    return "elements" if few and width > 2 and not is_spread else "joined"


def _of_gradient_by_kernel(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> str:
    """Returns the name of the fastest form of the gradient by the kernel for these shapes."""
    case = Case(BY_KERNEL, shape, kernel_shape, window)
    height, width, inner, outputs = kernel_shape
    if case.is_depthwise:
        return "taps"
    if _fits_rows(case):
        return "rows"
    if _saves(shape, kernel_shape, window) and min(inner, outputs) >= 32:
        # Where pixels are few, sums over them cost less than the products' transform.
        if 2 * shape[0] * _tiles(shape, window) >= inner * outputs // (inner + outputs):
            return "winograd"
    if height * width > 9 and inner * outputs < 64 * 64:
        # Many taps, each of them a small product: XLA's own gradient is faster.
        return "plain"
    # By blocks where whole maps would leave the cache, and each number is multiplied seldom.
    reached = math.prod(case.result_shape[:3]) * inner  # What a tap reads.
    large = reached + math.prod(case.result_shape) > kernel_gradients.LARGE
    seldom = inner * outputs < 64 * (inner + outputs)
    several = 1 < height * width <= 9
    lines = block_height(shape, case.result_shape, (height, width), window)
    blocks = lines and large and several and seldom and _is_full(shape, (height, width), window)
    return "blocks" if blocks else "taps"


def _fits_rows(case: Case) -> bool:
    """Returns whether products are narrow, or their pixels spread, and copies few and used.

    By taps each tap copies its pixels where a stride spreads them, more often than by rows
    where taps overlap.
    """
    height, width, inner, outputs = case.kernel_shape
    narrow, stride = min(inner, outputs), min(case.window.strides)
    spread = narrow > 96 and inner <= 256 and min(height, width) > stride > 1
    if width == 1 or not (8 <= narrow <= 96 or spread) or 4 * inner <= outputs:
        return False
    batch, columns = case.shape[0], case.result_shape[2]
    rows = -(-case.shape[1] // case.window.strides[0])
    # Each row of taps meets all rows of x that any output could, however few reach a pixel.
    size = (case.shape[1], case.shape[2])
    live = live_taps(size, (height, width), case.window)
    reached = sum(len(down) * len(right) for _, (down, right) in live)
    if reached < 0.6 * height * width * rows * columns:
        return False
    copied = width * case.shape[1] * inner + height * rows * outputs
    return batch * columns * copied <= COPIES


def _of_gradient_by_x(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> str:
    """Returns the name of the fastest form of the gradient by x for these shapes."""
    case = Case(BY_X, shape, kernel_shape, window)
    if case.is_depthwise:
        return "taps"
    inner, outputs = kernel_shape[2:]
    if math.prod(case.result_shape[:3]) * (inner + outputs) < inner * outputs:
        return "taps"  # So few pixels cost less than rearranging the kernel.
    if window.strides == (1, 1) and default_form(case.flipped) == "winograd":
        return "winograd"
    form = _of_value(shape, kernel_shape, window)
    return "plain" if form == "winograd" else form


def _of_value(shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow) -> str:
    """Returns the name of the fastest form of the value for these shapes."""
    height, width, inner, outputs = kernel_shape
    if Case(VALUE, shape, kernel_shape, window).is_depthwise or (height, width) == (1, 1):
        return "taps"
    narrow, pixels = min(inner, outputs), math.prod(shape[:3])
    wide = narrow >= (64 if pixels >= 4096 else 96)
    if wide and _saves(shape, kernel_shape, window) and _pays(pixels, inner, outputs):
        of_maps = shape[0] * _tiles(shape, window) * (inner + outputs)
        if 16 * (of_maps + inner * outputs) <= FACTORS:
            return "winograd"
    is_full = _is_full(shape, (height, width), window)
    return "taps" if narrow >= 96 and not is_full else "plain"


def _pays(pixels: int, inner: int, outputs: int) -> bool:
    """Returns whether Winograd's transforms cost less than the products that they save.

    The kernel's do if it stays in the cache, or for many pixels; those of the maps do if both
    stay in the cache, or for many channels (`benchmarks/results.md`, "Winograd's bounds").
    """
    weights, channels = inner * outputs, inner + outputs
    kernel_pays = weights <= 1 << 18 or pixels >= 512
    maps_pay = pixels * channels <= 9 << 18 or weights >= 64 * channels
    return kernel_pays and maps_pay


def _saves(shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow) -> bool:
    """Returns whether Winograd's products are fewer than those of the taps that read pixels."""
    if kernel_shape[:2] != (3, 3) or window.strides != (1, 1):
        return False
    size = (shape[1], shape[2])
    exact = math.prod(window.size(axis, size[axis], 3) for axis in (0, 1))
    taps = 9 * _share_of_live_taps(size, (3, 3), window)
    return 16 * _tiles(shape, window) < 0.9 * taps * exact


def _tiles(shape: tuple[int, ...], window: TapWindow) -> int:
    """Returns the number of Winograd's tiles that cover an image's outputs."""
    return math.prod(
        window.dilations[axis] * tiles(window, axis, shape[1 + axis]) for axis in (0, 1)
    )


def _is_full(shape: tuple[int, ...], kernel_size: tuple[int, int], window: TapWindow) -> bool:
    """Returns whether most taps read pixels, not padding."""
    return _share_of_live_taps((shape[1], shape[2]), kernel_size, window) >= 0.6


def _share_of_live_taps(
    size: tuple[int, int], kernel_size: tuple[int, int], window: TapWindow
) -> float:
    """Returns the share of (output, tap) pairs that read a pixel, not padding."""
    reached = sum(
        len(rows) * len(columns) for _, (rows, columns) in live_taps(size, kernel_size, window)
    )
    height, width = (window.size(a, size[a], kernel_size[a]) for a in (0, 1))
    return reached / (height * width * kernel_size[0] * kernel_size[1])
