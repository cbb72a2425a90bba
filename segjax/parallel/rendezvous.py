"""The meeting of a cluster's processes before JAX joins them: who is here, who is missing.

JAX waits for the others without a word, and ends the process itself if they do not come. So
process 0 first counts them on the address at which JAX will listen.
"""

import contextlib
import math
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator

from segjax.errors import InputError, TryAgain

TIMEOUT = "SEGJAX_START_TIMEOUT"
"""The environment variable for the seconds that a process waits for the others."""

USUAL = 120.0
"""Seconds that a process waits for the others, if the variable is not set."""

TELLS = 10.0
"""Seconds between two lines that say for whom a process waits."""

LINGERS = 10.0
"""Seconds in which process 0 still tells those who arrive that the cluster is refused."""

_HELLO, _GO, _NO = "segjax process", "segjax go", "segjax refuses: "


def start_timeout() -> float:
    """Returns the seconds that a process waits for the others of its cluster.

    Raises:
      InputError: the environment variable is not a finite positive number.
    """
    given = os.environ.get(TIMEOUT, "")
    try:
        seconds = float(given or USUAL)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(f"{TIMEOUT}={given} is not a finite positive number of seconds.")
    return seconds


def host_and_port(address: str) -> tuple[str, int]:
    """Returns the two parts of process 0's address.

    Raises:
      InputError: it is not "host:port".
    """
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise InputError(f"The address of process 0, {address}, is not HOST:PORT.")
    return host.strip("[]"), int(port)


def meet(address: str, *, count: int, index: int, seconds: float) -> None:
    """Returns when all processes of a cluster have arrived; says meanwhile who is here.

    Args:
      address: "host:port" of process 0, the same in all processes.
      count: of the processes.
      index: of this process.
      seconds: to wait for the others.

    Raises:
      InputError: the address is malformed, or two processes have one index.
      TryAgain: not all of them came in time.
    """
    host, port = host_and_port(address)
    wait = _Wait(count, seconds, address)
    if index == 0:
        _count_arrivals(port, wait)
    else:
        _arrive((host, port), index, wait)


class _Wait:
    """A wait that says what it waits for, and ends."""

    def __init__(self, count: int, seconds: float, address: str):
        self.count, self._seconds, self._address = count, seconds, address
        self._began = time.monotonic()
        self._next = 1.0  # Those who arrive together need not hear of it.

    def tell(self, what: str) -> None:
        """Says every few seconds what is waited for.

        Raises:
          TryAgain: the time is over.
        """
        waited = time.monotonic() - self._began
        if waited >= self._seconds:
            raise TryAgain(
                f"The processes of this cluster did not meet within {self._seconds:g} s: "
                f"{what} (address {self._address}). Start all of them with the same command, "
                f"or set {TIMEOUT} to more seconds."
            )
        if waited >= self._next:
            self._next += TELLS
            text = f"waiting for the other processes ({what}) … {waited:.0f} of "
            print(f"{text}{self._seconds:g} s", file=sys.stderr, flush=True)


def _count_arrivals(port: int, wait: _Wait) -> None:
    """Waits in process 0 for the others, then sends all of them on, or refuses all of them."""
    with _listener(port, wait) as server, selectors.DefaultSelector() as ready:
        ready.register(server, selectors.EVENT_READ)
        here: dict[socket.socket, int | None] = {}
        try:
            refusal = _gathered(server, here, ready, wait)
            for peer in here:
                with contextlib.suppress(OSError):
                    peer.sendall(f"{_NO}{refusal}".encode() if refusal else _GO.encode())
                    peer.shutdown(socket.SHUT_WR)
            for peer in here:
                # Whoever closes first keeps the port busy, and here JAX will listen on it.
                with contextlib.suppress(OSError):
                    peer.settimeout(2)
                    peer.recv(16)
        finally:
            for peer in here:
                peer.close()
    if refusal:
        raise refusal


def _gathered(
    server: socket.socket, here: dict, ready: selectors.BaseSelector, wait: _Wait
) -> InputError | None:
    """Fills `here` with the other processes; returns why they cannot be a cluster, if so."""
    refusal: InputError | None = None
    until = math.inf
    while (arrived := _numbers(here)) != set(range(1, wait.count)):
        if refusal and (len(here) >= wait.count - 1 or time.monotonic() > until):
            return refusal
        missing = sorted(set(range(1, wait.count)) - arrived)
        wait.tell(
            f"{len(arrived) + 1} of {wait.count} are here, missing: "
            f"{', '.join(map(str, missing[:8]))}{' …' if missing[8:] else ''}"
        )
        for key, _ in ready.select(0.2):
            if key.fileobj is server:
                _accept(server, here, ready)
                continue
            try:
                _hear(key.fileobj, here, ready, wait.count)  # type: ignore[arg-type]
            except InputError as error:
                if refusal is None:
                    refusal, until = error, time.monotonic() + LINGERS
    return refusal


def _numbers(here: dict[socket.socket, int | None]) -> set[int]:
    return {number for number in here.values() if number is not None}


def _accept(server, here: dict, ready: selectors.BaseSelector) -> None:
    peer, _ = server.accept()
    here[peer] = None
    ready.register(peer, selectors.EVENT_READ)


def _hear(peer: socket.socket, here: dict, ready: selectors.BaseSelector, count: int) -> None:
    """Takes the number of a process that has arrived, or lets it go."""
    try:
        said = peer.recv(64).decode("ascii", "replace")
    except OSError:
        said = ""
    name, _, number = said.strip().rpartition(" ")
    if name != _HELLO or not number.isdigit():  # It has ended, or is not one of ours.
        ready.unregister(peer)
        del here[peer]
        peer.close()
        return
    if int(number) in _numbers(here) or not 0 < int(number) < count:
        raise InputError(
            f"Two of the {count} processes have the index {number}, or it is too large: "
            "give them JAX_PROCESS_ID=0, 1, …, each another one."
        )
    here[peer] = int(number)


@contextlib.contextmanager
def _listener(port: int, wait: _Wait) -> Iterator[socket.socket]:
    """Yields a socket that listens on the port, once no other program does."""
    while True:
        # Two programs may listen on one port, and each would get some of the others.
        if not _answers(port):
            with contextlib.suppress(OSError):
                found = _bound(port)
                break
        wait.tell(f"another program uses port {port}")
        time.sleep(0.5)
    with found as server:
        yield server


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), timeout=1):
            return True
    except OSError:
        return False


def _bound(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=True
            )
    return socket.create_server(("", port), reuse_port=True)


def _arrive(address: tuple[str, int], index: int, wait: _Wait) -> None:
    """Tells process 0 that this process is here, and waits until it sends all on.

    Raises:
      InputError: process 0 refuses the cluster.
      TryAgain: the time is over.
    """
    while True:
        try:
            with socket.create_connection(address, timeout=2) as server:
                server.settimeout(0.2)
                server.sendall(f"{_HELLO} {index}\n".encode())
                said = _said(server, lambda: wait.tell("process 0 waits for more of them"))
        except OSError:
            said = ""
        if said == _GO:
            return
        if said.startswith(_NO):
            raise InputError(said.removeprefix(_NO))
        wait.tell("process 0 does not answer")
        time.sleep(0.2)


def _said(server: socket.socket, waiting: Callable[[], None]) -> str:
    """Returns what process 0 says in the end; "" if it has ended."""
    found = b""
    while True:
        try:
            more = server.recv(64)
        except TimeoutError:
            waiting()
            continue
        found += more
        if not more or len(found) > 1024:  # Another program may have much to say.
            return found.decode("utf-8", "replace")
