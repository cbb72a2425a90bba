"""Which form of an operation runs: its one plain primitive, or an equal and faster one.

XLA's convolutions are good on GPUs and TPUs; on a CPU their gradients and their grouped and
transposed kinds fall up to a hundred times behind matrix products that give the same numbers.
So on a CPU, and only there, `segjax.ops` writes convolutions as products. JAX's own rules then
give the derivatives of any order, in both modes, and these are products again.

The backend is asked while a function is traced. What is traced on a CPU for another platform
(an export) should be traced under `plain()`.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax

_PLAIN = ContextVar("plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Inside, operations are traced as plain primitives: the oracle of the fast forms.

    Holds for tracing only: a function that `jax.jit` has traced before keeps its form.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Returns whether operations are to be traced as plain primitives."""
    return _PLAIN.get()


def on_cpu() -> bool:
    """Returns whether what is traced now will run on a CPU, unless its user places it."""
    device = jax.config.jax_default_device
    if device is None:
        return jax.default_backend() == "cpu"
    return (device if isinstance(device, str) else device.platform) == "cpu"
