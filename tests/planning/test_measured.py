"""The memory that a block of work takes, and a plan against it."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.planning import measured
from segjax.planning.measured import PeakMemory

BENCHMARK = pathlib.Path(__file__).parents[2] / "benchmarks" / "plan.py"
SIZE = 2**26


def test_memory_that_is_free_again_at_the_end_was_held():
    memory = PeakMemory()
    with memory.measuring():
        np.ones(SIZE, np.uint8)
    there = sum(array.nbytes for array in jax.live_arrays())
    total = memory.bytes * jax.local_device_count() - there
    assert 0.9 * SIZE < total < 1.5 * SIZE


def test_arrays_that_were_there_before_count():
    before = PeakMemory()
    with before.measuring():
        pass
    kept = jnp.ones(SIZE // 4, jnp.uint8)
    after = PeakMemory()
    with after.measuring():
        pass
    more = (after.bytes - before.bytes) * jax.local_device_count()
    assert more == pytest.approx(kept.nbytes, abs=SIZE // 16)


def test_a_machine_that_tells_nothing_is_not_measured(tmp_path):
    memory = PeakMemory()
    with memory.measuring(proc=tmp_path):
        pass
    assert memory.bytes is None


def test_other_devices_tell_their_peak(monkeypatch):
    monkeypatch.setattr(measured, "is_cpu", lambda: False)
    monkeypatch.setattr(measured, "peak_device_bytes", lambda: 1234)
    memory = PeakMemory()
    with memory.measuring():
        pass
    assert memory.bytes == 1234


@pytest.mark.slow
def test_the_planned_step_of_a_unet_takes_what_the_plan_says():
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    del environment["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    # On one core: with several, the buffers of single operations depend on when threads run.
    command = [sys.executable, str(BENCHMARK), "child", "unet", "--batch", "3", "--cores", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    predicted, taken = json.loads(done.stdout.splitlines()[-1])["training"]
    assert taken > 500 * 2**20
    assert predicted == pytest.approx(taken, rel=0.1)
