"""Memory of programs on CPUs: kept between runs, given back after compiling."""

import argparse
import os
import subprocess
import sys

import jax
import pytest

from segjax import served_page
from segjax.parallel import cluster, kept_memory
from segjax.planning.limit import memory_limit
from segjax.restart import HUGE_PAGES

glibc = pytest.mark.skipif(kept_memory._glibc() is None, reason="the C library is not glibc")
small_pages = pytest.mark.skipif(
    HUGE_PAGES.exists() and "[always]" in HUGE_PAGES.read_text(encoding="utf-8"),
    reason="Linux gives large pages to everybody, of which a run touches few",
)

RUNS = """
import resource, statistics, sys
from segjax.parallel.cluster import tune_cpu
tune_cpu()
import jax, jax.numpy as jnp, numpy as np
from segjax.parallel.dry_run import execute

large = 2**24  # Numbers, each array 64 MiB.
rng = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
first, second = draw(8, 64), draw(64, 64)

@jax.jit
def program(x):
    # Between barriers, so that no version of XLA makes the whole one loop.
    y = jax.lax.optimization_barrier(jnp.sin(x @ first))
    return jax.lax.optimization_barrier(jnp.sin(y @ second)).sum()

x = draw(large // 64, 8)
if sys.argv[1] == "of NumPy":  # Where most arrays lie: 16 bytes after a multiple of 64.
    room = np.empty(x.size + 32, np.float32)
    first_place = -room.ctypes.data % 64 // 4 + 4
    odd = room[first_place : first_place + x.size].reshape(x.shape)
    odd[:] = x
    x = odd
assert program.lower(x).compile().memory_analysis().temp_size_in_bytes >= 4 * large
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
found = []
for _ in range(35):
    before = faults()
    execute(program, x).block_until_ready()
    found.append(faults() - before)
# The median: a heap that is new settles first. Small blocks that stay beside the program's make
# its place too small for it; on a machine with other work that happened in up to 5 of 9 runs.
print(statistics.median(found) * resource.getpagesize() / (4 * large))
"""


def touched_anew(kind: str, **variables: str) -> float:
    """Returns how much memory a run touches for the first time, in arrays of 64 MiB.

    `kind` is where its argument is: an array of NumPy's has to be copied first.
    """
    names = ("GLIBC_TUNABLES", *kept_memory._VARIABLES)
    kept = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**kept, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0", **variables}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
    command = [sys.executable, "-c", RUNS, kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@glibc
@small_pages
@pytest.mark.parametrize("kind", ["on the device", "of NumPy"])
def test_a_run_of_a_program_takes_the_memory_of_the_run_before(kind):
    assert touched_anew(kind) < 0.01


@glibc
@small_pages
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JAX_CPU_ENABLE_ASYNC_DISPATCH", "true"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0:glibc.malloc.mmap_threshold=131072"),
    ],
)
def test_where_the_user_has_chosen_memory_is_not_kept(variable, value):
    assert touched_anew("on the device", **{variable: value}) > 0.9


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
    for name in ("GLIBC_TUNABLES", *kept_memory._VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert kept_memory._is_chosen() == chosen


class Library:
    """A C library that writes down what it is asked."""

    def __init__(self):
        self.asked = []

    def mallopt(self, number, value):
        self.asked.append((number, value))

    def malloc_trim(self, pad):
        self.asked.append("trim")


def test_after_a_device_has_been_used_nothing_changes(monkeypatch):
    for name in ("GLIBC_TUNABLES", *kept_memory._VARIABLES):
        monkeypatch.delenv(name, raising=False)
    heard = []
    monkeypatch.setattr(jax.config, "update", lambda *a: heard.append(a))
    monkeypatch.setattr(kept_memory, "_listen", lambda: heard.append("listens"))
    monkeypatch.setattr(kept_memory, "_glibc", Library)
    jax.devices()
    kept_memory.keep_memory()
    assert heard == []
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    kept_memory.keep_memory()
    assert heard == [("jax_cpu_enable_async_dispatch", False), "listens"]


@pytest.fixture
def library(monkeypatch):
    fake = Library()
    monkeypatch.setattr(kept_memory, "_glibc", lambda: fake)
    kept_memory._keep.cache_clear()
    yield fake
    kept_memory._keep.cache_clear()


COMPILED = "/jax/core/compile/backend_compile_duration"


def test_memory_is_kept_from_the_first_compilation_on_and_long_ones_give_theirs_back(library):
    kept_memory._compiled("/jax/core/compile/jaxpr_trace_duration", 9.0)
    assert library.asked == []
    kept_memory._compiled(COMPILED, 0.1, fun_name="f")
    kept = [(-1, -1), (-4, 0)]
    assert library.asked == kept
    kept_memory._compiled(COMPILED, 0.1)
    assert library.asked == kept
    kept_memory._compiled(COMPILED, 2.0)
    assert library.asked == [*kept, "trim"]


def test_beside_a_gpu_the_heap_stays_as_it_is(library, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    kept_memory._compiled(COMPILED, 2.0)
    assert library.asked == []


def test_the_memory_of_programs_that_are_forgotten_goes_back(library, monkeypatch):
    monkeypatch.setattr(jax, "clear_caches", lambda: library.asked.append("forget"))
    kept_memory.forget_programs()
    assert library.asked == ["forget", "trim"]


def test_a_plan_does_not_count_free_memory_that_is_kept_as_taken(library):
    memory_limit()
    assert library.asked == ["trim"]


def test_the_page_keeps_no_memory_because_its_requests_have_threads(monkeypatch):
    asked = []
    monkeypatch.setattr(cluster, "keep_memory", lambda: asked.append("keep"))
    monkeypatch.setattr(served_page, "keep_programs", lambda root: None)
    with pytest.raises(AttributeError):  # At its arguments, of which there are none.
        served_page.serve_page(argparse.Namespace())
    assert asked == []
    cluster.tune_cpu()
    assert asked == ["keep"]


def test_without_glibc_nothing_changes(monkeypatch):
    heard = []
    monkeypatch.setattr(jax.config, "update", lambda *a: heard.append(a))
    monkeypatch.setattr(kept_memory, "_listen", lambda: heard.append("listens"))
    monkeypatch.setattr(kept_memory, "_is_chosen", lambda: False)
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    monkeypatch.setattr(kept_memory, "_glibc", lambda: None)
    kept_memory.keep_memory()
    kept_memory.give_back()
    assert heard == []


@glibc
def test_memory_that_is_freed_can_be_given_back():
    code = (
        "import numpy as np\n"
        "from segjax.parallel import kept_memory\n"
        "from segjax.planning.limit import process_bytes\n"
        "kept_memory._keep()\n"
        "blocks = [np.ones(2**20) for _ in range(32)]; kept = np.ones(8)\n"
        "del blocks; free = process_bytes('VmRSS'); kept_memory.give_back()\n"
        "print((free - process_bytes('VmRSS')) / 2**20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 240  # MiB of 256.
