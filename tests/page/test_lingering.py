"""A refused client reads its answer, however much it still sends, and not for ever."""

import socket
import time

from segjax.page.lingering import Lingering

PATIENCE = 60


def pair():
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    return ours, theirs


def test_a_client_that_still_sends_reads_its_answer_and_then_the_end():
    ours, theirs = pair()
    with Lingering() as lingering, theirs:
        lingering.answer(ours, b"no")
        theirs.sendall(bytes(2**22))
        theirs.shutdown(socket.SHUT_WR)
        assert theirs.recv(10) == b"no" and theirs.recv(10) == b""
        assert _closes(ours)


def test_a_client_that_never_ends_is_closed_after_some_seconds():
    ours, theirs = pair()
    with Lingering(seconds=0.1) as lingering, theirs:
        lingering.answer(ours, b"no")
        assert _closes(ours)


def test_beyond_so_many_clients_the_next_is_closed_at_once():
    (first, theirs), (second, others) = pair(), pair()
    with Lingering(most=1) as lingering, theirs, others:
        lingering.answer(first, b"no")
        lingering.answer(second, b"no")
        assert second.fileno() == -1 and first.fileno() != -1
        assert others.recv(10) == b"no"


def _closes(connection: socket.socket) -> bool:
    """Returns whether the connection is closed before patience ends."""
    end = time.monotonic() + PATIENCE
    while connection.fileno() != -1 and time.monotonic() < end:
        time.sleep(0.01)
    return connection.fileno() == -1
