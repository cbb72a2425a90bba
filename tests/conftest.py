"""Four CPU devices, rank promotion raises, warnings are errors, array shapes are checked."""

import importlib.metadata
import os

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the suite's time is compilation, and small arrays gain nothing from optimization.
# What is compiled once serves all modules, and the commands that run as processes of their own.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# No test goes to the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
).strip()
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # Halves the time of compilation. Later versions end where they meet this flag.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import pathlib
import tempfile
import time

import jax
import jaxtyping
import pytest

from segjax.parallel.cluster import tune_cpu

# As the commands do: a test's own process computes the same bits as those that it starts,
# whatever ran in it before.
tune_cpu()
jax.config.update("jax_numpy_rank_promotion", "raise")
if "PYTEST_XDIST_WORKER" not in os.environ:  # Workers take the folder of who started them.
    _programs = tempfile.TemporaryDirectory(prefix="segjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])

PURE = ("ops", "layers", "backbones", "models", "losses", "metrics", "crf", "evaluate")
_hook = jaxtyping.install_import_hook([f"segjax.{name}" for name in PURE], "beartype.beartype")


@pytest.hookimpl(tryfirst=True)  # Before `-m` selects.
def pytest_collection_modifyitems(items) -> None:
    """Marks as slow what is none of the parameters that its test's `slow_but` keeps fast.

    A test without parameters has nothing to keep; `test_tiers.py` names it.
    """
    for item in items:
        kept = item.get_closest_marker("slow_but")
        case = item.callspec.id if hasattr(item, "callspec") else None
        if kept and case not in kept.args:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def real_data() -> pathlib.Path:
    """The folder of real images that `SEGJAX_DATA` names; without it the test is skipped."""
    folder = os.environ.get("SEGJAX_DATA")
    if not folder:
        pytest.skip("SEGJAX_DATA is not set: no real images to test on.")
    return pathlib.Path(folder).resolve()


@pytest.fixture(autouse=True, scope="module")
def forgotten_programs():
    """Drops what a module's tests compiled: each program maps memory, and Linux counts maps."""
    yield
    jax.clear_caches()


@pytest.fixture
def wait_for_tick(tmp_path):
    """Waits until a file written now is told by its ctime from the one at the given path."""

    def wait(path: pathlib.Path) -> None:
        probe, before = tmp_path / ".tick", path.stat().st_ctime_ns
        for _ in range(5000):
            probe.touch()
            if probe.stat().st_ctime_ns != before:
                probe.unlink()
                return
            time.sleep(0.001)
        pytest.fail("The file system's clock stands still.")

    return wait


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    """Prepared data go to the test's own folder, never to the user's cache."""
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "cache"))
