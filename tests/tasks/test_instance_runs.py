"""Runs of a two-stage detector: what they learn and leave, and that a kill changes no bit."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from segjax import launch
from segjax.experiment import describe, load
from segjax.train.checkpoint import Checkpoints

DISCS = pathlib.Path(__file__).with_name("discs.py")
KILLED = DISCS.parents[1] / "commands" / "killed_run.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """The workdir of one unbroken run."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert launch.main([str(DISCS), "--workdir", str(workdir)]) == 0
    return workdir


def state_of(workdir):
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.steps[-1] == 6
        return checkpoints.restore_tree(6)


def test_constants_of_the_task_are_in_the_description_of_a_run():
    text = describe(load(DISCS))
    assert "task.rois_sampled = 16" in text and "task.candidates = 40" in text


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_ends_in_the_same_bits(finished, tmp_path):
    workdir = tmp_path / "run"
    moment = ["os.mkdir", r"/checkpoints/4[^/]*tmp[^/]*$"]
    # It dies while it writes none of the shared programs.
    environment = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    command = [sys.executable, KILLED, *moment, DISCS, "--workdir", workdir]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert [p.name for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()] == ["2"]
    assert launch.main([str(DISCS), "--workdir", str(workdir)]) == 0
    same = lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert jax.tree.all(jax.tree.map(same, state_of(finished), state_of(workdir)))


@pytest.mark.slow
def test_a_run_leaves_the_scores_of_masks_and_boxes(finished):
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert evaluation["images"] == 3 and 0 <= evaluation["mask_ap50"] <= 1
    assert set(evaluation["mask_ap_by_class"]) == {"disc", "square"}
    rows = [json.loads(row) for row in (finished / "metrics.jsonl").read_text().splitlines()]
    terms = [key for key in rows[0] if key.startswith("loss/")]
    assert set(terms) == {
        f"loss/{name}" for name in ("rpn_objectness", "rpn_boxes", "classes", "boxes", "masks")
    }


@pytest.mark.slow
def test_two_processes_score_each_image_once_and_as_one_process_does(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flag = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    # Networks after four steps find something only if any score will do.
    settings = ("steps=4", "checkpoint_every=4", "evaluation.every=4", "task.score=0.0")
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "segjax.launch", DISCS, *words, "--workdir"]
    cluster = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    of_two = [{**os.environ, **flag, **cluster, "JAX_PROCESS_ID": str(i)} for i in range(2)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen([*command, tmp_path / "two"], env=e, **pipes) for e in of_two]
    for process in both:
        said, _ = process.communicate(timeout=1200)
        assert process.returncode == 0, said
    alone = subprocess.run([*command, tmp_path / "one"], env=os.environ | flag, **pipes)
    assert alone.returncode == 0, alone.stdout
    one, two = (
        json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("one", "two")
    )
    assert two["images"] == 3 and one["box_ap50"] > 0
    assert two.keys() == one.keys()
    # Sums of two processes round otherwise than those of one.
    close = lambda a, b: a == b if a is None or b is None else abs(a - b) < 1e-3
    assert jax.tree.all(jax.tree.map(close, one, two, is_leaf=lambda leaf: leaf is None))


@pytest.mark.slow
def test_it_learns_to_find_the_discs_and_squares_of_its_images(tmp_path):
    settings = ("steps=300", "checkpoint_every=300", "evaluation.every=300")
    words = [word for setting in settings for word in ("--set", setting)]
    assert launch.main([str(DISCS), "--workdir", str(tmp_path / "run"), *words]) == 0
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    # Untrained it is below 0.01.
    assert evaluation["box_ap50"] > 0.5 and evaluation["mask_ap50"] > 0.4
