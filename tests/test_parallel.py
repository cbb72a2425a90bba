"""How processes and devices are found; the steps themselves are tested where they are built."""

import os
import subprocess
import sys

import pytest

from segjax import parallel

FLAG = "--xla_cpu_experimental_ynn_fusion_type"


@pytest.mark.parametrize(
    ("version", "given", "flags"),
    [
        ("0.10.2", None, f"{FLAG}=LIBRARY_FUSION_TYPE_REDUCE"),
        ("0.12.0", "--xla_a=1", f"--xla_a=1 {FLAG}=LIBRARY_FUSION_TYPE_REDUCE"),
        ("0.12.0", f"{FLAG}=", f"{FLAG}="),
        ("0.13.0", "--xla_a=1", "--xla_a=1"),
        ("1.10.0", "", ""),
    ],
)
def test_only_versions_that_were_tried_are_tuned_and_the_users_word_stays(
    monkeypatch, version, given, flags
):
    monkeypatch.setattr("importlib.metadata.version", {"jaxlib": version}.get)
    monkeypatch.delenv("XLA_FLAGS")
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    parallel.tune_cpu()
    assert os.environ.get("XLA_FLAGS") == flags


def test_xla_knows_the_flag_and_computes_with_it():
    code = (
        "from segjax import parallel; parallel.tune_cpu()\n"
        "import jax.numpy as jnp, os; from segjax.ops.conv import conv2d\n"
        "y = conv2d(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 2)))\n"
        "print(os.environ['XLA_FLAGS'], y.sum())"
    )
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert FLAG in done.stdout and done.stdout.endswith(f" {float(2 * 2 * 2 * 27)}\n")
