"""Damaged checkpoints: found, said in one line, and never used."""

import dataclasses
import errno
import importlib.util
import json
import os
import pathlib
import random
import re
import shutil
import tempfile
import threading

import jax
import numpy as np
import optax
import pytest

from segjax.announce import LOGGER
from segjax.errors import InputError, RunError
from segjax.train.checkpoint import Checkpoints
from segjax.train.checksums import checksum, record_of
from segjax.train.step import TrainState, init_state
from segjax.train.stored import Stored

path = pathlib.Path(__file__).parents[2] / "benchmarks" / "corruptions.py"
spec = importlib.util.spec_from_file_location("corruptions", path)
assert spec and spec.loader
corruptions = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corruptions)


def state_at(step: int):
    values = np.random.default_rng(step).normal(size=(20, 15)).astype(np.float32)
    state = init_state({"params": {"w": values}}, optax.adam(0.1))
    return dataclasses.replace(state, step=np.array(step, np.int32))


TEMPLATE = jax.eval_shape(lambda: state_at(0))


# Threads of the storage library still answer after the restore of a damaged array has failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> pathlib.Path:
    """A workdir with step 3, scored 0.5, and step 6, scored 0.75 after it was saved."""
    workdir = tmp_path_factory.mktemp("run")
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(state_at(3), score={"mean_iou": 0.5})
        checkpoints.save(state_at(6))
        checkpoints.add_score(state_at(6), score={"mean_iou": 0.75})
    return workdir


@pytest.fixture
def workdir(saved, tmp_path) -> pathlib.Path:
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def said(caplog, capsys):
    """Returns the lines that a command has printed."""
    level = LOGGER.level
    LOGGER.setLevel("INFO")
    yield lambda: capsys.readouterr().err.splitlines()
    LOGGER.setLevel(level)


def resumed(checkpoints: Checkpoints) -> TrainState:
    state = checkpoints.restore(TEMPLATE)
    assert state is not None
    return state


def steps_in(workdir: pathlib.Path) -> list[str]:
    return sorted(path.name for path in workdir.glob("checkpoints/*"))


@pytest.mark.parametrize("name", corruptions.OF_STATE)
def test_training_resumes_from_the_newest_undamaged_checkpoint_and_says_so_in_a_line(
    name, workdir, said
):
    damage, stray = corruptions.OF_STATE[name], "stray" in name
    damage(workdir / "checkpoints/6", random.Random(0))
    bad, good = ("999", 6) if stray else ("6", 3)
    with Checkpoints(workdir, keep=1) as checkpoints:
        checkpoints.check(TEMPLATE)
        restored = resumed(checkpoints)
        assert int(restored.step) == good
        np.testing.assert_array_equal(restored.params["w"], state_at(good).params["w"])
        (line,) = said()
        assert f"checkpoints/{bad} is damaged: " in line and f"from step {good};" in line
        # What was set aside neither counts as kept nor is in the way of its step.
        checkpoints.save(state_at(int(bad)), score={"mean_iou": 0.9})
    assert steps_in(workdir) == [bad, f"damaged-{bad}"]
    Stored(workdir / "checkpoints" / bad).restore()


@pytest.mark.parametrize("name", corruptions.OF_STATE)
def test_a_reader_refuses_a_damaged_checkpoint_and_names_an_undamaged_one(name, workdir):
    corruptions.OF_STATE[name](workdir / "checkpoints/6", random.Random(0))
    before = steps_in(workdir)
    good = 6 if "stray" in name else 3
    with Checkpoints(workdir, read_only=True) as checkpoints:
        with pytest.raises(InputError, match=f"is damaged: .*: --checkpoint {good}") as error:
            checkpoints.restore_variables("last")
        assert "\n" not in str(error.value)
        assert checkpoints.restore_variables(str(good))[0] == good
        # The best is 6; another is never taken for it.
        try:
            assert checkpoints.restore_variables("best")[0] == good == 6
        except InputError as error:
            assert f"--checkpoint {good}" in str(error)
    assert steps_in(workdir) == before


@pytest.mark.parametrize("name", corruptions.OF_SCORE)
def test_a_damaged_score_costs_no_state_and_hides_which_is_the_best(name, workdir, said):
    corruptions.OF_SCORE[name](workdir / "checkpoints/6", random.Random(0))
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.restore_variables("last")[0] == 6
        with pytest.raises(InputError, match="--checkpoint best: .* is damaged: "):
            checkpoints.restore_variables("best")
    with Checkpoints(workdir) as checkpoints:
        assert int(resumed(checkpoints).step) == 6
        assert "6 is damaged: " in said()[0] and not checkpoints.is_scored(6)
        checkpoints.add_score(state_at(6), score={"mean_iou": 0.75})
        assert checkpoints.is_scored(6) and checkpoints.step_of("best") == 6


def test_of_flipped_bits_in_array_data_none_changes_a_restored_state(workdir):
    step = workdir / "checkpoints/6"
    found, files = 0, {path: path.read_bytes() for path in corruptions.array_files(step)}
    for seed in range(12):
        corruptions.flipped_data(step, random.Random(seed))
        try:
            restored = Checkpoints(workdir, read_only=True).restore_variables("last")[1]
            np.testing.assert_array_equal(restored["params"]["w"], state_at(6).params["w"])
        except InputError:
            found += 1
        for path, content in files.items():
            path.write_bytes(content)
    assert found >= 6  # The others hit bytes that the index no longer names.


def test_if_every_checkpoint_is_damaged_training_refuses_in_a_line_and_moves_nothing(workdir):
    for step in (3, 6):
        corruptions.OF_STATE["array files halved"](
            workdir / f"checkpoints/{step}", random.Random(0)
        )
    with Checkpoints(workdir) as checkpoints:
        with pytest.raises(RunError, match=r"is damaged: 6 \(.*\), 3 \(.*delete that folder"):
            checkpoints.restore(TEMPLATE)
        assert steps_in(workdir) == ["3", "6"]
    with pytest.raises(InputError, match="No checkpoint there is undamaged"):
        Checkpoints(workdir, read_only=True).restore_variables("last")


def test_a_folder_with_nothing_but_damaged_checkpoints_does_not_start_anew(workdir):
    shutil.rmtree(workdir / "checkpoints/3")
    (workdir / "checkpoints/6").rename(workdir / "checkpoints/damaged-6")
    with pytest.raises(RunError, match="damaged-6"):
        Checkpoints(workdir).restore(TEMPLATE)


def test_an_older_checkpoint_without_checksums_restores_and_says_that_it_is_not_verified(
    workdir, said
):
    step = workdir / "checkpoints/6"
    shutil.rmtree(step / "checksums")
    items = json.loads((step / "_CHECKPOINT_METADATA").read_text(encoding="utf-8"))
    del items["item_handlers"]["checksums"]
    (step / "_CHECKPOINT_METADATA").write_text(json.dumps(items), encoding="utf-8")
    (step / "metrics/metrics").write_text('{"mean_iou": 0.75}', encoding="utf-8")
    assert int(resumed(Checkpoints(workdir)).step) == 6
    assert "not verified" in said()[0]
    assert Checkpoints(workdir, read_only=True).restore_variables("best")[0] == 6


def test_a_permission_that_is_missing_is_named(workdir, monkeypatch, said):
    read = pathlib.Path.read_text

    def refuse(self, *arguments, **options):
        if "6/checksums" in str(self):
            raise PermissionError(13, os.strerror(13), str(self))
        return read(self, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "read_text", refuse)
    assert int(resumed(Checkpoints(workdir)).step) == 3
    assert "checksums/checksums.json cannot be read (Permission denied)" in said()[0]


def test_a_lack_of_file_handles_is_not_taken_for_damage(workdir, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(24, os.strerror(24), str(self))

    monkeypatch.setattr(pathlib.Path, "read_text", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Checkpoints(workdir).restore(TEMPLATE)
    assert steps_in(workdir) == ["3", "6"]


@pytest.mark.parametrize("which", ["last", "best"])
def test_a_reader_goes_on_with_the_newest_where_training_replaces_what_it_reads(
    which, workdir, monkeypatch
):
    restore = Stored.restore

    def replaced(self, *arguments):
        monkeypatch.undo()
        with Checkpoints(workdir, keep=1) as checkpoints:
            checkpoints.save(state_at(9), score={"mean_iou": 0.9})
        assert steps_in(workdir) == ["9"]
        return restore(self, *arguments)

    monkeypatch.setattr(Stored, "restore", replaced)
    step, variables = Checkpoints(workdir, read_only=True).restore_variables(which)
    assert step == 9
    np.testing.assert_array_equal(variables["params"]["w"], state_at(9).params["w"])


def test_a_step_that_training_has_replaced_is_refused_and_the_others_are_listed(
    workdir, monkeypatch
):
    restore = Stored.restore

    def replaced(self, *arguments):
        shutil.rmtree(workdir / "checkpoints/6")
        return restore(self, *arguments)

    monkeypatch.setattr(Stored, "restore", replaced)
    with pytest.raises(InputError, match="--checkpoint 6: .* holds steps 3;"):
        Checkpoints(workdir, read_only=True).restore_variables("6")


def test_a_checkpoint_of_another_network_is_refused_and_not_called_damaged(workdir):
    other = init_state({"params": {"w": np.zeros((20, 16), np.float32)}}, optax.adam(0.1))
    with pytest.raises(InputError, match=r"another network: params/w is \(20, 15\)"):
        Checkpoints(workdir).restore(jax.eval_shape(lambda: other))
    assert steps_in(workdir) == ["3", "6"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_a_checksum_changes_with_any_bit_of_any_dtype(shape, dtype):
    array = jax.numpy.zeros(shape, dtype)
    array = np.array(array)
    before, record = checksum(array), record_of({"a": array}, step=1)["arrays"]["a"]
    assert record == {"shape": [*shape], "dtype": dtype, "crc32": before}
    if array.size:
        array.reshape(-1).view(np.uint8)[-1] ^= 1
        assert checksum(array) != before


@pytest.fixture
def full(workdir, monkeypatch):
    """Makes the disk of the checkpoints full for the threads of TensorStore."""
    from orbax.checkpoint import StandardCheckpointHandler

    async def refuse(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(StandardCheckpointHandler, "async_save", refuse)
    return workdir


def test_a_full_disk_is_said_in_a_line_and_earlier_checkpoints_stay(full):
    with pytest.raises(RunError, match="No space left.*Make room.*checkpoints: 3, 6"):
        with Checkpoints(full) as checkpoints:
            checkpoints.save(state_at(9))
    with pytest.raises(RunError, match="No space left"):
        # At the end of the block too, whatever Orbax's threads raise while they are closed.
        with Checkpoints(full) as checkpoints:
            assert int(resumed(checkpoints).step) == 6
            checkpoints.save(state_at(9))


def no_file_is_written(name: str):
    def refuse(*arguments, **options):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)), "checkpoints")

    return refuse


@pytest.mark.parametrize("name", ["EROFS", "EACCES", "EDQUOT"])
def test_a_folder_that_cannot_be_written_is_said_before_the_first_step(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "mkdtemp", no_file_is_written(name))
    with pytest.raises(RunError, match=re.escape(os.strerror(getattr(errno, name)))) as error:
        Checkpoints(tmp_path).restore(TEMPLATE)
    assert ("Make room" in str(error.value)) == (name == "EDQUOT")


def test_a_file_called_checkpoints_is_said_before_the_first_step(tmp_path):
    (tmp_path / "checkpoints").write_text("a file", encoding="utf-8")
    with pytest.raises(RunError, match="File exists.*Make it a folder"):
        Checkpoints(tmp_path).restore(TEMPLATE)


def test_no_thread_waits_for_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    before = threading.enumerate()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(TEMPLATE) is None
        (tmp_path / "checkpoints").rmdir()
        (tmp_path / "checkpoints").write_text("a file", encoding="utf-8")
        with pytest.raises(RunError, match="Saving to .*checkpoints failed"):
            checkpoints.save(state_at(3))
    # The interpreter joins each thread that is left before it ends.
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(timeout=10)
        assert thread.daemon or not thread.is_alive()
