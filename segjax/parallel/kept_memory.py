"""Memory of programs on CPUs, which the process keeps from one run to the next.

XLA takes a program's temporary memory, hundreds of MiB, anew for each run, and the C library
gives so large a block back to the system at once. The system then clears it again page by page,
and where it has handed it to the host of a virtual machine meanwhile, that costs more than a
second a GiB. A block that is kept is warm, and always the same one.

glibc keeps it if it is told to, but only for the thread that started Python: others have heaps
of 64 MiB. So a program runs in the thread that calls it, and its arguments are on the device
before (`at_hand`). This is for processes with one device; with several, XLA runs each device's
program in a thread of its own.
"""

import ctypes
import functools
import gc
import os
import re
from typing import Any

import jax
import jax.monitoring
import numpy as np
from jax._src import xla_bridge  # Its public part does not tell whether a backend exists.

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's `mallopt`: what is given back, and how many blocks lie apart."""

_CHOSEN = re.compile(r"glibc\.malloc\.(mmap_max|mmap_threshold|trim_threshold|top_pad)\b")
_VARIABLES = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "JAX_CPU_ENABLE_ASYNC_DISPATCH",
)

LONG = 1.0
"""Seconds of a compilation after which the compiler's memory goes back to the system."""


def keep_memory() -> None:
    """Has programs on CPUs reuse their memory; call it before any device use.

    It takes effect at the first compilation for a CPU, and where the C library is glibc. What
    compiling took goes back to the system after each compilation of a second or longer. Where
    the user has set any of glibc's variables of this, or `JAX_CPU_ENABLE_ASYNC_DISPATCH`,
    nothing is changed, and neither where a device has been used before.
    """
    if _is_chosen() or _glibc() is None or xla_bridge.backends_are_initialized():
        return
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _listen()


def is_kept() -> bool:
    """Returns whether programs of this process reuse their memory."""
    return _listen.cache_info().currsize > 0 and jax.default_backend() == "cpu"


def at_hand(arguments: Any) -> Any:
    """Returns a program's arguments with the host's arrays on the device, where memory is kept.

    While an argument is still being copied, XLA starts the program in another thread.
    """
    if not is_kept() or jax.device_count() > 1:
        return arguments
    put = lambda leaf: jax.device_put(leaf) if isinstance(leaf, np.ndarray) else leaf
    return jax.block_until_ready(jax.tree.map(put, arguments))


def give_back() -> None:
    """Returns memory that the process has freed to the system, where the C library can."""
    if library := _glibc():
        library.malloc_trim(0)


def forget_programs() -> None:
    """Drops all compiled programs, and returns their memory to the system."""
    jax.clear_caches()
    gc.collect()
    give_back()


@functools.cache
def _listen() -> None:
    """Hears of compilations from now on, in the thread that made them."""
    jax.monitoring.register_event_duration_secs_listener(_compiled)


def _compiled(event: str, duration_secs: float, **_: str | int) -> None:
    """Keeps memory after the first compilation for a CPU; gives the compiler's back."""
    if event != "/jax/core/compile/backend_compile_duration":
        return
    if jax.default_backend() != "cpu":
        return
    _keep()
    if duration_secs >= LONG:
        give_back()


@functools.cache
def _keep() -> None:
    library = _glibc()
    assert library is not None  # `keep_memory` has asked.
    library.mallopt(_TRIM_THRESHOLD, -1)
    library.mallopt(_MMAP_MAX, 0)


def _is_chosen() -> bool:
    """Returns whether the user has chosen how memory is kept."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return bool(_CHOSEN.search(tunables)) or any(name in os.environ for name in _VARIABLES)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Returns the C library if it is glibc."""
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # Windows; another C library.
        return None
    return ctypes.CDLL(None) if library.startswith("glibc") else None
