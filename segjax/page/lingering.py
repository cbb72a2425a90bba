"""Connections that have their answer while their client still sends: read by one thread.

Closing a connection whose bytes are unread resets it, and the client may lose the answer.
"""

import collections
import contextlib
import selectors
import socket
import threading
import time

PIECE = 2**16
POLL = 0.05
"""Seconds until a new connection is noticed; until then the system holds its bytes."""


class Lingering:
    """Reads and drops what clients send, up to `seconds` each and `most` clients at a time.

    Further connections are closed at once.
    """

    def __init__(self, *, seconds: float = 10.0, most: int = 768):
        self._seconds, self._most = seconds, most
        self._new: collections.deque[socket.socket] = collections.deque()
        self._ends: dict[socket.socket, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Lingering":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def answer(self, connection: socket.socket, reply: bytes) -> None:
        """Sends a short reply, and closes the connection once the client has sent all."""
        try:
            connection.setblocking(False)
            connection.sendall(reply)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
            return
        if len(self._new) + len(self._ends) < self._most:
            self._new.append(connection)
        else:
            connection.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            while not self._stopped.is_set():
                while self._new:
                    connection = self._new.popleft()
                    self._ends[connection] = time.monotonic() + self._seconds
                    selector.register(connection, selectors.EVENT_READ)
                ready = {key.fileobj for key, _ in selector.select(POLL)}
                now = time.monotonic()
                for connection, end in [*self._ends.items()]:
                    if (connection in ready and not _dropped(connection)) or now > end:
                        selector.unregister(connection)
                        del self._ends[connection]
                        connection.close()
        for connection in (*self._ends, *self._new):
            connection.close()


def _dropped(connection: socket.socket) -> bool:
    """Reads a piece and returns whether more may come."""
    with contextlib.suppress(OSError):
        return bool(connection.recv(PIECE))
    return False
