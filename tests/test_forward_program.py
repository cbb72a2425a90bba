"""Programs that only go forward: on one CPU they take the order with the least memory."""

import json
import os
import subprocess
import sys

import pytest

from segjax.parallel import cluster

OPTION = "xla_cpu_scheduler_type"

CODE = """
import json
import jax
import jax.numpy as jnp
import numpy as np
from segjax.parallel.data import forward_program, map_examples

def network(variables, images):
    taps = [images[:, : 3 * i + 20, 5:].sum((1, 2)) @ variables for i in range(9)]
    return {"total": sum(taps), "image": images * 2}

variables = np.eye(3, dtype=np.float32)
images = np.random.default_rng(0).standard_normal((2, 256, 256, 3)).astype(np.float32)
plain = jax.pmap(network, in_axes=(None, 0))
programs = [
    f.lower(variables, images[None]).compile() for f in (forward_program(network), plain)
]
sizes = [p.memory_analysis().temp_size_in_bytes for p in programs]
found = map_examples(network)(variables, images, then=lambda r: {**r, "more": r["total"] + 1})
expected = plain(variables, images.reshape(len(jax.devices()), -1, 256, 256, 3))
same = all(
    np.array_equal(found[k], expected[k].reshape(found[k].shape)) for k in expected
)
more = np.array_equal(found["more"], found["total"] + 1)
print(json.dumps([len(jax.devices()), *sizes, bool(same), bool(more)]))
"""


def run(flags: str) -> list:
    """Returns devices, the bytes of the forward and of the usual program, and two checks."""
    environment = {**os.environ, "XLA_FLAGS": flags}
    del environment["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


def test_one_cpu_takes_less_memory_for_the_same_results():
    devices, least, usual, *same = run("")
    assert devices == 1 and least < 0.8 * usual and all(same)


@pytest.mark.parametrize(
    "flags",
    ["--xla_force_host_platform_device_count=2", f"--{OPTION}=CPU_SCHEDULER_TYPE_DEFAULT"],
)
def test_several_devices_and_an_order_that_the_user_names_stay_as_they_are(flags):
    _, ours, usual, *same = run(flags)
    assert ours == usual and all(same)


@pytest.mark.parametrize("version", ["0.9.2", "0.13.0"])
def test_a_jaxlib_that_was_not_tried_gets_no_option(monkeypatch, version):
    monkeypatch.delenv("XLA_FLAGS")
    assert OPTION in cluster.in_least_memory()
    monkeypatch.setattr("importlib.metadata.version", {"jaxlib": version}.get)
    assert cluster.in_least_memory() == {}


def test_other_platforms_get_no_option(monkeypatch):
    monkeypatch.setattr(cluster, "is_cpu", lambda: False)
    assert cluster.in_least_memory() == {}
