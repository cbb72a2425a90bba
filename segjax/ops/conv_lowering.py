"""The choice of how a convolution and its two gradients run, by shape and platform.

Taps that meet only padding are dropped, which is exact for finite numbers. GPUs and TPUs run
the rest as XLA's convolution. CPUs run one of the forms below; the bounds between them were
timed shape by shape on two cores. Under `plain()` everything is XLA's convolution.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops import kernel_gradients
from segjax.ops.dispatch import as_one_program, is_plain, on_cpu, with_custom_gradients
from segjax.ops.kernel_gradients import (
    block_height,
    kernel_gradient_by_blocks,
    kernel_gradient_by_taps,
)
from segjax.ops.pixel_taps import depthwise, depthwise_adjoint, depthwise_kernel_gradient
from segjax.ops.tap_matmul import TapWindow, by_taps, live_taps
from segjax.ops.winograd import tiles, winograd
from segjax.ops.winograd_gradient import winograd_kernel_gradient
from segjax.parallel.spatial import placed


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


def plain_form(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "kh kw i o"],
    window: TapWindow,
    *,
    spread: tuple[int, int] = (1, 1),
) -> Float[Array, "b oh ow o"]:
    """Returns XLA's own convolution, which every other form equals up to rounding.

    Equality holds for finite numbers. `spread` is the distance between neighbours of `x` after
    zeros are inserted: the stride of a transposed convolution.
    """
    pads = window.pads
    if min(pads[0] + pads[1]) < 0:
        # Where pads cut, derivatives of XLA's primitive read memory outside the map (0.10.2).
        cut = [(*edges, s - 1) for edges, s in zip(pads, spread, strict=True)]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *cut, (0, 0, 0)])
        pads, spread = ((0, 0), (0, 0)), (1, 1)
    y = lax.conv_general_dilated(
        placed(x),
        kernel,
        window_strides=window.strides,
        padding=pads,
        lhs_dilation=spread,
        rhs_dilation=window.dilations,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=window.groups,
    )
    return placed(y)


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
    if window.groups > 1 and not _is_depthwise(shape, kernel_shape, window):
        return lambda x, kernel: _by_groups(x, kernel, window)
    form = _form_on_cpu(shape, kernel_shape, window)
    return with_custom_gradients(
        lambda x, kernel: form(x, kernel, window),
        lambda gradient, kernel: _gradient_by_x(gradient, kernel, shape, window),
        _gradient_by_kernel(shape, kernel_shape, window),
    )


def _is_depthwise(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> bool:
    """Returns whether every channel has one kernel of its own."""
    return kernel_shape[2] == 1 and kernel_shape[3] == window.groups == shape[3]


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
    if pieces <= 8:
        parts = jnp.split(x, pieces, axis=3)
        return jnp.concatenate([*map(ordinary, parts, joined)], axis=3)
    # A loop: so many convolutions side by side would take a minute to compile.
    apart = jnp.moveaxis(x.reshape(*x.shape[:3], pieces, -1), 3, 0)
    filled = lax.map(lambda piece: ordinary(*piece), (apart, joined))
    return jnp.moveaxis(filled, 0, 3).reshape(*filled.shape[1:4], outputs)


def _gradient_by_kernel(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> Callable[[Array, Array], Array]:
    """Returns a function (x, gradient) → the gradient by the kernel, in its fastest form."""
    height, width, inner, outputs = kernel_shape
    if _is_depthwise(shape, kernel_shape, window):
        return lambda x, g: depthwise_kernel_gradient(x, g, (height, width), window)
    if _saves(shape, kernel_shape, window) and min(inner, outputs) >= 32:
        # Where pixels are few, sums over them cost less than the products' transform.
        if 2 * shape[0] * _tiles(shape, window) >= inner * outputs // (inner + outputs):
            return lambda x, g: winograd_kernel_gradient(x, g, window)
    if height * width > 9 and inner * outputs < 64 * 64:
        # Many taps, each of them a small product: XLA's own gradient is faster.
        return lambda x, g: _transpose(lambda k: plain_form(x, k, window), kernel_shape, g)
    return lambda x, g: _by_taps_or_blocks(x, g, (height, width), window)


def _by_taps_or_blocks(
    x: Array, gradient: Array, kernel_size: tuple[int, int], window: TapWindow
) -> Array:
    """Returns the gradient by the kernel: by blocks where whole maps would leave the cache."""
    reached = math.prod(gradient.shape[:3]) * x.shape[3]  # What a tap reads.
    large = reached + gradient.size > kernel_gradients.LARGE
    several = 1 < math.prod(kernel_size) <= 9
    lines = block_height(x.shape, gradient.shape, kernel_size, window)
    if lines and large and several and _is_full(x.shape, kernel_size, window):
        return kernel_gradient_by_blocks(x, gradient, kernel_size, window, lines=lines)
    return kernel_gradient_by_taps(x, gradient, kernel_size, window)


def _transpose(
    function: Callable[[Array], Array], shape: tuple[int, ...], gradient: Array
) -> Array:
    """Returns the transpose of a linear `function` of an array of `shape`, at `gradient`."""
    of = jax.ShapeDtypeStruct(shape, gradient.dtype)
    return jax.linear_transpose(function, of)(gradient)[0]


def _gradient_by_x(
    gradient: Float[Array, "b oh ow o"],
    kernel: Float[Array, "kh kw i o"],
    shape: tuple[int, ...],
    window: TapWindow,
) -> Float[Array, "b h w c"]:
    """Returns the gradient by x: a convolution by the flipped kernel, or a form's transpose."""
    if _is_depthwise(shape, kernel.shape, window):
        return depthwise_adjoint(gradient, kernel, (shape[1], shape[2]), window)
    height, width, inner, outputs = kernel.shape
    reach = [d * (k - 1) for d, k in zip(window.dilations, (height, width), strict=True)]
    pads = [(r - p, r - q) for r, (p, q) in zip(reach, window.pads, strict=True)]
    back = window._replace(pads=(pads[0], pads[1]))
    if window.strides == (1, 1):
        swapped = (height, width, outputs, inner)
        if _form_on_cpu(gradient.shape, swapped, back) is winograd:
            return winograd(gradient, kernel, back, adjoint=True)
    form = _form_on_cpu(shape, kernel.shape, window)
    form = plain_form if form is winograd else form
    if math.prod(gradient.shape[:3]) * (inner + outputs) < inner * outputs:
        form = by_taps  # So few pixels cost less than XLA's rearranging of the kernel.
    return _transpose(lambda x: form(x, kernel, window), shape, gradient)


def _form_on_cpu(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> Callable[[Array, Array, TapWindow], Array]:
    """Returns the fastest form of the value for these shapes."""
    height, width, inner, outputs = kernel_shape
    if _is_depthwise(shape, kernel_shape, window):
        return depthwise
    if (height, width) == (1, 1):
        return by_taps
    narrow, pixels = min(inner, outputs), math.prod(shape[:3])
    if _saves(shape, kernel_shape, window) and narrow >= 96:
        # The factors of Winograd's 16 products should stay in the cache.
        small = math.prod(shape) <= 1 << 21 and inner * outputs <= 1 << 18
        if small and pixels * outputs <= 1 << 21:
            return winograd
    is_full = _is_full(shape, (height, width), window)
    return by_taps if narrow >= 96 and not is_full else plain_form


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
