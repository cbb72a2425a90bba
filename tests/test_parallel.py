"""How processes join, count and add up; the steps are tested where they are built."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from jax.experimental import multihost_utils

from segjax.parallel import cluster
from segjax.parallel.sums import gather_by_index, gather_bytes, sum_over_processes

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
REDUCED = f"{FLAG}=LIBRARY_FUSION_TYPE_REDUCE"
PASSES = "--xla_disable_hlo_passes"
KEPT = f"{PASSES}=cse_barrier_expander,small-while-loop-hoisting"


@pytest.mark.parametrize(
    ("version", "given", "flags"),
    [
        ("0.10.2", None, f"{REDUCED} {KEPT}"),
        ("0.10.0", "--xla_a=1", f"--xla_a=1 {REDUCED} {KEPT}"),
        ("0.10.2", f"{FLAG}=", f"{FLAG}= {KEPT}"),
        ("0.10.2", f"{PASSES}=dce", f"{PASSES}=dce {REDUCED}"),
        ("0.12.0", "--xla_a=1", f"--xla_a=1 {REDUCED}"),
        ("0.13.0", "--xla_a=1", "--xla_a=1"),
        ("1.10.0", "", ""),
    ],
)
def test_only_versions_that_were_tried_are_tuned_and_the_users_word_stays(
    monkeypatch, version, given, flags
):
    monkeypatch.setattr("importlib.metadata.version", {"jaxlib": version}.get)
    monkeypatch.setattr(cluster, "_has_only_cpus", lambda: True)
    monkeypatch.delenv("XLA_FLAGS")
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    cluster.tune_cpu()
    assert os.environ.get("XLA_FLAGS") == flags


@pytest.mark.parametrize(
    ("platforms", "plugins", "modules", "kept"),
    [
        (None, (), (), True),
        ("cpu", ("xla_cuda12",), ("jax_plugins",), True),
        (None, ("xla_cuda12",), (), False),
        (None, (), ("jax_plugins",), False),
        (None, (), ("libtpu",), False),
        ("cuda,cpu", (), (), False),
    ],
)
def test_barriers_are_kept_only_where_nothing_but_cpus_can_be_used(
    monkeypatch, platforms, plugins, modules, kept
):
    found = {"jax_plugins": plugins}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found[group])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in modules or None)
    monkeypatch.setattr("importlib.metadata.version", {"jaxlib": "0.10.2"}.get)
    monkeypatch.setattr(cluster.jax, "config", SimpleNamespace(jax_platforms=platforms))
    monkeypatch.delenv("XLA_FLAGS")
    cluster.tune_cpu(keeps_memory=False)
    assert os.environ["XLA_FLAGS"] == (f"{REDUCED} {KEPT}" if kept else REDUCED)


def test_xla_knows_the_flag_and_computes_with_it():
    code = (
        "from segjax.parallel.cluster import tune_cpu; tune_cpu()\n"
        "import jax.numpy as jnp, os; from segjax.ops.conv import conv2d\n"
        "y = conv2d(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 2)))\n"
        "print(os.environ['XLA_FLAGS'], y.sum())"
    )
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert FLAG in done.stdout and done.stdout.endswith(f" {float(2 * 2 * 2 * 27)}\n")


LOOPS = """
from segjax.parallel.cluster import tune_cpu
tune_cpu()
import jax
import jax.numpy as jnp
from jax import lax
from segjax.ops.pool import max_pool

apart = lax.optimization_barrier
pooled = lambda x: max_pool(x, window=3, stride=1, padding=1)
again = lambda of: lambda x: lax.scan(lambda c, _: (of(c), None), x, None, length=3)[0]
for n in (4, 1024):
    x = jnp.linspace(0.1, 0.9, n)
    maps = x.reshape(1, 2, -1, 1)
    stored = jax.checkpoint(lambda x: jnp.sin(x) * x)
    for function, at in (
        (again(lambda x: apart(x) * 1.5), x),
        (jax.grad(lambda x: again(stored)(x).sum()), x),
        (jax.grad(lambda x: again(pooled)(x).sum()), maps),
        (lambda x: lax.map(lambda row: apart(jnp.sin(row)) + row, x.reshape(2, -1)), x),
        (lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: apart(c) + 1, x), x),
        (lambda x: lax.cond(x[0] > 0, lambda x: apart(x) * 2, lambda x: x, x), x),
    ):
        value = jax.jit(function)(at)
        with jax.disable_jit():
            assert jnp.allclose(value, function(at), rtol=1e-5), (n, function)
print("done")
"""


def test_loops_with_barriers_compile_and_are_right():
    environment = {**os.environ, "XLA_FLAGS": ""}
    del environment["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    command = [sys.executable, "-c", LOOPS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout == "done\n", done.stderr


@pytest.fixture
def others(monkeypatch):
    """Has this process gather with others: a list of the arrays that they hold, as bytes."""
    held: list[np.ndarray] = []

    def gather(mine: np.ndarray) -> np.ndarray:
        assert mine.dtype == np.uint8  # Whatever has more bits JAX would round or cut.
        return np.stack([mine, *(each.reshape(-1).view(np.uint8) for each in held)])

    monkeypatch.setattr("jax.process_count", lambda: 1 + len(held))
    monkeypatch.setattr("jax.experimental.multihost_utils.process_allgather", gather)
    return held


def test_integers_of_several_processes_add_up_to_the_last_unit(others):
    mine = np.array([[2**62, 2**53 + 1], [-7, 2**31 - 1]])
    others += [np.array([[2**61, 2], [-(2**40), 1]]), np.array([[1, 2**53], [5, 2**31]])]
    total = sum_over_processes(mine)
    assert total.dtype == np.int64
    expected = [[2**62 + 2**61 + 1, 2**54 + 3], [-(2**40) - 2, 2**32]]
    np.testing.assert_array_equal(total, expected)


def test_floats_of_several_processes_add_up_in_64_bits(others):
    mine = np.array([1 / 3, 2.0**-60, 1e300])
    others += [np.array([1e-9, 1.0, 1.0]), np.array([np.pi, -1.0, np.nan])]
    total = sum_over_processes(mine)
    assert total.dtype == np.float64
    np.testing.assert_array_equal(total, (mine + others[0]) + others[1])


def test_single_numbers_and_every_second_of_an_array_add_up(others):
    others += [np.array(2)]
    assert sum_over_processes(np.array(40)) == 42
    others[:] = [np.ones(3, np.int64)]
    np.testing.assert_array_equal(sum_over_processes(np.arange(6)[::2]), [1, 3, 5])


def test_numbers_by_index_come_from_the_process_that_has_them_in_all_their_bits(others):
    others += [np.array([0.0, 1 / 7, 0.0])]
    assert gather_by_index({0: 1 / 3, 2: 2 / 3}, 3) == {0: 1 / 3, 1: 1 / 7, 2: 2 / 3}


def test_bytes_of_several_processes_keep_their_lengths(others, monkeypatch):
    theirs = [b"", b"a longer one"]
    lengths = [np.array([len(each)]) for each in theirs]
    padded = [np.frombuffer(each.ljust(12, b"?"), np.uint8) for each in theirs]
    others += lengths
    gather = multihost_utils.process_allgather

    def in_turn(mine):
        found = gather(mine)
        others[:] = padded
        return found

    monkeypatch.setattr("jax.experimental.multihost_utils.process_allgather", in_turn)
    assert gather_bytes(lambda: b"mine") == [b"mine", *theirs]


def test_alone_nothing_is_gathered(monkeypatch):
    monkeypatch.delattr("jax.experimental.multihost_utils.process_allgather")
    counts = np.array([[3, 2**62]])
    assert sum_over_processes(counts) is counts
    assert gather_by_index({1: 0.5}, 2) == {1: 0.5}
    assert gather_bytes(lambda: pytest.fail("bytes are made for nobody")) == []


def test_a_process_knows_its_share_of_the_work(monkeypatch):
    assert cluster.process_share() == (0, 1) and cluster.is_alone() and cluster.is_main()
    monkeypatch.setattr("jax.process_index", lambda: 2)
    monkeypatch.setattr("jax.process_count", lambda: 3)
    assert cluster.process_share() == (2, 3)
    assert not cluster.is_alone() and not cluster.is_main()


SUMS = """
import sys, numpy as np
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from segjax.parallel.sums import gather_bytes, sum_where_there_are
mine = [np.array([2**40, 3]), None][int(sys.argv[2])]
other = [np.array([1, 2]), np.array([0.5, 0.25])][int(sys.argv[2])]
print(sum_where_there_are(mine).tolist(), sum_where_there_are(None), flush=True)
print(sum_where_there_are(other).tolist(), flush=True)
print(gather_bytes(lambda: [b"", b"longer"][int(sys.argv[2])]), flush=True)
"""


def test_a_process_without_images_takes_part_in_a_sum():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = lambda place: [sys.executable, "-c", SUMS, address, str(place)]
    both = [
        subprocess.Popen(command(i), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    for process in both:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert output.endswith(f"{[2**40, 3]} None\n[1.5, 2.25]\n[b'', b'longer']\n")
