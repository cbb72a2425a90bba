"""The command as a process: where it listens, how it ends, what it refuses before work."""

import http.client
import json
import os
import pathlib
import re
import runpy
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segjax import serve

RUN = pathlib.Path(__file__).parents[1] / "page" / "untrained_run.py"
PATIENCE = 600
"""Seconds after which a process hangs: many times what it takes on a busy machine."""
UNTRAINED = runpy.run_path(str(RUN))["untrained"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return UNTRAINED(tmp_path_factory.mktemp("runs") / "first")


# A shell's background jobs, and all that they start, ignore Ctrl-C unless they say otherwise.
HEARING = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('segjax.serve', run_name='__main__', alter_sys=True)"
)


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", HEARING, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XLA_FLAGS": ""},
    )


def test_a_run_is_served_from_its_printed_address_until_ctrl_c(workdir, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((30, 20, 3), 90, np.uint8)).save(photo)
    with start(workdir, "--port", 0, "--side", 16) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines[0] == "first: step 0, 6 classes\n"
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", lines[1])
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE)
        connection.request("POST", "/predict", photo.read_bytes())
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert answer["size"] == [11, 16] and answer["original"] == [20, 30]
        assert sum(answer["areas"][0]) == 20 * 30
        process.send_signal(signal.SIGINT)
        try:
            out, error = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "\nStopped.\n")
    assert all(line.startswith("Compiling the network for") for line in error.splitlines())


def refused(capsys, *arguments) -> str:
    assert serve.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    return printed.err


def test_a_port_that_is_taken_is_told_in_a_line(workdir, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refused(capsys, workdir, "--port", port)
    assert f"--port {port} cannot be had (Address already in use): take another" in error


@pytest.mark.parametrize(
    "options, said",
    [
        (("--port", 70000), "--port 70000 must be 0 to 65535"),
        (("--side", 4), "--side 4 must be 16 to 100000 pixels; 0 leaves every image at its"),
        (("--side", -1), "--side -1 must be"),
        (("--pad-to-multiple", 0), "multiple=0 must be a whole number, at least 1"),
        (("--window", 0), "size=0 must be"),
        (("--max-upload", 0), "--max-upload 0 must be"),
        (("--max-megapixels", "nan"), "--max-megapixels nan must be"),
        (("--max-megapixels", 0), "--max-megapixels 0 must be 0.001 to 100000"),
        (("--host", "192.0.2.1"), "--host 192.0.2.1 --port 8000 cannot be had"),
        (("--host", "no.such.name.invalid"), "--host no.such.name.invalid"),
        (("--checkpoint", "7", "--port", 0), "--checkpoint 7"),
    ],
)
def test_a_wrong_option_is_told_in_a_line(options, said, workdir, capsys):
    assert said in refused(capsys, workdir, *options)


def test_a_folder_without_a_checkpoint_is_told_in_a_line(workdir, tmp_path, capsys):
    for name in ("experiment.py", "experiment.txt"):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    error = refused(capsys, workdir, tmp_path, "--port", 0)
    assert f"{tmp_path}/checkpoints holds no checkpoint" in error


def test_other_machines_are_let_in_with_a_warning(workdir, capsys, monkeypatch):
    def interrupted(server, service):
        raise KeyboardInterrupt

    monkeypatch.setattr("segjax.page.server.PageServer.serve", interrupted)
    assert serve.main([str(workdir), "--host", "0.0.0.0", "--port", "0"]) == 0
    printed = capsys.readouterr()
    assert "warning: --host 0.0.0.0 lets other machines in" in printed.err
    assert re.search(r"Open http://localhost:\d+/", printed.out)
    assert serve.main([str(workdir), "--port", "0"]) == 0
    assert "warning" not in capsys.readouterr().err
