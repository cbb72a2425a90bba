"""The choice of how a convolution and its two gradients run, by shape and platform.

Taps that meet only padding are dropped, which is exact for finite numbers. GPUs and TPUs run
the rest as XLA's convolution. CPUs run one of the forms of `conv_forms`: the one that a table
names (`forms`), else the one of `conv_bounds`. Under `plain()` everything is XLA's convolution.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.conv_forms import chosen_form, plain_form
from segjax.ops.dispatch import as_one_program, is_plain, on_cpu, with_custom_gradients
from segjax.ops.forms import BY_KERNEL, QUESTIONS, Case, is_noting
from segjax.ops.materialize import materialized
from segjax.ops.tap_matmul import TapWindow


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
    """Returns the form that answers a case, which is chosen when JAX traces it.

    A map that it returns is written once. Without this, XLA repeats a form's last step, a sum
    of maps, in every operation that reads it, and keeps the terms until the last one has run.
    """
    of = lambda a, b: chosen_form(case)(a, b)
    return of if case.question == BY_KERNEL else lambda a, b: materialized(of(a, b))
