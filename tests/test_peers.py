"""Processes of a run that hear how the others ended, and what they make of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from segjax import stopping
from segjax.errors import InputError, RunError
from segjax.parallel import peers
from segjax.parallel.peers import LOST, Peers
from segjax.stopping import TRY_AGAIN, Cause, leaving, listening


class Service:
    """JAX's coordination service, as much of it as processes use to say how they ended."""

    def __init__(self):
        self.keys: dict[str, str] = {}

    def key_value_set(self, key, value, overwrite):
        self.keys[key] = value

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.keys.items() if key.startswith(folder)]

    def say(self, index, status, line):
        self.keys[f"segjax/ended/{index}"] = json.dumps([status, line])


def peers_of(service, *, index=0, stops=None):
    return Peers(service, index=index, count=2, stops=stops or stopping.Stops())


def test_a_broken_connection_is_the_end_of_another_process_and_any_other_error_is_its_own():
    service = Service()
    others = peers_of(service)
    service.say(0, 1, "error: its own end is none of another")
    assert others.explain(ValueError("shapes do not match")) is None
    service.say(1, 2, "error: no such folder.")
    ended = Cause("process 1 ended (error: no such folder)", 2)
    closed = ValueError("UNKNOWN: Gloo all-reduce failed: closed by peer")
    assert others.explain(closed) == ended
    try:
        try:
            raise ValueError("Barrier failed")
        except ValueError as cause:
            raise RuntimeError("Saving failed") from cause
    except RuntimeError as error:
        assert others.explain(error) == ended


@pytest.mark.parametrize(
    "error",
    [
        InputError("/data/Barrier_reef/7.png cannot be read"),
        RunError("Example 'heartbeat 7' has the label ids [9]."),
        ConnectionRefusedError(111, "Connection refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_word_in_an_error_of_its_own_does_not_make_another_process_lost(error):
    assert peers_of(Service()).explain(error) is None


def test_a_process_that_said_nothing_before_it_went_was_lost(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    cause = peers_of(Service()).explain(ValueError("Gloo all-reduce failed"))
    assert cause == LOST and cause.status == TRY_AGAIN

    class Gone(Service):
        def key_value_dir_get(self, folder):
            raise RuntimeError("UNAVAILABLE")

    assert peers_of(Gone()).explain(ValueError("Gloo all-reduce failed")) == LOST


def test_who_waits_for_a_process_that_has_ended_leaves_with_its_status(monkeypatch):
    monkeypatch.setattr(peers, "_SAME_FAULT", 60)  # Not where that one was asked to stop.
    service = Service()
    with pytest.raises(KeyboardInterrupt) as caught, listening() as stops:
        with leaving(lambda: "step 4 is saved."):
            peers_of(service, stops=stops).watch()
            service.say(1, 75, "stopped by SIGTERM: all is saved.")
            threading.Event().wait(30)
    assert str(caught.value) == "step 4 is saved."
    assert stops.cause == Cause("process 1 ended (stopped by SIGTERM)", 75)


def test_what_another_process_found_wrong_is_said_by_this_one_if_it_finds_it(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda status: None)
    monkeypatch.setattr(peers, "_LOOK", 0.01)
    service = Service()
    with pytest.raises((InputError, KeyboardInterrupt)) as caught, listening() as stops:
        others = peers_of(service, index=1, stops=stops)
        others.watch()
        service.say(0, 2, "error: no such folder.")
        try:
            threading.Event().wait(1)
            raise InputError("no such folder.")
        finally:
            others.part(2, "error: no such folder.")
    assert caught.type is InputError and not stops.came


def test_what_another_process_found_wrong_ends_this_one_where_it_finds_nothing(monkeypatch):
    monkeypatch.setattr(peers, "_LOOK", 0.01)
    monkeypatch.setattr(peers, "_SAME_FAULT", 0.1)
    service = Service()
    with pytest.raises(KeyboardInterrupt), listening() as stops:
        with leaving(lambda: "step 4 is saved."):
            peers_of(service, stops=stops).watch()
            service.say(1, 2, "error: no such folder.")
            threading.Event().wait(30)
    assert stops.cause == Cause("process 1 ended (error: no such folder)", 2)


PARTS = """
import sys
sys.path.insert(0, {folder!r})
from test_peers import Service, peers_of
service = Service()
service.say(1, 75, "stopped.")
service.key_value_set = lambda key, value, overwrite: print(key, value, flush=True)
peers_of(service, index=1).part(75, "stopped by SIGTERM: saved.")
"""


def test_a_process_says_why_it_ends_and_does_not_wait():
    code = PARTS.format(folder=os.path.dirname(__file__))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 75, ended.stderr
    assert ended.stdout == 'segjax/ended/1 [75, "stopped by SIGTERM: saved."]\n'


@pytest.mark.parametrize(
    ("status", "patience", "other"),
    [(2, "_HEARD", "_HEARD_STOP"), (75, "_HEARD_STOP", "_HEARD")],
)
def test_process_0_waits_until_the_others_have_said_why_they_end(
    status, patience, other, monkeypatch
):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(peers, other, 0)
    service = Service()
    said = threading.Timer(0.3, service.say, [1, status, "so it ends."])
    said.start()
    peers_of(service).part(status, "so it ends.")
    assert "segjax/ended/1" in service.keys and ended == [status]
    said.join()
    service.keys.clear()
    monkeypatch.setattr(peers, patience, 0)
    began = time.monotonic()
    peers_of(service).part(status, "so it ends.")
    assert [*service.keys] == ["segjax/ended/0"] and time.monotonic() - began < 3


BAD_CAST = """
import ctypes, os, threading
from segjax.parallel.peers import _hear_bad_cast
assert _hear_bad_cast(lambda: os._exit(75))
library = ctypes.CDLL("libstdc++.so.6")
library.{function}()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="The name of the library is that of Linux.")
@pytest.mark.parametrize(
    ("function", "status"),
    [("_ZSt16__throw_bad_castv", 75), ("_ZSt17__throw_bad_allocv", -signal.SIGABRT)],
)
def test_only_the_exception_of_a_lost_process_is_taken_for_one(function, status):
    code = BAD_CAST.format(function=function)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
