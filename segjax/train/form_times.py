"""How long each form of a convolution takes on this machine, measured once and kept.

The times of all runs lie in one file of the cache for each kind of machine, version of jaxlib
and of the forms, and setting of XLA. They decide nothing here: see `segjax.train.tune`.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from segjax.atomic import write_text
from segjax.data.cache import cache_root
from segjax.ops import forms
from segjax.ops.conv_bounds import default_form
from segjax.ops.conv_forms import Form, candidates
from segjax.ops.forms import BY_KERNEL, Case, Shape
from segjax.parallel.kept_memory import is_kept
from segjax.parallel.machine import machine_digest

ROUNDS = 7
"""Turns of the forms of a case; the median counts. In each turn every form runs."""

SHORTEST = 0.003
"""Seconds of a turn of a form: one that is faster is called several times in a row."""

HOPELESS, SLOWER = 4.0, 1.4
"""Times the fastest form: one that takes so long in its first call, or in its first two turns,
is not timed further."""

MOST_CALLS = 30
"""Of a form in a turn."""

MORE_BYTES = 1 << 28
"""A form that takes so much more memory than the default one is left out."""

Seconds = dict[str, float]
"""{name of a form: seconds of a call}."""


class KeptTimes:
    """The times that this kind of machine has measured, in the cache.

    A file that cannot be read counts as none; what cannot be written is measured again.
    """

    def __init__(self) -> None:
        self.path = times_file()
        self._seconds = _read(self.path)

    def get(self, case: Case) -> Seconds | None:
        """Returns the seconds of a case's forms; None if it must be timed."""
        found = self._seconds.get(str(case), {})
        known = {name: found[name] for name in candidates(case) if name in found}
        return known if default_form(case) in known else None

    def add(self, case: Case, seconds: Seconds) -> None:
        """Keeps the seconds of a case's forms."""
        # Another run may have added its own since.
        self._seconds = {**_read(self.path), **self._seconds, str(case): seconds}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(self._seconds, indent=0))


def times_file() -> pathlib.Path:
    """Returns the file with the times of this kind of machine, which may not be there yet."""
    settings = [os.environ.get(name, "") for name in ("XLA_FLAGS", "GLIBC_TUNABLES")]
    settings += ["memory is kept"] if is_kept() else []
    flags = hashlib.sha256(repr(settings).encode()).hexdigest()[:4]
    version = importlib.metadata.version("jaxlib")
    name = f"{machine_digest(with_user=False)}-jaxlib{version}-{flags}-v{forms.VERSION}.json"
    return cache_root() / "forms" / name


def _read(path: pathlib.Path) -> dict[str, Seconds]:
    """Returns what the file holds, without what is no time."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            case: {
                name: float(value)
                for name, value in seconds.items()
                if 0 < float(value) < math.inf
            }
            for case, seconds in found.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def timed(
    cases: Iterable[Case],
    kept: KeptTimes,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[Case, Seconds]:
    """Returns the seconds of the forms of each case; measures those that are not kept yet.

    What is measured is kept at once, so that nothing of it is lost in an interruption.
    `progress` is told how many cases have been measured.
    """
    found, done = {}, 0
    for case in cases:
        if (seconds := kept.get(case)) is None:
            seconds = seconds_of(case)
            kept.add(case, seconds)
            progress(done := done + 1)
        found[case] = seconds
    return found


def seconds_of(case: Case) -> Seconds:
    """Returns the seconds of a call of each form of a case, compiled for one device.

    They include an operation by element before and after the form, as in a network.
    The forms take turns, so that a busy machine slows all of them. The default form comes
    first; another one that is clearly slower is called once or a few times only, and one that
    takes much more memory not at all.
    """
    default = default_form(case)
    names = sorted(candidates(case), key=lambda name: name != default)
    programs = {name: _compiled(case, name) for name in names}
    most = _temporary_bytes(programs[default]) + MORE_BYTES
    arrays = [_noise(shape) for shape in case.operand_shapes]
    calls: dict[str, Callable[[], Any]] = {}
    first: Seconds = {}
    for name, program in programs.items():
        if _temporary_bytes(program) <= most:
            calls[name] = partial(program, *arrays)
            first[name] = _seconds(name, calls[name])
    hopeful = {
        name: call for name, call in calls.items() if first[name] <= HOPELESS * first[default]
    }
    return first | _in_turns(hopeful, first)


def _compiled(case: Case, name: str) -> jax.stages.Compiled:
    """Returns the program of a form for the operands of a case, in float32."""
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in case.operand_shapes]
    return jax.jit(_among_others(case, candidates(case)[name])).lower(*shapes).compile()


def _among_others(case: Case, form: Form) -> Form:
    """Returns a form between operations such as stand before and after it in a network.

    XLA compiles it with them: what reads or writes a map in another layout can take half as
    long again as it takes alone, where its operands are given as they should be.
    """
    scaled = lambda a: jax.nn.relu(1.5 * a - 0.1)
    if case.question == BY_KERNEL:
        return lambda x, gradient: scaled(form(scaled(x), scaled(gradient)))
    return lambda a, kernel: scaled(form(scaled(a), kernel))


def _temporary_bytes(program: jax.stages.Compiled) -> int:
    """Returns the bytes that a program takes beside its operands and its result."""
    memory = program.memory_analysis()
    return memory.temp_size_in_bytes if memory else 0


def _in_turns(calls: Mapping[str, Callable[[], Any]], first: Seconds) -> Seconds:
    """Returns the median seconds of the forms, which are called one after another in a turn.

    `first` are the seconds of a first call of each.
    """
    turns: dict[str, list[float]] = {name: [] for name in calls}
    racing = [*calls]
    for turn in range(ROUNDS):
        for name in racing:
            count = math.ceil(SHORTEST / max(first[name], SHORTEST / MOST_CALLS))
            turns[name].append(_seconds(name, calls[name], count))
        if turn == 1:
            fastest = min(min(times) for times in turns.values())
            racing = [name for name in racing if min(turns[name]) <= SLOWER * fastest]
            if len(racing) == 1:
                break
    return {name: statistics.median(times) for name, times in turns.items()}


def _seconds(name: str, call: Callable[[], Any], count: int = 1) -> float:
    """Returns the seconds of a call of a form, of `count` in a row; `name` is for tests."""
    began = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready(call())
    return (time.perf_counter() - began) / count


def _noise(shape: Shape) -> jax.Array:
    """Returns random numbers, a block of them again and again: only their number matters."""
    block = np.random.default_rng(0).standard_normal(1 << 16, np.float32)
    return jax.device_put(np.resize(block, shape))
