"""How much memory there is: of the machine, of a container, of what the user names."""

import jax
import jax.numpy as jnp
import pytest

from segjax.planning import limit
from segjax.planning.limit import GIB, available_bytes, memory_limit

MEMINFO = "MemTotal:       8000000 kB\nMemFree: 10 kB\nMemAvailable:    4000000 kB\n"


@pytest.fixture
def machine(tmp_path):
    """Writes the files of a machine: {path below /proc or /sys/fs/cgroup: text}."""

    def write(files: dict[str, str]) -> dict:
        for name, text in {"proc/meminfo": MEMINFO, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return {"proc": tmp_path / "proc", "cgroups": tmp_path / "cgroup"}

    return write


def test_without_groups_it_is_what_the_machine_has_left(machine):
    assert available_bytes(**machine({})) == 4_000_000 * 1024


def test_a_container_has_what_its_limit_leaves_and_its_file_cache(machine):
    files = {
        "proc/self/cgroup": "0::/\n",
        "cgroup/memory.max": "1000000\n",
        "cgroup/memory.current": "700000\n",
        "cgroup/memory.stat": "anon 1\ninactive_file 200000\n",
    }
    assert available_bytes(**machine(files)) == 500_000


def test_the_tightest_of_nested_groups_counts(machine):
    files = {
        "proc/self/cgroup": "0::/job/step\n",
        "cgroup/job/memory.max": "900000\n",
        "cgroup/job/memory.current": "800000\n",
        "cgroup/job/step/memory.max": "max\n",
        "cgroup/job/step/memory.current": "100000\n",
    }
    assert available_bytes(**machine(files)) == 100_000


def test_the_older_kind_of_groups_counts_too(machine):
    files = {
        "proc/self/cgroup": "5:cpu:/a\n4:memory:/a\n",
        "cgroup/memory/a/memory.limit_in_bytes": "600000\n",
        "cgroup/memory/a/memory.usage_in_bytes": "500000\n",
        "cgroup/memory/a/memory.stat": "total_inactive_file 50000\n",
        "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cgroup/memory/memory.usage_in_bytes": "10\n",
    }
    assert available_bytes(**machine(files)) == 150_000


def test_where_the_machine_tells_nothing_it_is_not_known(tmp_path):
    assert available_bytes(proc=tmp_path, cgroups=tmp_path) is None


def test_the_users_number_replaces_what_the_device_has():
    assert memory_limit(gib=1.5).bytes == 1.5 * GIB
    assert memory_limit(gib=1.5).process == 0


def test_devices_of_a_cpu_share_what_is_left_beside_the_process(monkeypatch):
    array = jnp.zeros((1024, 1024), jnp.uint8)
    arrays = sum(each.nbytes for each in jax.live_arrays())
    assert arrays >= array.nbytes
    monkeypatch.setattr(limit, "available_bytes", lambda: 10 * GIB)
    monkeypatch.setattr(limit, "process_bytes", lambda name: 3 * GIB)
    found = memory_limit()
    assert found.process == 3 * GIB - arrays
    assert found.bytes == (10 * GIB + arrays) / jax.local_device_count()
    assert found.source == "free on this machine"
