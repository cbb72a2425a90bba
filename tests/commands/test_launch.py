"""The launcher's runs: what they leave, how they go on, and what a kill leaves of them."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from segjax import launch
from segjax.train.checkpoint import Checkpoints
from segjax.train.log import read_metrics
from segjax.train.telemetry import without_timing

TINY = pathlib.Path(__file__).with_name("tiny.py")
PATIENCE = 1200
"""Seconds after which a process hangs: many times what it takes on a busy machine."""


def state_of(workdir: pathlib.Path):
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore_tree(checkpoints.steps[-1])


def same_bits(one, other) -> bool:
    same = lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return jax.tree.all(jax.tree.map(same, one, other))


def rows_of(workdir: pathlib.Path) -> list[dict]:
    """The rows of `metrics.jsonl` without what the clock measures."""
    return [without_timing(row) for row in read_metrics(workdir)]


def events_of(workdir: pathlib.Path) -> list[tuple[int, str, float]]:
    """(step, tag, value) of all TensorBoard events, read record by record."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            at += 16 + length
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """The workdir of one unbroken run."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert launch.main([str(TINY), "--workdir", str(workdir)]) == 0
    return workdir


@pytest.fixture
def own(finished, tmp_path) -> pathlib.Path:
    """A copy of that workdir, for a test that changes it: tests may come in any order."""
    return pathlib.Path(shutil.copytree(finished, tmp_path / "own"))


def test_a_run_leaves_everything_that_the_readme_names(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("experiment.py", "experiment.txt", "metrics.jsonl", "tensorboard", "checkpoints"),
        *("evaluation.json", "report.html", "model.safetensors"),
    }
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert list(evaluation) == [
        *("step", "images", "mean_iou", "pixel_accuracy", "mean_accuracy"),
        *("frequency_weighted_iou", "mean_iou_over_true_classes"),
        *("classes", "classes_in_mean_iou", "classes_with_truth"),
        *("iou", "output_stride", "predictor"),
        "images_trained_on",
    ]
    # Of 2**20 training images a sample was looked at: there may be others.
    assert evaluation["images_trained_on"] is None
    assert evaluation["images"] == 3
    assert list(evaluation["iou"]) == [
        "background",
        "disk",
        "square",
        "triangle",
        "ring",
        "cross",
    ]
    assert [row["step"] for row in rows_of(finished) if "loss" in row] == list(range(1, 13))
    assert [row["step"] for row in rows_of(finished) if "mean_iou" in row] == [4, 8, 12]
    best = max(
        (row for row in rows_of(finished) if "mean_iou" in row), key=lambda r: r["mean_iou"]
    )
    assert evaluation["step"] == best["step"]
    assert evaluation["mean_iou"] == pytest.approx(best["mean_iou"])


def test_events_and_rows_hold_the_same_numbers(finished):
    events = {(step, tag): value for step, tag, value in events_of(finished)}
    rows = {
        (row["step"], name): value
        for row in read_metrics(finished)
        for name, value in row.items()
        if name != "step"
    }
    assert events.keys() == rows.keys()
    for key, value in rows.items():
        assert events[key] == pytest.approx(value, rel=1e-5)


def test_a_complete_run_started_again_trains_no_further(finished, own, run):
    status, out, _ = run(TINY, "--workdir", own)
    assert status == 0 and "mean_iou" in out
    assert same_bits(state_of(finished), state_of(own)) and rows_of(finished) == rows_of(own)


def test_a_run_that_lost_its_last_checkpoint_ends_with_the_same_bits(finished, tmp_path, run):
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    shutil.rmtree(broken / "checkpoints" / "12")
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "loss": 0.')
    assert run(TINY, "--workdir", broken)[0] == 0
    assert same_bits(state_of(finished), state_of(broken))
    assert rows_of(finished) == rows_of(broken)
    assert sorted(events_of(broken))[-1][0] == 12


@pytest.mark.slow
def test_one_device_and_four_log_the_same_losses(finished, tmp_path):
    # This process has four CPU devices, the command below sees one.
    workdir = tmp_path / "one"
    environment = {**os.environ, "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "segjax.launch", str(TINY), "--workdir", str(workdir)]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stderr
    assert "1 cpu device" in result.stdout
    for one, four in zip(rows_of(workdir), rows_of(finished), strict=True):
        for name in one.keys() - {"mean_iou", "pixel_accuracy"}:
            assert one[name] == pytest.approx(four[name], rel=1e-4), (name, one["step"])


@contextlib.contextmanager
def free_port():
    """A port that nobody else is given while the block runs, for who may share it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("localhost", 0))
        yield held.getsockname()[1]


@pytest.mark.slow
def test_two_processes_of_two_devices_train_as_one_of_four(finished, tmp_path):
    workdir = tmp_path / "two"
    command = [sys.executable, "-m", "segjax.launch", str(TINY), "--workdir", str(workdir)]
    with free_port() as port:
        environment = {
            **{**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
            **{"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2"},
        }
        processes = [
            subprocess.Popen(
                command,
                env={**environment, "JAX_PROCESS_ID": str(i)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]
        outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "4 cpu devices on 2 hosts" in outputs[0][0]
    assert not any(word in "".join(outputs[1]) for word in ("tiny", "mean_iou", "report"))
    for two, one in zip(rows_of(workdir), rows_of(finished), strict=True):
        for name in one.keys() - {"mean_iou", "pixel_accuracy"}:
            assert two[name] == pytest.approx(one[name], rel=1e-4), (name, one["step"])
    evaluations = [
        json.loads((folder / "evaluation.json").read_text()) for folder in (workdir, finished)
    ]
    assert evaluations[0]["images"] == evaluations[1]["images"] == 3
    assert evaluations[0]["pixel_accuracy"] == pytest.approx(
        evaluations[1]["pixel_accuracy"], abs=0.02
    )


def test_evaluating_alone_takes_the_named_checkpoint(own, run):
    for which, step in (("last", 12), ("8", 8)):
        status, out, _ = run(TINY, "--workdir", own, "--evaluate", "--checkpoint", which)
        assert status == 0 and f"step {step}, 3 images" in out
    status, _, error = run(TINY, "--workdir", own, "--evaluate", "--checkpoint", "5")
    assert status == 2 and "--checkpoint 5" in error and "12" in error


def test_how_a_run_is_watched_may_change_what_it_is_may_not(own, run):
    assert run(TINY, "--workdir", own, "--set", "log_every=5")[0] == 0
    status, _, error = run(
        TINY, "--workdir", own, "--set", "seed=4", "--set", "model.features=8"
    )
    assert status == 2
    assert "belongs to another experiment" in error
    assert "model.features was 4 and is now 8" in error and "seed was 0 and is now 4" in error


def test_a_checkpoint_of_other_shapes_is_named(finished, tmp_path, run):
    workdir = tmp_path / "other"
    shutil.copytree(finished / "checkpoints", workdir / "checkpoints")
    before = sorted(workdir.rglob("*"))
    status, _, error = run(TINY, "--workdir", workdir, "--set", "model.features=8")
    assert status == 2
    assert "belongs to another network: params/" in error and "(and " in error
    assert sorted(workdir.rglob("*")) == before


def test_overrides_and_data_are_part_of_the_default_folder(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    assert run(TINY, "--set", "steps=1", "--set", "checkpoint_every=1")[0] == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("tiny-") and len(made.name) == len("tiny-") + 6
    assert "steps = 1\n" in (made / "experiment.txt").read_text()


def test_a_loss_that_is_not_finite_stops_the_run_at_its_last_good_state(tmp_path, run):
    workdir = tmp_path / "hot"
    status, _, error = run(TINY, "--workdir", workdir, "--set", "optimizer.schedule.rate=1e30")
    assert status == 1
    assert "not finite at step" in error and "optimizer.clip_norm" in error
    state = state_of(workdir)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state["params"]))
    assert f"checkpoints/{int(state['step'])} " in error or f"/{int(state['step'])}." in error


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_what_was_saved_restores(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=330k", "tmpfs", small], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("No right to mount a small disk here.")
    try:
        command = [sys.executable, "-m", "segjax.launch", str(TINY), "--workdir", small / "run"]
        full = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert full.returncode == 1
        assert "Traceback" not in full.stderr
        assert full.stderr.splitlines()[-1].startswith("error: Saving to ")
        assert "No space left on device. Make room" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=9m", small], check=True)
        assert subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0
        assert (small / "run" / "report.html").is_file()
    finally:
        subprocess.run(["umount", small], check=True)


# The event at which a run kills itself; the steps that are saved whole then, and in part.
KILLS = {
    "between the first evaluation and its save": ("os.mkdir", r"/4[^/]*tmp[^/]*$", [], 0),
    "as a save has made its folder": ("os.mkdir", r"/4[^/]*tmp[^/]*/state[^/]*$", [], 1),
    "as a save has written all but its name": ("os.rename", r"/4[^/]*tmp[^/]*$", [], 1),
    "between a save and the next": ("os.mkdir", r"/8[^/]*tmp[^/]*$", [4], 0),
    "as a later save has all but its name": ("os.rename", r"/8[^/]*tmp[^/]*$", [4], 1),
}


def killed(workdir, event, pattern, *options) -> list[int]:
    """The steps with a whole checkpoint after a run that killed itself at a marked point."""
    script = pathlib.Path(__file__).with_name("killed_run.py")
    command = [sys.executable, script, event, rf"/checkpoints{pattern}", TINY]
    # It dies while it writes none of the shared programs.
    environment = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    done = subprocess.run(
        [*command, "--workdir", workdir, *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == -signal.SIGKILL, f"{event} {pattern}: {done.stdout}{done.stderr}"
    return sorted(int(p.name) for p in workdir.glob("checkpoints/*") if p.name.isdigit())


@pytest.mark.slow
def test_kills_before_in_and_after_saves_change_no_bit(finished, tmp_path, run):
    workdir = tmp_path / "run"
    for moment, (event, pattern, whole, parts) in KILLS.items():
        assert killed(workdir, event, pattern) == whole, moment
        assert len([*workdir.glob("checkpoints/*tmp*")]) == parts, moment
    assert run(TINY, "--workdir", workdir)[0] == 0
    assert same_bits(state_of(finished), state_of(workdir))
    assert rows_of(finished) == rows_of(workdir)
    assert not [*workdir.glob("checkpoints/*tmp*")]


@pytest.mark.slow
def test_a_kill_while_an_old_checkpoint_is_removed_changes_no_bit(finished, tmp_path, run):
    workdir = tmp_path / "run"
    # Of three checkpoints the last and the best are kept: at least one is removed.
    killed(workdir, "os.rename", r"/\d+$", "--set", "keep=1")
    assert run(TINY, "--workdir", workdir, "--set", "keep=1")[0] == 0
    assert same_bits(state_of(finished), state_of(workdir))
    assert rows_of(finished) == rows_of(workdir)


@pytest.mark.slow
def test_a_run_that_resumes_with_kept_programs_ends_with_the_same_bits(finished, tmp_path):
    environment = os.environ | {"SEGJAX_CACHE": str(tmp_path / "cache")}
    del environment["JAX_COMPILATION_CACHE_DIR"]
    workdir, kept = tmp_path / "run", []
    script = pathlib.Path(__file__).with_name("killed_run.py")
    for moment, status in ((r"/checkpoints/8[^/]*tmp", -signal.SIGKILL), ("never", 0)):
        command = [sys.executable, script, "os.mkdir", moment, TINY, "--workdir", workdir]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == status, done.stderr
        if not kept:
            kept = [*(tmp_path / "cache").glob("programs-*/*")]
            for path in kept:
                os.utime(path, (0, 0))
    read = [path.name for path in kept if path.stat().st_mtime > 0]
    assert any("jit__fun" in name for name in read), kept  # The step.
    assert "machine" not in done.stderr  # As XLA says of programs for another one.
    assert same_bits(state_of(finished), state_of(workdir))
