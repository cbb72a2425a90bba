"""Ctrl-C and SIGTERM: the first is answered where it may be, the second ends the process."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from segjax.errors import run_command
from segjax.stopping import PROMPT, Cause, leaving, listening


@pytest.fixture(autouse=True)
def heard():
    """Signals as a process in the foreground hears them, wherever pytest runs."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


SECOND = """
import pathlib, signal, sys, threading
from segjax.stopping import leaving, listening
signal.signal(signal.SIGINT, signal.default_int_handler)
with leaving(lambda: "step 4 is saved."), listening() as stops, stops.deferred():
    signal.raise_signal(signal.SIGINT)
    print("still here", flush=True)
    signal.raise_signal(signal.SIGINT)
    threading.Event().wait()
"""


def test_a_second_ctrl_c_ends_the_process_at_once_whatever_it_waits_for():
    ended = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 130 and ended.stdout == "still here\n"
    assert ended.stderr.splitlines()[-1] == "interrupted: step 4 is saved."


WORKERS = """
import multiprocessing, signal, sys, threading
from segjax.data.loader import batches
from segjax.data.synthetic import Synthetic
from segjax.stopping import leaving, listening
signal.signal(signal.SIGINT, signal.default_int_handler)
with listening() as stops, stops.deferred():
    found = batches(Synthetic(size=16), (), batch_size=2, seed=0, workers=1)
    next(found)
    print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    threading.Event().wait()
"""


def test_a_second_ctrl_c_leaves_no_worker_process_behind(tmp_path):
    with open(tmp_path / "out", "w") as out:  # A pipe would be held open by what is left.
        ended = subprocess.run([sys.executable, "-c", WORKERS], stdout=out, timeout=120)
    workers = [int(pid) for pid in (tmp_path / "out").read_text().split()]
    assert ended.returncode == 130 and workers
    deadline = time.monotonic() + 20
    while (left := [pid for pid in workers if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended, reaped or not."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


LOST = """
import gc, signal, sys, threading
from segjax import stopping
{patience}
signal.signal(signal.SIGINT, signal.default_int_handler)

def collected(phase, info, times=[1]):
    if times and times.pop():
        signal.raise_signal(signal.SIGINT)
        len("Python runs the handler by now")

class Kept:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        len("Python runs the handler by now")

with stopping.leaving(lambda: "step 4 is saved."):
    {where}
    print("still here", flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("where", "patience"),
    [
        ("gc.callbacks.append(collected); gc.collect()", "stopping.PATIENCE = 0.5"),
        ("kept = Kept(); del kept", "stopping.GRACE = 0.5"),
    ],
)
def test_ctrl_c_where_python_loses_an_exception_ends_the_process_all_the_same(where, patience):
    program = LOST.format(where=where, patience=patience)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 130 and ended.stdout == "still here\n"
    assert ended.stderr.splitlines()[-1] == "interrupted: step 4 is saved."
    assert ("ignored" in ended.stderr) == ("Kept()" in where)


FORKED = """
import os, signal, sys, time
from segjax.stopping import leaving, listening
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with listening() as stops, stops.deferred():
        if not (child := os.fork()):
            signal.raise_signal(signal.SIGINT)
            time.sleep(600)
            os._exit(0)
        time.sleep(1)
        print("one Ctrl-C of a child is not two of the user", flush=True)
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
except KeyboardInterrupt:
    print("left the block", flush=True)
finally:
    os.kill(child, signal.SIGKILL)
"""


def test_a_forked_process_neither_holds_the_block_nor_counts_as_a_second_ctrl_c():
    ended = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "left the block", ended.stderr
    assert ended.stderr.count("Ctrl-C:") == 1 and "interrupted" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_signal_says_is_what_is_done(number, capfd):
    def said(*blocks):
        with pytest.raises(KeyboardInterrupt), listening() as stops:
            with contextlib.ExitStack() as stack:
                for block in blocks:
                    stack.enter_context(getattr(stops, block)())
                try:
                    signal.raise_signal(number)
                    reached.append(blocks)
                finally:
                    time.sleep(2 * PROMPT)
        return capfd.readouterr().err

    reached, name = [], {2: "Ctrl-C", 15: "SIGTERM"}[number]
    assert said("deferred").startswith(f"{name}: saving after this step.")
    for at_once in ((), ("deferred", "at_once")):
        assert said(*at_once).startswith(f"{name}: stopping. ")
    assert reached == [("deferred",)]


def test_a_request_that_came_before_is_answered_where_it_may_be():
    with pytest.raises(KeyboardInterrupt), listening() as stops, stops.deferred():
        signal.raise_signal(signal.SIGTERM)
        assert stops.came
        with stops.at_once():
            raise AssertionError("It must not begin.")
    with pytest.raises(ValueError, match="first"), listening() as stops, stops.deferred():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("what went wrong first")


def test_outside_the_main_thread_and_where_they_are_handled_signals_stay_as_they_are():
    def enter():
        with listening():
            handlers.append([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)])

    handlers = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    enter()
    signal.signal(signal.SIGTERM, former)
    ignored = [signal.SIG_IGN, signal.SIG_IGN]
    assert handlers == [[signal.default_int_handler, signal.SIG_DFL], ignored]


def test_what_was_there_before_is_there_again():
    with listening() as stops:
        assert (
            signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == stops._note
        )
        with listening() as same:
            assert same is stops
        # As JAX's notice of preemption does.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stops.handle_again()
        assert signal.getsignal(signal.SIGTERM) == stops._note
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


BUSY = """
import ctypes, signal, sys, threading
from segjax import stopping
from segjax.errors import run_command

def command():
    with stopping.leaving(left), stopping.listening() as stops, stops.deferred():
        with stops.at_once(is_safe=safe.is_set):
            # The handler in C runs in another thread, and that in Python after this call:
            # so it is where XLA compiles. Within the call it says that it is there.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            ctypes.CDLL(None).system(b"echo busy; exec >&- 2>&-; read line")

stopping.PATIENCE = 0.1
safe = threading.Event()
left = lambda: f"saved: {safe.is_set()}."
threading.Timer(1, safe.set).start()
sys.exit(run_command(command))
"""


def test_a_process_in_compiled_code_ends_without_its_main_thread_once_its_work_is_safe():
    reading, writing = os.pipe()
    started = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    assert started.stdout and started.stdout.readline() == "busy\n"
    started.send_signal(signal.SIGTERM)
    _, error = started.communicate(timeout=60)
    os.close(writing)  # Its shell ends too.
    assert started.returncode == 75
    assert error.splitlines()[-1] == "stopped by SIGTERM: saved: True."


@pytest.mark.parametrize(
    ("number", "kind", "status"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "stopped by SIGTERM", 75)],
)
def test_the_line_of_a_command_names_its_signal_and_what_is_left(number, kind, status, capsys):
    assert run_command(lambda: signal.raise_signal(number), interrupted="do it.") == status
    assert capsys.readouterr().err.splitlines()[-1] == f"{kind}: do it."

    def command():
        with leaving(lambda: "step 4 is saved."):
            signal.raise_signal(number)

    assert run_command(command) == status
    assert capsys.readouterr().err.splitlines()[-1] == f"{kind}: step 4 is saved."


class Gone:
    """Other processes of which one has ended."""

    def __init__(self):
        self.parted = []

    def explain(self, error):
        return Cause("process 1 ended (error: full)", 1) if "Gloo" in str(error) else None

    def part(self, status, line):
        self.parted.append((status, line))


def test_an_error_that_comes_from_another_process_is_told_as_its_end(capsys):
    def command(text):
        with listening() as stops, leaving(lambda: "step 4 is saved."):
            stops.others = others
            raise ValueError(text)

    others = Gone()
    assert run_command(lambda: command("Gloo all-reduce failed")) == 1
    line = "process 1 ended (error: full): step 4 is saved."
    assert capsys.readouterr().err == f"{line}\n" and others.parted == [(1, line)]
    assert run_command(lambda: command("of its own")) == 1
    assert others.parted[-1] == (1, "error: ValueError: of its own")
    assert "Traceback" in capsys.readouterr().err
