"""Which form of an operation runs: XLA's plain primitive, or a faster one of equal value.

XLA's convolutions are fast on GPUs and TPUs. On a CPU their gradients, and grouped and
transposed convolutions, can be a hundred times slower than matrix products that give the same
numbers. So on a CPU, and only there, `segjax.ops` computes convolutions as matrix products,
equal up to rounding, with one form for the value and one for each of the two gradients
(`with_custom_gradients`).

The form is chosen while JAX traces a function, by the backend of that moment. Trace under
`plain()` what will run on another platform, such as an export. Where several devices share an
image, operations are plain too, because XLA's partitioner knows how to split those.
"""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar

import jax
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from segjax.parallel.spatial import is_splitting

_PLAIN = ContextVar("plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Traces operations inside the `with` block as plain primitives, the fast forms' oracle.

    It affects tracing only, in this thread only. A function that JAX has already traced (by
    `jit`, `scan` or `checkpoint`) keeps its form.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Returns whether operations are traced as plain primitives."""
    return _PLAIN.get() or is_splitting()


def on_cpu() -> bool:
    """Returns whether JAX's default device is a CPU."""
    device = getattr(jax.config, "jax_default_device", None)  # A type checker does not see it.
    if device is None:
        return jax.default_backend() == "cpu"
    return (device if isinstance(device, str) else device.platform) == "cpu"


def as_one_program(*, static: Sequence[str]) -> Callable[[Callable], Callable]:
    """Returns a decorator that compiles an operation as one program outside a trace.

    Outside `jit`, JAX compiles each primitive separately, and a fast form has dozens: the first
    eager `model.init` of a large network would compile hundreds of programs. Inside a trace
    (`jit`, `grad`, an export) and under `plain()` the decorator changes nothing, not one bit.

    Args:
      static: names of the parameters that are not arrays.
    """

    def decorate(operation: Callable) -> Callable:
        """Returns the operation, compiled as a whole where nothing is traced."""
        compiled = jax.jit(operation, static_argnames=tuple(static))

        @functools.wraps(operation)
        def run(*arrays_and_options, **options):
            values = (*arrays_and_options, *options.values())
            is_traced = any(isinstance(value, Tracer) for value in values)
            chosen = operation if is_traced or is_plain() else compiled
            return chosen(*arrays_and_options, **options)

        return run

    return decorate


def in_the_backward_pass(gradient: Callable[[Array, Array], Array]) -> Callable:
    """Returns a gradient by the kernel, of (x, gradient by y), for the backward pass alone.

    Without this, JAX computes in the forward pass what depends on x alone, and keeps it: for a
    3×3 kernel up to nine copies of x for each layer. jax 0.10 keeps the barrier that this needs
    only with the flags that `segjax.parallel.cluster.tune_cpu` sets.
    """
    return jax.checkpoint(gradient)


def with_custom_gradients(
    value: Callable[[Array, Array], Array],
    gradient_by_x: Callable[[Array, Array], Array],
    gradient_by_kernel: Callable[[Array, Array], Array],
) -> Callable[[Array, Array], Array]:
    """Returns `value(x, kernel)`, linear in both, with gradients that are written by hand.

    Unlike `jax.custom_vjp`'s they can be differentiated again, and forward mode works: the
    derivative along x is the transpose of its gradient, which reverse mode transposes back.

    Args:
      value: (x, kernel) → y.
      gradient_by_x: (gradient by y, kernel) → gradient by x.
      gradient_by_kernel: (x, gradient by y) → gradient by the kernel.
    """

    @jax.custom_jvp
    def product(x, kernel):
        return value(x, kernel)

    def derivative(primals, tangents):
        """Returns y and its derivative along the tangents, which may be symbolic zeros."""
        (x, kernel), (dx, dkernel) = primals, tangents
        y = product(x, kernel)
        terms = []
        if not isinstance(dx, SymbolicZero):
            along = jax.linear_transpose(lambda g: gradient_by_x(g, kernel), y)
            terms += along(dx)
        if not isinstance(dkernel, SymbolicZero):
            along = jax.linear_transpose(lambda g: gradient_by_kernel(x, g), y)
            terms += along(dkernel)
        return y, functools.reduce(operator.add, terms)

    product.defjvp(derivative, symbolic_zeros=True)
    return product
