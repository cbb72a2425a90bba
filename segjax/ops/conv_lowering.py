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

from segjax.ops.dispatch import as_one_program, is_plain, on_cpu, with_custom_gradients
from segjax.ops.tap_matmul import (
    TapWindow,
    by_taps,
    depthwise,
    depthwise_kernel_gradient,
    kernel_gradient,
    live_taps,
)
from segjax.ops.winograd import tiles, winograd
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
    y = lax.conv_general_dilated(
        placed(x),
        kernel,
        window_strides=window.strides,
        padding=window.pads,
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
    form = _form_on_cpu(shape, kernel_shape, window)
    value = lambda x, kernel: form(x, kernel, window)
    height, width, inner, outputs = kernel_shape
    by_kernel = lambda x, gradient: kernel_gradient(x, gradient, (height, width), window)
    if form is depthwise:
        by_kernel = lambda x, gradient: depthwise_kernel_gradient(
            x, gradient, (height, width), window
        )
    elif window.groups > 1:
        by_kernel = lambda x, gradient: _transpose(
            lambda kernel: by_taps(x, kernel, window), kernel_shape, gradient
        )
    elif inner * outputs < 64 * 64:
        return value  # Small products: XLA's own gradients are faster then.
    return with_custom_gradients(
        value,
        lambda gradient, kernel: _gradient_by_x(gradient, kernel, shape, window),
        by_kernel,
    )


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
    return _transpose(lambda x: form(x, kernel, window), shape, gradient)


def _form_on_cpu(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], window: TapWindow
) -> Callable[[Array, Array, TapWindow], Array]:
    """Returns the fastest form of the value for these shapes."""
    height, width, inner, outputs = kernel_shape
    if inner == 1 and outputs == window.groups == shape[3]:
        return depthwise
    if (height, width) == (1, 1):
        return by_taps
    if window.groups > 1:
        return by_taps if inner < 8 else plain_form
    size, narrow = (shape[1], shape[2]), min(inner, outputs)
    taps = _share_of_live_taps(size, (height, width), window) * height * width
    if (height, width) == (3, 3) and window.strides == (1, 1) and narrow >= 96:
        covered = [2 * window.dilations[a] * tiles(window, a, size[a]) for a in (0, 1)]
        exact = [window.size(a, size[a], 3) for a in (0, 1)]
        saves = 4 * covered[0] * covered[1] < 0.9 * taps * exact[0] * exact[1]
        # The factors of Winograd's 16 products should stay in the cache.
        small = math.prod(shape) <= 1 << 21 and inner * outputs <= 1 << 18
        if saves and small and math.prod(shape[:3]) * outputs <= 1 << 21:
            return winograd
    return by_taps if narrow >= 96 and taps < 0.6 * height * width else plain_form


def _share_of_live_taps(
    size: tuple[int, int], kernel_size: tuple[int, int], window: TapWindow
) -> float:
    """Returns the share of (output, tap) pairs that read a pixel, not padding."""
    reached = sum(
        len(rows) * len(columns) for _, (rows, columns) in live_taps(size, kernel_size, window)
    )
    height, width = (window.size(a, size[a], kernel_size[a]) for a in (0, 1))
    return reached / (height * width * kernel_size[0] * kernel_size[1])
