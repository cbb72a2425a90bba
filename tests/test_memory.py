"""Memory of programs on CPUs: kept between runs, given back after compiling."""

import os
import subprocess
import sys

import jax
import pytest

from segjax.parallel import memory

glibc = pytest.mark.skipif(memory._glibc() is None, reason="the C library is not glibc")

RUNS = """
import math, resource
from segjax.parallel.cluster import tune_cpu
tune_cpu()
import jax, jax.numpy as jnp, numpy as np

large = 2**24  # Numbers, each array 64 MiB.
rng = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
first, second = draw(8, 64), draw(64, 64)

@jax.jit
def program(x):
    return jnp.sin(jnp.sin(x @ first) @ second).sum()

x = draw(large // 64, 8)
assert program.lower(x).compile().memory_analysis().temp_size_in_bytes >= 4 * large
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
least = math.inf  # Of several runs: a heap that is new settles first.
for _ in range(6):
    before = faults()
    program(x).block_until_ready()
    least = min(least, faults() - before)
print(least * resource.getpagesize() / (4 * large))
"""


def touched_anew(**variables: str) -> float:
    """Returns how much memory a run touches for the first time, in arrays of 64 MiB."""
    names = ("GLIBC_TUNABLES", *memory._VARIABLES)
    kept = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**kept, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0", **variables}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
    command = [sys.executable, "-c", RUNS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@glibc
def test_a_run_of_a_program_takes_the_memory_of_the_run_before():
    assert touched_anew() < 0.01


@glibc
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JAX_CPU_ENABLE_ASYNC_DISPATCH", "true"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0:glibc.malloc.mmap_threshold=131072"),
    ],
)
def test_where_the_user_has_chosen_memory_is_not_kept(variable, value):
    assert touched_anew(**{variable: value}) > 0.9


@pytest.mark.parametrize(
    ("variable", "value", "chosen"),
    [
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1", True),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=9", True),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2", False),
        ("MALLOC_MMAP_MAX_", "9", True),
        ("MALLOC_ARENA_MAX", "2", False),
    ],
)
def test_a_setting_of_the_same_kind_is_the_users_choice(monkeypatch, variable, value, chosen):
    for name in ("GLIBC_TUNABLES", *memory._VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert memory._is_chosen() == chosen


class Library:
    """A C library that writes down what it is asked."""

    def __init__(self):
        self.asked = []

    def mallopt(self, number, value):
        self.asked.append((number, value))

    def malloc_trim(self, pad):
        self.asked.append("trim")


@pytest.fixture
def library(monkeypatch):
    fake = Library()
    monkeypatch.setattr(memory, "_glibc", lambda: fake)
    memory._keep.cache_clear()
    yield fake
    memory._keep.cache_clear()


COMPILED = "/jax/core/compile/backend_compile_duration"


def test_memory_is_kept_from_the_first_compilation_on_and_long_ones_give_theirs_back(library):
    memory._compiled("/jax/core/compile/jaxpr_trace_duration", 9.0)
    assert library.asked == []
    memory._compiled(COMPILED, 0.1, fun_name="f")
    kept = [(-1, -1), (-4, 0)]
    assert library.asked == kept
    memory._compiled(COMPILED, 0.1)
    assert library.asked == kept
    memory._compiled(COMPILED, 2.0)
    assert library.asked == [*kept, "trim"]


def test_beside_a_gpu_the_heap_stays_as_it_is(library, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    memory._compiled(COMPILED, 2.0)
    assert library.asked == []


def test_without_glibc_nothing_changes(monkeypatch):
    updated = []
    monkeypatch.setattr(jax.config, "update", lambda *a: updated.append(a))
    monkeypatch.setattr(memory, "_is_chosen", lambda: False)
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    memory.keep_memory()
    memory.give_back()
    assert updated == []


@glibc
def test_memory_that_is_freed_can_be_given_back():
    code = (
        "import numpy as np\n"
        "from segjax.parallel import memory\n"
        "from segjax.planning.limit import process_bytes\n"
        "memory._keep()\n"
        "blocks = [np.ones(2**20) for _ in range(32)]; kept = np.ones(8)\n"
        "del blocks; free = process_bytes('VmRSS'); memory.give_back()\n"
        "print((free - process_bytes('VmRSS')) / 2**20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 240  # MiB of 256.
