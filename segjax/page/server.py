"""The HTTP server of the page: access, limits and time-outs; answers come from `routes`.

It speaks HTTP/1.0 with one request for each connection. It neither reads nor writes files:
`routes` matches paths as text, and no path reaches the file system.
"""

import contextlib
import io
import ipaddress
import math
import re
import socket
import socketserver
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from segjax.page import routes
from segjax.page.document import document
from segjax.page.limits import Refused, TokenBuckets
from segjax.page.lingering import Lingering
from segjax.page.routes import Reply
from segjax.page.service import Service

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"

LINGER = 2.0
"""Seconds for which a refused client may send the rest of its request."""

FAILED = "The server failed: see the terminal of segjax.serve."


class PageServer(ThreadingHTTPServer):
    """A server with a thread for each connection, bound to `host` and `port` when made.

    `server_activate` begins to listen. The Host header of a request must be `host`, a loopback
    name, or the IP address at which the request arrived.

    Raises:
      OSError: the address is not available.
    """

    daemon_threads = True
    request_queue_size = 1024
    """Connections that wait to be accepted: the system resets further ones."""

    def __init__(self, host: str, port: int):
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self.address_family = family
        super().__init__(address[:2], _Handler, bind_and_activate=False)  # type: ignore
        self.host = host
        self.document = document()
        try:
            self.server_bind()
        except BaseException:
            self.server_close()
            raise

    def server_bind(self) -> None:
        """Binds without looking up the host's full name, which may be slow."""
        socketserver.TCPServer.server_bind(self)

    @property
    def port(self) -> int:
        """The port that was given, or the free one that was chosen."""
        return self.server_address[1]

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine."""
        anywhere = ipaddress.ip_address(str(self.server_address[0])).is_unspecified
        name = "localhost" if anywhere else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}/"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def serve(self, service: Service) -> None:
        """Serves until the process is interrupted or `shutdown` is called."""
        self.service = service
        limits = service.limits
        self.connections: Counter[str] = Counter()
        self.counting = threading.Lock()
        self.requests = TokenBuckets(*limits.requests)
        self.predictions = TokenBuckets(*limits.predictions)
        with Lingering() as self.refused:
            self.serve_forever(poll_interval=0.1)

    def process_request(self, request: Any, client_address) -> None:
        """Handles the connection in a thread, or refuses it if too many are open."""
        limits, address = self.service.limits, client_address[0]
        with self.counting:
            full = self.connections.total() >= limits.connections
            full = full or self.connections[address] >= limits.of_one
            if not full:
                self.connections[address] += 1
        if not full:
            return super().process_request(request, client_address)
        self.refused.answer(request, BUSY)

    def process_request_thread(self, request, client_address) -> None:
        """Answers one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.counting:
                self.connections[client_address[0]] -= 1
                self.connections += Counter()  # Forgets those that have none.

    def handle_error(self, request, client_address) -> None:
        """Prints what failed, unless the client closed the connection."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "segjax", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._rest = self.server.service.limits.seconds
        self.rfile = io.BufferedReader(_Before(self.connection, self._rest))

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self) -> Reply:
        _take(self.server.requests, self.client_address[0])
        path, _, query = self.path.partition("?")
        return routes.get(path, query, self.server.service, self.server.document)

    def _post(self) -> Reply:
        if self.path != "/predict":
            raise Refused(404, "There is nothing at this address.")
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{self._host()}":
            raise Refused(403, "Other sites may not send images here.")
        length = self._length()
        _take(self.server.predictions, self.client_address[0])
        try:
            data = self.rfile.read(length)
        except TimeoutError:
            raise Refused(408, "The image took too long to arrive: send it again.") from None
        if len(data) < length:
            raise Refused(400, "The image is incomplete: send it again.")
        return routes.predict(data, self.server.service)

    def _length(self) -> int:
        """Returns the number of bytes of the body, before they are read."""
        told = self.headers.get_all("Content-Length") or []
        if "Transfer-Encoding" in self.headers or not told:
            raise Refused(411, "Send the image with its Content-Length, not in chunks.")
        if len(told) > 1 or not re.fullmatch("[0-9]{1,18}", told[0]):
            raise Refused(400, "Content-Length must be one whole number.")
        most = self.server.service.limits.upload
        if int(told[0]) > most:
            raise Refused(413, f"The file is larger than {most / 2**20:g} MiB.")
        return int(told[0])

    def _host(self) -> str:
        """Returns the Host header, or refuses a name that is not this server's (rebinding)."""
        told = self.headers.get_all("Host") or [""]
        host = told[0].lower()
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname
            own = {"localhost", "127.0.0.1", "::1", self.server.host.lower()}
            own.add(self.connection.getsockname()[0].removeprefix("::ffff:"))
            if len(told) == 1 and name in own:
                return host
        raise Refused(421, f"Open this server as {self.server.url}: other names are refused.")

    def _answer(self, route: Callable[[], Reply]) -> None:
        try:
            self._host()
            reply = route()
        except Refused as refusal:
            reply = routes.said(refusal)
        except Exception:
            traceback.print_exc()
            reply = routes.said(Refused(500, FAILED))
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.connection.settimeout(self._rest)
        self.send_response(reply.status)
        headers = {"Content-Type": reply.kind, "Content-Length": str(len(reply.body))}
        for name, value in (HEADERS | headers | dict(reply.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        if reply.status >= 400:
            self._linger()

    def _linger(self) -> None:
        """Reads and drops the rest of the request: closing now could lose the answer."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            rest = _Before(self.connection, LINGER)
            while rest.readinto(memoryview(bytearray(2**16))):
                pass

    def send_error(self, code: int, message: str | None = None, explain=None) -> None:
        """Sends the refusal of a bad request or another method, which no route answers."""
        self._send(routes.said(Refused(code, "This request is not understood.")))

    def log_message(self, format: str, *args) -> None:
        """Logs nothing: requests are private."""


class _Before(io.RawIOBase):
    """The bytes that arrive on a socket within a number of seconds in all."""

    def __init__(self, connection: socket.socket, seconds: float):
        self._connection, self._end = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        """Returns the number of bytes read.

        Raises:
          TimeoutError: no byte arrived in time.
        """
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise TimeoutError("out of time")
        self._connection.settimeout(rest)
        return self._connection.recv_into(buffer)


def _take(buckets: TokenBuckets, address: str) -> None:
    """Takes one of the address's tokens.

    Raises:
      Refused: it has none left.
    """
    if wait := buckets.take(address):
        seconds = math.ceil(wait)
        line = f"Too many requests: try again in {seconds} s."
        raise Refused(429, line, retry_after=seconds)
