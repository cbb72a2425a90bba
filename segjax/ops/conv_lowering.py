"""The choice of how a convolution and its two gradients run, by shape and platform.

Taps that meet only padding are dropped, which is exact for finite numbers. GPUs and TPUs run
the rest as XLA's convolution. CPUs run one of the forms of `conv_forms`; the bounds between
them, below, were timed shape by shape on two cores. A table that a run timed on its own
machine comes before these bounds (`forms`). Under `plain()` everything is XLA's convolution.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops import kernel_gradients
from segjax.ops.conv_forms import candidates, flipped, is_depthwise, plain_form
from segjax.ops.dispatch import as_one_program, is_plain, on_cpu, with_custom_gradients
from segjax.ops.forms import BY_KERNEL, BY_X, QUESTIONS, VALUE, Case, form_name, is_noting
from segjax.ops.kernel_gradients import block_height
from segjax.ops.tap_matmul import TapWindow, live_taps
from segjax.ops.winograd import tiles

FACTORS = 1 << 26
"""Numbers that Winograd's factors and products may have by default: 256 MiB of float32.

A larger batch of the same maps takes another form.
"""


@as_one_program(static=("window",))
def convolve(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: TapWindow
) -> Float[Array, "b oh ow o"]:
    """Returns the convolution in its fastest form; the caller has checked the shapes."""
    if is_plain():
        return plain_form(x, kernel, window)
    kernel, window = _without_dead_taps(x, kernel, window)
    if not on_cpu() or not jnp.issubdtype(x.dtype, jnp.floating):
        return plain_form(x, kernel, window)
    return rounded_once(_on_cpu(x.shape, kernel.shape, window))(x, kernel)


def rounded_once(form: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """Returns `form`, computed in float32 or wider; half precision is also slow on CPUs."""

    def computed(x: Array, kernel: Array) -> Array:
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        return form(x.astype(dtype), kernel.astype(dtype)).astype(x.dtype)

    return computed


def _without_dead_taps(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: TapWindow
) -> tuple[Float[Array, "lh lw i o"], TapWindow]:
    """Returns the kernel without the outer rows and columns that meet only padding.

    For 32 × 32 pixels a 3×3 kernel at rate 36 becomes a 1×1 kernel, on every platform.
    """
    pads = list(window.pads)
    for axis in (0, 1):
        size, taps, dilation = x.shape[1 + axis], kernel.shape[axis], window.dilations[axis]
        alive = [i for i in range(taps) if window.live(axis, size, taps, i)]
        first, last = (alive[0], alive[-1]) if alive else (0, taps - 1)
        kernel = lax.slice_in_dim(kernel, first, last + 1, axis=axis)
        before, after = pads[axis]
        pads[axis] = (before - first * dilation, after - (taps - 1 - last) * dilation)
    return kernel, window._replace(pads=(pads[0], pads[1]))


def _on_cpu(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> Callable[[Array, Array], Array]:
    """Returns a function (x, kernel) → y with fast forms of the value and both gradients."""
    cases = [Case(question, shape, kernel_shape, window) for question in QUESTIONS]
    if window.groups > 1 and not is_depthwise(cases[0]):
        return lambda x, kernel: _by_groups(x, kernel, window)
    return _answered(*cases) if is_noting() else _shared(*cases)


@functools.lru_cache(maxsize=1024)
def _shared(*cases: Case) -> Callable[[Array, Array], Array]:
    """Returns `_answered(*cases)`, the same function for the same cases.

    So JAX traces it and its derivatives once: without that the tracing of a deep network takes
    twice as long.
    """
    return jax.jit(_answered(*cases))


def _answered(*cases: Case) -> Callable[[Array, Array], Array]:
    """Returns the function (x, kernel) → y of a value and its two gradients, a case each."""
    return with_custom_gradients(*map(_form, cases))


def _form(case: Case) -> Callable[[Array, Array], Array]:
    """Returns the form that answers a case, which is chosen when it is traced."""
    return lambda a, b: candidates(case)[form_name(case, default_form)](a, b)


def default_form(case: Case) -> str:
    """Returns the name of the form that is taken unless a table names another one."""
    if not all(isinstance(size, int) for size in case.shape):
        return "taps" if is_depthwise(case) else "plain"  # Sizes that are not known yet.
    by_bounds = {VALUE: _of_value, BY_X: _of_gradient_by_x, BY_KERNEL: _of_gradient_by_kernel}
    return by_bounds[case.question](case.shape, case.kernel_shape, case.window)


def _by_groups(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw i o"], window: TapWindow
) -> Float[Array, "b oh ow o"]:
    """Returns a grouped convolution as ordinary ones, each of some groups side by side.

    Groups of few channels are joined to one of up to 32, whose kernel is 0 between them: XLA's
    grouped primitive takes twice as long, and its gradient by the kernel many times. An
    infinite or NaN pixel of one group spoils those that it is joined to.
    """
    height, width, inner, outputs = kernel.shape
    each = outputs // window.groups
    together = max(
        m
        for m in range(1, window.groups + 1)
        if window.groups % m == 0 and (m == 1 or m * max(inner, each) <= 32)
    )
    pieces = window.groups // together
    apart = kernel.reshape(height, width, inner, pieces, together, each)
    joined = jnp.einsum("hwipgo,gj->phwjigo", apart, jnp.eye(together, dtype=x.dtype))
    joined = joined.reshape(pieces, height, width, together * inner, together * each)
    shape = (*x.shape[:3], together * inner)
    ordinary = _on_cpu(shape, joined.shape[1:], window._replace(groups=1))
    if pieces <= 32:
        parts = jnp.split(x, pieces, axis=3)
        return jnp.concatenate([*map(ordinary, parts, joined)], axis=3)
    # More would compile for too long. In a loop the gradients take six times as long.
    apart = jnp.moveaxis(x.reshape(*x.shape[:3], pieces, -1), 3, 0)
    filled = lax.map(lambda piece: ordinary(*piece), (apart, joined))
    return jnp.moveaxis(filled, 0, 3).reshape(*filled.shape[1:4], outputs)


def _of_gradient_by_kernel(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> str:
    """Returns the name of the fastest form of the gradient by the kernel for these shapes."""
    case = Case(BY_KERNEL, shape, kernel_shape, window)
    height, width, inner, outputs = kernel_shape
    if is_depthwise(case):
        return "taps"
    if _saves(shape, kernel_shape, window) and min(inner, outputs) >= 32:
        # Where pixels are few, sums over them cost less than the products' transform.
        if 2 * shape[0] * _tiles(shape, window) >= inner * outputs // (inner + outputs):
            return "winograd"
    if height * width > 9 and inner * outputs < 64 * 64:
        # Many taps, each of them a small product: XLA's own gradient is faster.
        return "plain"
    # By blocks where whole maps would leave the cache.
    reached = math.prod(case.result_shape[:3]) * inner  # What a tap reads.
    large = reached + math.prod(case.result_shape) > kernel_gradients.LARGE
    several = 1 < height * width <= 9
    lines = block_height(shape, case.result_shape, (height, width), window)
    blocks = lines and large and several and _is_full(shape, (height, width), window)
    return "blocks" if blocks else "taps"


def _of_gradient_by_x(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> str:
    """Returns the name of the fastest form of the gradient by x for these shapes."""
    case = Case(BY_X, shape, kernel_shape, window)
    if is_depthwise(case):
        return "taps"
    inner, outputs = kernel_shape[2:]
    if math.prod(case.result_shape[:3]) * (inner + outputs) < inner * outputs:
        return "taps"  # So few pixels cost less than rearranging the kernel.
    if window.strides == (1, 1) and default_form(flipped(case)) == "winograd":
        return "winograd"
    form = _of_value(shape, kernel_shape, window)
    return "plain" if form == "winograd" else form


def _of_value(shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow) -> str:
    """Returns the name of the fastest form of the value for these shapes."""
    height, width, inner, outputs = kernel_shape
    if is_depthwise(Case(VALUE, shape, kernel_shape, window)) or (height, width) == (1, 1):
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
