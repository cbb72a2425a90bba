"""The lock of a workdir: who is refused, and what ends it."""

import errno
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from segjax.errors import InputError
from segjax.stopping import TRY_AGAIN
from segjax.train import lock
from segjax.train.lock import LOCK, Holder, InUseError, locked, this_machine

HOLDER = """
import os, pathlib, sys, time
from segjax.train.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    if len(sys.argv) > 2 and not os.fork():
        os.write(1, b"%d\\n" % os.getpid())
    else:
        os.write(1, b"held\\n")
    time.sleep(600)
"""


@pytest.fixture
def holding(tmp_path):
    """Starts a process that holds the lock of `tmp_path / "run"`."""
    started = []

    def start(*options: str) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "run"), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        process.first = [process.stdout.readline() for _ in ("", *options)]  # type: ignore
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def refused(workdir: pathlib.Path) -> str:
    with pytest.raises((InUseError, InputError)) as caught, locked(workdir):
        pass
    return str(caught.value)


def test_a_second_process_is_refused_with_the_first_ones_number_host_and_time(
    holding, tmp_path
):
    began = time.strftime("%H:%M")
    process = holding()
    message, host = refused(tmp_path / "run"), socket.gethostname()
    ended = time.strftime("%H:%M")
    assert message in {
        f"{tmp_path / 'run'} is in use by process {process.pid} on host {host} since {since}: "
        f"wait for it, stop it (kill {process.pid}), or choose another --workdir."
        for since in (began, ended)
    }


def test_a_killed_process_leaves_no_lock_and_neither_does_the_child_that_it_forked(
    holding, tmp_path
):
    process = holding("and fork")
    (child,) = [int(line) for line in process.first if line.strip().isdigit()]
    try:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(child, 0)  # It lives.
        with locked(tmp_path / "run"):
            assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_that_is_given_back_leaves_no_file_and_no_empty_folder(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).is_file()
    assert not [*tmp_path.iterdir()]
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "experiment.txt").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["experiment.txt"]


def test_a_process_cannot_take_a_lock_twice(tmp_path):
    with locked(tmp_path):
        assert f"process {os.getpid()} on host" in refused(tmp_path)
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("host", ["another-host", socket.gethostname()])
@pytest.mark.parametrize("native", [True, False], ids=["flock", "no flock"])
def test_a_process_of_another_machine_is_waited_for_and_refuses_us_only_while_it_lives(
    native, host, tmp_path, monkeypatch
):
    """A pod that is started again on another node has its name, and its number too."""
    pid = os.getpid()
    monkeypatch.setattr(lock, "LOST", 0.6)
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "_flock", lambda fd: native)
    other = Holder(pid, host, 1.7e9, "another machine")
    (tmp_path / LOCK).write_text(json.dumps(other._asdict()))
    over = threading.Event()
    beating = threading.Thread(target=_renew, args=(tmp_path / LOCK, over))
    beating.start()
    try:
        message = refused(tmp_path)
        assert f"process {pid} on host {host} since 2023-11-1" in message
        assert f"stop it (kill {pid} on {host})" in message
    finally:
        over.set()
        beating.join()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["machine"] == this_machine()


def _renew(path: pathlib.Path, over: threading.Event) -> None:
    while not over.wait(0.02):
        os.utime(path)


def test_a_run_renews_the_time_of_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    with locked(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        deadline = time.monotonic() + 20
        while not os.stat(tmp_path / LOCK).st_mtime:
            assert time.monotonic() < deadline


def test_without_flock_a_dead_process_of_this_host_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_flock", lambda fd: False)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = Holder(ended.pid, socket.gethostname(), 1.7e9, this_machine())
    (tmp_path / LOCK).write_text(json.dumps(dead._asdict()))
    began = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - began < lock.LOST / 2


@pytest.mark.parametrize("contents", [b"", b"\x00\xff", b"[]", b'{"pid": 1}', b"null"])
def test_a_lock_file_without_a_name_is_no_lock(contents, tmp_path):
    (tmp_path / LOCK).write_bytes(contents)
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(lock.os, "open", read_only)
    message = refused(tmp_path / "run")
    assert "run cannot be written (Read-only file system)" in message


CLUSTER = """
import pathlib, sys
from segjax.errors import run_command
from segjax.parallel import cluster
from segjax.train.lock import locked

def command():
    cluster.initialize()
    with locked(pathlib.Path(sys.argv[1])):
        print("trained")

sys.exit(run_command(command))
"""


def in_cluster(workdir: pathlib.Path) -> list[tuple[int, str, str]]:
    """(status, output, errors) of two processes that take the lock together."""
    with socket.socket() as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port.bind(("localhost", 0))
        cluster = {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port.getsockname()[1]}",
            "JAX_NUM_PROCESSES": "2",
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CLUSTER, str(workdir)],
                env={**os.environ, **cluster, "JAX_PROCESS_ID": str(i)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]
        outputs = [process.communicate(timeout=1200) for process in processes]
    return [(p.returncode, *told) for p, told in zip(processes, outputs, strict=True)]


@pytest.mark.slow
def test_all_processes_of_a_cluster_hold_the_lock_or_all_are_refused(tmp_path):
    with locked(tmp_path):
        for status, _, error in in_cluster(tmp_path):
            assert status == TRY_AGAIN and f"is in use by process {os.getpid()} on" in error
    for status, out, error in in_cluster(tmp_path):
        assert status == 0 and out.endswith("trained\n"), error
    assert not [*tmp_path.iterdir()]
