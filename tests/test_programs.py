"""Compiled programs on disk: what is kept, for whom, and what becomes of damaged files."""

import os
import pathlib
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import compilation_cache
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from segjax.parallel import machine, programs
from segjax.parallel.programs import SUFFIX, Programs, keep_programs

CHOICES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_enable_compilation_cache",
)


@pytest.fixture
def unchosen(monkeypatch):
    """A process whose user has chosen nothing, and that keeps every program."""
    before = {name: getattr(jax.config, name) for name in CHOICES}
    monkeypatch.setattr(compilation_cache, "get_file_cache", compilation_cache.get_file_cache)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    for name, value in zip(CHOICES, (None, 0.0, True), strict=True):
        jax.config.update(name, value)
    jax.clear_caches()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()
    jax.clear_caches()


def computed() -> np.ndarray:
    """The bits of a program, loaded or compiled, never remembered."""
    jax.clear_caches()
    x = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    return np.asarray(jax.jit(lambda x: jnp.tanh(x @ x.T) * 1.37 + jnp.sin(x).sum())(x))


def kept(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(root.glob(f"programs-*/*{SUFFIX}"))


def test_a_kept_program_computes_the_bits_of_a_compiled_one(unchosen, tmp_path):
    compiled = computed()
    keep_programs(lambda: tmp_path)
    written = computed()
    (path,) = kept(tmp_path)
    os.utime(path, (0, 0))
    loaded = computed()
    assert path.stat().st_mtime > 0  # It was read.
    np.testing.assert_array_equal(compiled, written)
    np.testing.assert_array_equal(compiled, loaded)


def test_a_flipped_bit_is_found_and_the_program_is_compiled_and_written_anew(
    unchosen, tmp_path
):
    keep_programs(lambda: tmp_path)
    expected = computed()
    (path,) = kept(tmp_path)
    good, rng = path.read_bytes(), random.Random(0)
    for _ in range(8):
        broken = bytearray(good)
        broken[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        np.testing.assert_array_equal(computed(), expected)
        assert Programs(path.parent).get(path.name.removesuffix(SUFFIX)) is not None
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("contents", [b"", b"short", bytes(4000)])
def test_a_file_that_is_no_program_is_none(contents, tmp_path):
    (tmp_path / f"key{SUFFIX}").write_bytes(contents)
    assert Programs(tmp_path).get("key") is None
    assert not (tmp_path / f"key{SUFFIX}").exists()


def test_the_program_of_another_key_is_none(tmp_path):
    folder = Programs(tmp_path)
    folder.put("one", b"program")
    os.replace(tmp_path / f"one{SUFFIX}", tmp_path / f"two{SUFFIX}")
    assert folder.get("two") is None


def test_those_unused_for_longest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "MOST_BYTES", 4000)
    folder = Programs(tmp_path)
    for age, key in enumerate(("a", "b", "c")):
        folder.put(key, bytes(1200))
        os.utime(tmp_path / f"{key}{SUFFIX}", (100 + age, 100 + age))
    assert folder.get("a")
    folder.put("d", bytes(1200))
    assert [path.stem for path in sorted(tmp_path.iterdir())] == ["a", "c", "d"]
    folder.put("e", bytes(4000))  # Larger than the folder may be.
    assert [path.stem for path in sorted(tmp_path.iterdir())] == ["a", "c", "d"]


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path):
    for name, age in ((".x.partial", 100), (".y.partial", 1e6)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (os.stat(tmp_path / name).st_mtime - age,) * 2)
    Programs(tmp_path).put("key", b"program")
    assert {path.name for path in tmp_path.iterdir()} == {".x.partial", f"key{SUFFIX}"}


def test_a_full_or_vanished_folder_is_no_error(tmp_path, monkeypatch):
    folder = Programs(tmp_path / "gone")
    folder.put("key", b"program")
    assert folder.get("key") is None

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs, "write_bytes", full)
    Programs(tmp_path).put("key", b"program")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["a file", "others", "no home"])
def test_without_a_folder_of_ones_own_nothing_is_kept(name, unchosen, tmp_path):
    def root():
        if name == "no home":
            raise RuntimeError("Could not determine home directory.")
        return tmp_path / "file" if name == "a file" else tmp_path

    (tmp_path / "file").touch()
    if name == "others":
        folder = tmp_path / f"programs-{machine.machine_digest()}"
        folder.mkdir()
        folder.chmod(0o777)
    keep_programs(root)
    assert jax.config.jax_compilation_cache_dir is None
    computed()
    assert not kept(tmp_path)


def test_the_users_choice_stays(unchosen, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    keep_programs(lambda: tmp_path)
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    keep_programs(lambda: tmp_path)
    assert jax.config.jax_compilation_cache_dir is None and not [*tmp_path.iterdir()]


def test_the_processes_of_a_cluster_compile_all_or_none(unchosen, tmp_path, monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    keep_programs(lambda: tmp_path)
    assert jax.config.jax_compilation_cache_dir is None and not [*tmp_path.iterdir()]


def test_other_cores_and_processors_have_their_own_folder(monkeypatch):
    here = machine.machine_digest()
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    cores = machine.machine_digest()
    monkeypatch.setattr(machine.platform, "machine", lambda: "other")
    assert len({here, cores, machine.machine_digest()}) == 3


def test_a_machine_in_words_is_its_processor_and_its_cores(monkeypatch):
    monkeypatch.setattr(machine, "_cpu_lines", lambda: iter(["flags : a", "model name : A  B"]))
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1})
    assert machine.machine_words() == "A B, 2 cores"
    monkeypatch.setattr(machine, "_cpu_lines", lambda: iter(()))
    monkeypatch.setattr(machine.platform, "processor", lambda: "arm")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0})
    assert machine.machine_words() == "arm, 1 core"
