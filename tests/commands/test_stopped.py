"""Signals to commands and to one of two processes: one line, a status, and the same bits."""

import contextlib
import importlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from segjax.train.checkpoint import last_step

TINY = pathlib.Path(__file__).with_name("tiny.py")
KILLED = pathlib.Path(__file__).with_name("killed_run.py")
PATIENCE = 1200
"""Seconds after which a process hangs: many times what it takes on a busy machine."""


@pytest.mark.parametrize(
    "command", ["predict", "score", "convert", "export", "explain", "serve"]
)
def test_every_command_ends_in_one_line_after_sigterm(command, monkeypatch, capsys):
    name = f"segjax.{command}"
    name += ".__main__" if command in ("convert", "export", "explain") else ""
    module = importlib.import_module(name)
    stopped = lambda *_: signal.raise_signal(signal.SIGTERM)
    monkeypatch.setattr(module, "_run", stopped)
    monkeypatch.setattr(module, "_parser", lambda *_: _AnyArguments())
    assert module.main([]) == 75
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stopped by SIGTERM: ")


class _AnyArguments:
    def parse_args(self, arguments):
        return arguments


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> pathlib.Path:
    """The workdir of one process's unbroken run."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert subprocess.run([*COMMAND, str(workdir)], timeout=PATIENCE).returncode == 0
    return workdir


LAUNCH = [sys.executable, "-m", "segjax.launch"]
COMMAND = [*LAUNCH, str(TINY), "--workdir"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "pattern", "left"),
    [
        ("import", "^jax$", "run the same command again."),
        (
            "os.mkdir",
            "checkpoints/4.*tmp",
            "step 4 is saved; the same command resumes from there.",
        ),
        (
            "os.rename",
            "checkpoints/12",
            "all 12 steps are trained; the same command evaluates them.",
        ),
        (
            "os.rename",
            "evaluation.json",
            "all 12 steps are trained; the same command evaluates them.",
        ),
        (
            "os.rename",
            "report.html",
            "all 12 steps are trained; the same command evaluates them.",
        ),
    ],
    ids=["start-up", "saving", "saving the last", "evaluated", "reporting"],
)
def test_sigterm_is_heard_in_each_phase(event, pattern, left, alone, tmp_path):
    workdir = tmp_path / "run"
    script = [sys.executable, str(KILLED), event, pattern, str(TINY), "--workdir", str(workdir)]
    stopped = subprocess.run(
        script,
        env={**os.environ, "KILLED_BY": "SIGTERM"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert stopped.returncode == 75, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.stderr.splitlines()[-1] == f"stopped by SIGTERM: {left}"
    assert subprocess.run([*COMMAND, str(workdir)], timeout=PATIENCE).returncode == 0
    for name in ("model.safetensors", "evaluation.json"):
        assert (workdir / name).read_bytes() == (alone / name).read_bytes()


class Two:
    """Two processes that train a run together, and what they print."""

    def __init__(self, workdir, *settings, source=TINY, environments=({}, {})):
        with launch_port() as port:
            common = {
                **{"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2"},
                "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
            }
            self.processes = [
                subprocess.Popen(
                    [*LAUNCH, str(source), "--workdir", str(workdir), *settings],
                    env={**os.environ, **common, "JAX_PROCESS_ID": str(i), **environments[i]},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for i in range(2)
            ]
        self.lines: list[list[str]] = [[], []]
        self._threads = [threading.Thread(target=self._read, args=(i,)) for i in range(2)]
        for thread in self._threads:
            thread.start()

    def _read(self, index):
        for line in self.processes[index].stderr:
            self.lines[index].append(line.rstrip())

    def wait_for(self, text: str):
        """Returns once process 0 has said a text."""
        until = time.monotonic() + PATIENCE
        while not any(text in line for line in self.lines[0]):
            assert time.monotonic() < until and self.processes[0].poll() is None, self.lines
            time.sleep(0.01)

    def send_at(self, text: str, number, index):
        """Sends a signal to one process once process 0 has said a text."""
        self.wait_for(text)
        self.processes[index].send_signal(number)

    def statuses(self, *, seconds=PATIENCE):
        """Returns the exit statuses, each process's last line in `lines`."""
        try:
            return [process.wait(seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
            for thread, process in zip(self._threads, self.processes, strict=True):
                thread.join()
                process.stderr.close()


@contextlib.contextmanager
def launch_port():
    """A port that nobody else is given while the block runs, for who may share it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("localhost", 0))
        yield held.getsockname()[1]


LONG = (
    "--set",
    "steps=3000",
    "--set",
    "checkpoint_every=1000",
    "--set",
    "evaluation.every=3000",
)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_sigterm_to_one_of_two_processes_saves_and_stops_both(index, tmp_path):
    workdir = tmp_path / "run"
    two = Two(workdir, *LONG)
    two.send_at("tiny: step ", signal.SIGTERM, index)
    assert two.statuses() == [75, 75], two.lines
    step = last_step(workdir)
    assert step and step % 1000
    left = f"step {step} is saved; the same command resumes from there."
    assert two.lines[index][-1] == f"stopped by SIGTERM: {left}"
    assert two.lines[1 - index][-1].endswith(left)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_is_killed_stops_the_other_within_a_minute(index, tmp_path):
    two = Two(tmp_path / "run", *LONG)
    two.send_at("tiny: step ", signal.SIGKILL, index)
    two.processes[index].wait()
    statuses = two.statuses(seconds=60)
    assert statuses[1 - index] == 75, two.lines
    assert two.lines[1 - index][-1] == (
        "stopped because another process of the run was lost: nothing is saved yet; the same "
        "command starts again."
    )


FAILING = f"""
import os, pathlib
from dataclasses import replace
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError
from segjax.experiment import load

class Failing(Synthetic):
    def prepare(self):
        if os.environ.get("FAILS"):
            raise InputError("no such folder.")

experiment = replace(load(pathlib.Path({str(TINY)!r})), train_data=Failing(size=32))
"""


@pytest.mark.slow
def test_what_one_process_finds_wrong_ends_the_other_with_the_same_status(tmp_path):
    source = tmp_path / "failing.py"
    source.write_text(FAILING)
    two = Two(tmp_path / "run", source=source, environments=({}, {"FAILS": "1"}))
    assert two.statuses() == [2, 2], two.lines
    assert two.lines[1][-1] == "error: no such folder."
    assert two.lines[0][-1].startswith("process 1 ended (error: no such folder): ")


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> pathlib.Path:
    """The workdir of two processes' unbroken run."""
    workdir = tmp_path_factory.mktemp("two") / "whole"
    assert Two(workdir).statuses() == [0, 0]
    return workdir


RESULTS = ("model.safetensors", "evaluation.json")


def halve_arrays(step: pathlib.Path):
    for path in (step / "state").rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.slow
def test_two_processes_go_on_from_the_same_older_checkpoint(both, tmp_path):
    workdir = shutil.copytree(both, tmp_path / "run")
    for name in RESULTS:
        (workdir / name).unlink()
    halve_arrays(workdir / "checkpoints/12")
    two = Two(workdir)
    assert two.statuses() == [0, 0], two.lines
    (line,) = [line for line in two.lines[0] if "damaged" in line]
    assert "checkpoints/12 is damaged: " in line and "Resuming from step 8;" in line
    assert not any("damaged" in line for line in two.lines[1])
    for name in RESULTS:
        assert (workdir / name).read_bytes() == (both / name).read_bytes()


@pytest.mark.slow
def test_two_processes_refuse_where_every_checkpoint_is_damaged(both, tmp_path):
    workdir = shutil.copytree(both, tmp_path / "run")
    steps = sorted((workdir / "checkpoints").glob("[0-9]*"))
    for step in steps:
        halve_arrays(step)
    two = Two(workdir)
    assert two.statuses() == [2, 2], two.lines
    for lines in two.lines:
        assert lines[-1].startswith("error: Every checkpoint in ")
    assert sorted((workdir / "checkpoints").glob("*")) == steps


FULL = f"""
import os, pathlib, resource
from segjax.experiment import load

experiment = load(pathlib.Path({str(TINY)!r}))
if os.environ.get("FULL"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
"""


@pytest.mark.slow
def test_what_process_0_cannot_save_ends_both_within_a_minute_and_costs_nothing(both, tmp_path):
    source, workdir = tmp_path / "full.py", tmp_path / "run"
    source.write_text(FULL)
    two = Two(workdir, source=source, environments=({"FULL": "1"}, {}))
    two.wait_for("evaluated on")
    assert two.statuses(seconds=60) == [1, 1], two.lines
    said = f"Saving to {workdir / 'checkpoints'} failed: "
    assert two.lines[0][-1].startswith(f"error: {said}")
    assert two.lines[1][-1].startswith(f"process 0 ended (error: {said}")
    assert Two(workdir, source=source).statuses() == [0, 0]
    for name in RESULTS:
        assert (workdir / name).read_bytes() == (both / name).read_bytes()


SHORT = f"""
import os, pathlib
from segjax.experiment import load
from segjax.planning import requirements

def fail(*_, **__):
    raise MemoryError("RESOURCE_EXHAUSTED: 9 bytes")

experiment = load(pathlib.Path({str(TINY)!r}))
if os.environ.get("SHORT"):
    requirements.step_time = fail
"""


@pytest.mark.slow
def test_one_of_two_processes_that_runs_out_of_memory_in_a_plan_ends_the_other(tmp_path):
    source = tmp_path / "short.py"
    source.write_text(SHORT)
    environments = ({}, {"SHORT": "1"})
    two = Two(tmp_path / "run", "--plan", source=source, environments=environments)
    assert two.statuses() == [1, 1], two.lines
    said = "error: The devices ran out of memory when a step was timed (RESOURCE_EXHAUSTED: 9"
    assert two.lines[1][-1].startswith(said)
    assert two.lines[0][-1].startswith(f"process 1 ended ({said}")
