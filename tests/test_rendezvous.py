"""Processes that wait for the others of their cluster: who is here, and for how long."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from segjax.errors import InputError, TryAgain
from segjax.parallel import cluster, rendezvous
from segjax.parallel.rendezvous import meet, start_timeout


@contextlib.contextmanager
def free_address():
    """An address that nobody else is given while the block runs, for who may share it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("localhost", 0))
        yield f"localhost:{held.getsockname()[1]}"


def meeting(address, indices, count, *, seconds=20.0):
    """Lets processes, here threads, meet; returns what each of them raised, or None."""
    found = {}

    def arrive(place, index):
        try:
            meet(address, count=count, index=index, seconds=seconds)
            found[place] = None
        except (InputError, TryAgain) as error:
            found[place] = error

    threads = [threading.Thread(target=arrive, args=pair) for pair in enumerate(indices)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [found[place] for place in range(len(indices))]


def test_processes_that_are_all_there_meet_whoever_comes_first(capsys):
    with free_address() as address:
        assert meeting(address, [2, 0, 1], 3) == [None] * 3
        # The port is free again for JAX, and for the next attempt.
        assert meeting(address, [0, 1], 2) == [None] * 2


def test_who_waits_says_for_whom_and_gives_up(capsys, monkeypatch):
    monkeypatch.setattr(rendezvous, "TELLS", 0.5)
    with free_address() as address:
        waiting, arrived = meeting(address, [0, 2], 3, seconds=5)
        (alone,) = meeting(address, [1], 3, seconds=1.2)
    said = capsys.readouterr().err
    assert "waiting for the other processes (2 of 3 are here, missing: 1) … 1 of 5 s" in said
    assert "waiting for the other processes (process 0 does not answer) … 1 of 1.2 s" in said
    assert isinstance(arrived, TryAgain) and isinstance(alone, TryAgain)
    first, last = str(waiting).split(f" (address {address}). ")
    assert first.startswith("The processes of this cluster did not meet within 5 s: ")
    assert last == (
        "Start all of them with the same command, or set SEGJAX_START_TIMEOUT to more seconds."
    )


def test_a_process_that_ends_while_it_waits_is_not_counted():
    with free_address() as address:
        host, port = address.split(":")
        gone = threading.Timer(0.3, _come_and_go, [(host, int(port))])
        gone.start()
        (error,) = meeting(address, [0], 3, seconds=2)
        gone.join()
        assert "1 of 3 are here, missing: 1, 2" in str(error)


def _come_and_go(address):
    for said in (b"segjax process 1\n", b"GET / HTTP/1.0\r\n\r\n", b""):
        with socket.create_connection(address) as peer:
            peer.sendall(said)


@pytest.mark.parametrize("indices", [[0, 1, 1], [1, 0, 3]])
def test_all_hear_that_two_processes_have_one_index_or_that_one_is_too_large(indices):
    with free_address() as address:
        errors = meeting(address, indices, 3)
    assert [type(error) for error in errors] == [InputError] * 3
    assert len({str(error) for error in errors}) == 1
    assert f"have the index {indices[2]}" in str(errors[0])


def test_a_process_that_comes_after_the_refusal_hears_of_it(monkeypatch):
    with free_address() as address:
        late = []
        last = threading.Timer(0.7, lambda: late.extend(meeting(address, [2], 4)))
        last.start()
        errors = meeting(address, [0, 1, 1], 4)
        last.join()
        monkeypatch.setattr(rendezvous, "LINGERS", 0.1)
        began = time.monotonic()
        early = meeting(address, [0, 1, 1], 4)
    assert len({str(error) for error in errors + late + early}) == 1
    assert time.monotonic() - began < 5


def test_a_port_of_another_program_is_said(capsys):
    with socket.create_server(("localhost", 0), reuse_port=True) as other:
        (error,) = meeting(f"localhost:{other.getsockname()[1]}", [0], 2, seconds=1.2)
    assert isinstance(error, TryAgain) and "another program uses port" in str(error)


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", "localhost:x", ":80", "h:99999"]
)
def test_a_malformed_address_is_refused(address):
    with pytest.raises(InputError, match="is not HOST:PORT"):
        meet(address, count=2, index=0, seconds=1)


def test_the_timeout_is_two_minutes_or_what_the_variable_says(monkeypatch):
    monkeypatch.delenv("SEGJAX_START_TIMEOUT", raising=False)
    assert start_timeout() == 120
    monkeypatch.setenv("SEGJAX_START_TIMEOUT", "7.5")
    assert start_timeout() == 7.5
    for wrong in ("0", "-1", "soon", "nan", "inf"):
        monkeypatch.setenv("SEGJAX_START_TIMEOUT", wrong)
        with pytest.raises(InputError, match="SEGJAX_START_TIMEOUT="):
            start_timeout()


ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({INDEX: None}, "JAX_PROCESS_ID is not set, but JAX_NUM_PROCESSES=2"),
        ({INDEX: "-1"}, "JAX_PROCESS_ID=-1 is not one of 0 … 1"),
        ({INDEX: "2"}, "JAX_PROCESS_ID=2 is not one of 0 … 1"),
        ({INDEX: "one"}, "JAX_PROCESS_ID=one is not a whole number"),
        ({COUNT: "0"}, "JAX_NUM_PROCESSES=0 is not a number of processes"),
        ({COUNT: "two"}, "JAX_NUM_PROCESSES=two is not a whole number"),
        ({ADDRESS: "host"}, "The address of process 0, host, is not HOST:PORT"),
    ],
)
def test_a_malformed_variable_of_a_cluster_is_refused_before_anyone_waits(
    given, message, monkeypatch
):
    monkeypatch.setattr(cluster, "_join", lambda *_: pytest.fail("joins"))
    for name, value in ({ADDRESS: "localhost:80", COUNT: "2", INDEX: "1"} | given).items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        cluster.initialize()


def test_a_process_alone_needs_no_number(monkeypatch):
    monkeypatch.setenv(ADDRESS, "localhost:80")
    monkeypatch.setenv(COUNT, "1")
    monkeypatch.delenv(INDEX, raising=False)
    assert cluster._cluster()["process_id"] == 0


HALF = """
import sys
from segjax.errors import run_command
from segjax.parallel import cluster
sys.exit(run_command(cluster.initialize))
"""


def test_a_cluster_of_which_one_process_starts_gives_up_in_one_line():
    with free_address() as address:
        environment = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
        environment["JAX_PROCESS_ID"] = "0"
        ended = subprocess.run(
            [sys.executable, "-c", HALF],
            env={**os.environ, **environment, "SEGJAX_START_TIMEOUT": "2"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 75
    first, last = ended.stderr.splitlines()
    assert first.startswith("waiting for the other processes (1 of 2 are here, missing: 1) …")
    assert last.startswith("error: The processes of this cluster did not meet within 2 s")


LATE = """
import sys, time
import jax
import numpy as np
from segjax.parallel import cluster

cluster.initialize()
if jax.process_index():
    time.sleep(35)
total = jax.pmap(lambda x: jax.lax.psum(x, "i"), axis_name="i")(np.ones(2, np.float32))
print("sum", float(total.addressable_data(0).sum()))
"""


@pytest.mark.slow
def test_a_process_may_come_late_to_the_first_sum_over_all_devices():
    with free_address() as address:
        environment = {
            **{**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
            **{"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"},
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", LATE],
                env={**environment, "JAX_PROCESS_ID": str(i)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]
        outputs = [process.communicate(timeout=600) for process in processes]
    assert all("sum 4.0" in out for out, _ in outputs), outputs
