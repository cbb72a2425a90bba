"""The forms of a convolution and of its two gradients: of equal value, each with a name.

`candidates` gives those that can answer a case, `chosen_form` the one that is taken: see
`conv_bounds` for the default ones, and `forms` for tables.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.conv_bounds import default_form
from segjax.ops.dispatch import in_the_backward_pass
from segjax.ops.forms import BY_KERNEL, BY_X, VALUE, Case, form_name
from segjax.ops.grouped import (
    by_joined_groups,
    convolution_by_element,
    groups_to_join,
    kernel_gradient_by_element,
)
from segjax.ops.kernel_gradients import (
    block_height,
    kernel_gradient_by_blocks,
    kernel_gradient_by_rows,
    kernel_gradient_by_taps,
)
from segjax.ops.pixel_taps import depthwise, depthwise_adjoint, depthwise_kernel_gradient
from segjax.ops.tap_matmul import TapWindow, by_taps, mirrored
from segjax.ops.winograd import winograd
from segjax.ops.winograd_gradient import winograd_kernel_gradient
from segjax.parallel.spatial import placed

Form = Callable[[Array, Array], Array]
"""A function of the two arrays of `Case.operand_shapes`, linear in each."""


def candidates(case: Case) -> dict[str, Form]:
    """Returns the forms that can answer a case, by name, in a fixed order.

    "plain" is XLA's own convolution, or its derivative.
    """
    if case.is_grouped:
        return _grouped(case)
    return {VALUE: _values, BY_X: _gradients_by_x, BY_KERNEL: _gradients_by_kernel}[
        case.question
    ](case)


def chosen_form(case: Case) -> Form:
    """Returns the form that a table in force names, or the default one.

    Its operations carry its name: what JAX traces in a derivative has no source line of a form.
    """
    name = form_name(case, default_form)
    return jax.named_scope(f"{case.question}, {name}")(candidates(case)[name])


def _values(case: Case) -> dict[str, Form]:
    """Returns the forms of (x, kernel) → y."""
    return {
        name: lambda x, kernel, of=of: of(x, kernel, case.window)
        for name, of in _of_value(case).items()
    }


def _of_value(case: Case) -> dict[str, Callable[[Array, Array, TapWindow], Array]]:
    """Returns the forms of (x, kernel, window) → y."""
    if case.is_depthwise:
        return {"plain": plain_form, "taps": depthwise}
    found = {"plain": plain_form, "taps": by_taps}
    return {**found, "winograd": winograd} if _is_3x3(case) else found


def _gradients_by_x(case: Case) -> dict[str, Form]:
    """Returns the forms of (gradient by y, kernel) → the gradient by x.

    They are the transposes of the value's. Winograd's is itself a convolution by the flipped
    kernel, whose pads are what the kernel's reach leaves of the pads.
    """
    window, shape = case.window, case.shape

    def transposed(of: Callable) -> Form:
        """Returns the transpose of a form of the value."""
        return lambda g, kernel: _transpose(lambda x: of(x, kernel, window), shape, g)

    found = {name: transposed(of) for name, of in _of_value(case).items()}
    if case.is_depthwise:
        size = (shape[1], shape[2])
        found["taps"] = lambda g, kernel: depthwise_adjoint(g, kernel, size, window)
    if "winograd" in found:
        back = case.flipped.window
        found["winograd"] = lambda g, kernel: winograd(g, kernel, back, adjoint=True)
    return found


def _gradients_by_kernel(case: Case) -> dict[str, Form]:
    """Returns the forms of (x, gradient by y) → the gradient by the kernel."""
    window, shape = case.window, case.kernel_shape
    size = (shape[0], shape[1])
    if case.is_depthwise:
        return {"taps": lambda x, g: depthwise_kernel_gradient(x, g, size, window)}
    taps = lambda x, g: kernel_gradient_by_taps(x, g, size, window)
    found: dict[str, Form] = {
        "plain": lambda x, g: _transpose(lambda k: plain_form(x, k, window), shape, g),
        "taps": taps,
    }
    if math.prod(size) == 1:
        return found
    found["taps"] = in_the_backward_pass(taps)
    if size[1] > 1:
        found["rows"] = in_the_backward_pass(
            lambda x, g: kernel_gradient_by_rows(x, g, size, window)
        )
    lines = block_height(case.shape, case.result_shape, size, window)
    if lines:
        found["blocks"] = in_the_backward_pass(
            lambda x, g: kernel_gradient_by_blocks(x, g, size, window, lines=lines)
        )
    if _is_3x3(case):
        # It does not wait: steps took 2 % more time then, for 2 and 5 % less memory.
        found["winograd"] = lambda x, g: winograd_kernel_gradient(x, g, window)
    return found


def _grouped(case: Case) -> dict[str, Form]:
    """Returns the forms for several channels in each of several groups.

    XLA's own gradient by the kernel takes hundreds of times as long, so it is none of them.
    """
    window, (height, width, inner, outputs) = case.window, case.kernel_shape
    plain = lambda x, kernel: plain_form(x, kernel, window)
    found: dict[str, Form] = {}
    if case.question == VALUE:
        found["plain"] = plain
    elif case.question == BY_X:
        found["plain"] = lambda g, k: _transpose(lambda x: plain(x, k), case.shape, g)
    found["joined"] = by_joined_groups(case, chosen_form)
    if case.question == BY_KERNEL:
        found["joined"] = in_the_backward_pass(found["joined"])
    each = outputs // window.groups
    together = groups_to_join(inner, each, window.groups)
    if together is None or together * max(inner, each) > 32:
        return found
    if case.question == VALUE:
        found["elements"] = lambda x, kernel: convolution_by_element(x, kernel, window)
    elif case.question == BY_KERNEL:
        size = (height, width)
        of = functools.partial(kernel_gradient_by_element, kernel_size=size, window=window)
        # Laid out again in the backward pass: else the strips would be kept until then. With a
        # barrier too a layer kept 3.0 maps instead of 3.1.
        found["elements"] = jax.checkpoint(of, prevent_cse=False)
    elif window.strides == (1, 1):
        found["elements"] = lambda g, kernel: convolution_by_element(
            g, mirrored(kernel, window.groups), case.flipped.window
        )
    return found


def _is_3x3(case: Case) -> bool:
    return case.kernel_shape[:2] == (3, 3) and case.window.strides == (1, 1)


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


def _transpose(
    function: Callable[[Array], Array], shape: tuple[int, ...], gradient: Array
) -> Array:
    """Returns the transpose of a linear `function` of an array of `shape`, at `gradient`."""
    of = jax.ShapeDtypeStruct(shape, gradient.dtype)
    return jax.linear_transpose(function, of)(gradient)[0]
