"""Several processes and devices: one training, whatever their number."""

import os
import pathlib
import runpy
import socket
import subprocess
import sys

import pytest

BENCHMARK = pathlib.Path(__file__).parents[1] / "benchmarks" / "topologies.py"

DIVIDED = """
import sys, numpy as np
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from segjax.parallel.sharing import on_devices
from segjax.parallel.state import gathered
state = {"large": np.arange(64.0 * 64).reshape(64, 64), "small": np.arange(3)}
divided = on_devices(state, shard_state=True)
assert not divided["large"].is_fully_addressable
parts = [each.data.shape for each in divided["large"].addressable_shards]
whole = gathered(divided)
print(parts, all((whole[name] == state[name]).all() for name in state), flush=True)
"""


def test_processes_put_a_divided_state_together():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-c", DIVIDED, address, str(place)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in range(2)
    ]
    for process in both:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert output.endswith("[(64, 16), (64, 16)] True\n")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """The names of benchmarks/topologies.py, and a run on one device."""
    names = runpy.run_path(str(BENCHMARK))
    root = tmp_path_factory.mktemp("topologies")
    names["launch"](root / "one", names["ONE"], names["NETWORKS"]["dropout"])
    return names, root


@pytest.mark.slow
@pytest.mark.parametrize("shard_state", [False, True])
def test_two_processes_train_what_one_device_trains(benchmark, shard_state):
    names, root = benchmark
    topology = names["Topology"](2, 2, (f"shard_state={shard_state}",))
    names["launch"](root / f"two {shard_state}", topology, names["NETWORKS"]["dropout"])
    assert names["difference"](root / f"two {shard_state}", root / "one") <= 1e-5


@pytest.mark.slow
def test_a_run_goes_on_with_two_processes(benchmark):
    names, root = benchmark
    names["begin_from_half"](root / "one", root / "on")
    names["launch"](root / "on", names["Topology"](2, 2), names["NETWORKS"]["dropout"])
    assert names["difference"](root / "on", root / "one") <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 1])
def test_scores_are_identical_on_every_topology(benchmark, count):
    names, root = benchmark
    assert names["scores_agree"](root / "one", names["NETWORKS"]["dropout"], count=count)
