"""Who may ask for what, how much and how long; the rest is refused in one line."""

import json
import pathlib
import runpy
import socket
import time
import types

import pytest

LOCAL = runpy.run_path(str(pathlib.Path(__file__).with_name("local_server.py")))
ask, brightest, encoded, photo, predict, serving, PATIENCE = (
    LOCAL[name]
    for name in ("ask", "brightest", "encoded", "photo", "predict", "serving", "PATIENCE")
)


def raw(server, request: bytes) -> bytes:
    """The whole answer to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(2**16), b""))


def refusal(answer: bytes) -> tuple[int, str]:
    """(status, line) of a raw answer, which must be JSON with a line and no more."""
    head, body = answer.split(b"\r\n\r\n", 1)
    (line,) = json.loads(body).values()
    assert "\n" not in line and "Traceback" not in line and "/" not in line.replace("//", "")
    return int(head.split()[1]), line


@pytest.mark.parametrize(
    "query",
    ["", "keep=0", "sigma=3", "keep=x&sigma=3", "keep=3&sigma=3", "keep=-1&sigma=3"]
    + [f"keep=0&sigma={sigma}" for sigma in ("nan", "inf", "-1", "101", "1e99", "")]
    + ["keep=0&sigma=3&more=1", "keep=0&keep=1&sigma=3"],
)
def test_a_wrong_blur_is_refused(query, server, result):
    status, _, body = ask(server, "GET", f"/results/{result['key']}/0/blur.png?{query}")
    assert status == 400 and list(json.loads(body)) == ["error"]


PATHS = """
/../../etc/passwd /..%2f..%2fetc%2fpasswd /%2e%2e/%2e%2e/etc/passwd /....//etc/passwd
//etc/passwd /etc/passwd file:///etc/passwd /results/../about /results/
/results/0000000000000000000000/0/labels /results/%2e%2e/0/labels /page.html /script.js
/segjax/serve.py /about/ /index.html /favicon.ico /predict
/results/..\\..\\etc\\passwd/0/labels /%00 C:\\boot.ini *
""".split()


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_anywhere_but_to_the_pages_own_addresses(path, server):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert refusal(raw(server, request))[0] == 404


def test_parts_of_a_result_that_are_not_there_are_not_found(server, result):
    for part in ("2/labels", "99/labels", "0/labels.txt", "0/../0/labels", "image.jpg", "0"):
        assert ask(server, "GET", f"/results/{result['key']}/{part}")[0] == 404, part
    assert ask(server, "GET", f"/results/{result['key'][:-1]}~/0/labels")[0] == 404


@pytest.mark.parametrize("path", ["/", "/about", "/upload", "/predict/x", "/predict?x=/etc"])
def test_images_are_taken_at_one_address_only(path, server):
    assert ask(server, "POST", path, encoded(photo()))[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_understood(method, server):
    request = f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert refusal(raw(server, request)) == (501, "This request is not understood.")


def post(*headers: str) -> bytes:
    return "\r\n".join(["POST /predict HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


LENGTHS = {
    "chunked": (("Transfer-Encoding: chunked",), 411),
    "chunked and with a length": (("Transfer-Encoding: chunked", "Content-Length: 5"), 411),
    "no length": ((), 411),
    "a huge length": (("Content-Length: 99999999999",), 413),
    "one byte too many": ((f"Content-Length: {20 * 2**20 + 1}",), 413),
    "a negative length": (("Content-Length: -1",), 400),
    "no number": (("Content-Length: 0x10",), 400),
    "two lengths": (("Content-Length: 5", "Content-Length: 6"), 400),
    "a number of thousands of digits": ((f"Content-Length: {'9' * 5000}",), 400),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_a_body_of_no_told_or_of_too_great_a_length_is_refused_unread(kind, server):
    headers, status = LENGTHS[kind]
    assert refusal(raw(server, post(*headers)))[0] == status


def test_who_sends_too_much_may_send_it_to_its_end_and_then_gets_the_answer(
    server, monkeypatch
):
    monkeypatch.setattr("segjax.page.server.LINGER", float(PATIENCE))
    status, answer = predict(server, bytes(20 * 2**20 + 1))
    assert (status, answer["error"]) == (413, "The file is larger than 20 MiB.")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "x\\..\\y.png"])
def test_a_file_name_in_a_form_is_no_path_and_the_form_no_image(name, server, tmp_path):
    form = (
        f'--b\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode()
        + encoded(photo())
        + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    status, answer = predict(server, form, headers)
    assert status == 415 and "cannot be read as an image" in answer["error"]


@pytest.mark.parametrize("data, status", [(b"", 400), (b"text", 415)])
def test_what_is_no_image_is_refused_in_a_line(data, status, server):
    found, answer = predict(server, data)
    assert found == status and list(answer) == ["error"]


HOSTS = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", ""]


@pytest.mark.parametrize("host", HOSTS)
def test_another_name_for_this_machine_is_refused(host, server):
    for request in (b"GET /about", b"POST /predict"):
        answer = raw(server, request + f" HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert b" 421 " in answer.splitlines()[0] and b"leaf" not in answer


def test_without_a_host_or_with_two_a_request_is_refused(server):
    assert b" 421 " in raw(server, b"GET / HTTP/1.0\r\n\r\n")
    twice = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert b" 421 " in raw(server, twice)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:{port}", "[::1]:1"])
def test_loopback_names_are_its_own_at_any_port_as_through_a_tunnel(host, server):
    host = host.format(port=server.port)
    assert ask(server, "GET", "/about", headers={"Host": host})[0] == 200


def test_the_number_that_a_request_came_in_by_is_its_own_too(server):
    request = b"GET /about HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n"
    assert b" 421 " in raw(server, request)
    with serving(host="0.0.0.0") as open_to_all:
        assert not open_to_all.is_local and server.is_local
        with socket.create_connection(("127.0.0.2", open_to_all.port), timeout=PATIENCE) as one:
            one.sendall(request)
            assert b" 200 " in one.recv(2**12)


@pytest.mark.parametrize(
    "origin, status",
    [
        ("http://localhost:8000", 200),
        ("http://localhost:3000", 403),
        ("https://localhost:8000", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ],
)
def test_images_come_from_the_page_itself_or_from_no_page(origin, status, server):
    headers = {"Host": "localhost:8000", "Origin": origin}
    assert predict(server, encoded(photo()), headers)[0] == status


def test_an_address_that_asks_too_often_is_told_when_to_come_back():
    # A token a day: none comes back while the test runs, on however slow a machine.
    day = 24 * 60 * 60
    with serving(predictions=(1 / day, 2)) as server:
        assert [predict(server, encoded(photo()))[0] for _ in range(2)] == [200, 200]
        status, headers, body = ask(server, "POST", "/predict", encoded(photo()))
        wait = int(headers["Retry-After"])
        assert status == 429 and day - PATIENCE < wait <= day
        assert json.loads(body)["error"] == f"Too many requests: try again in {wait} s."
        assert ask(server, "GET", "/about")[0] == 200
    with serving(requests=(1 / day, 3)) as server:
        assert [ask(server, "GET", "/about")[0] for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize(
    "sent, status",
    [(b"Content-Length: 100\r\n\r\nx", 408), (b"Content-Len", None), (b"", None)],
    ids=["in its image", "in its headers", "behind its first line"],
)
def test_a_client_that_stops_sending_is_cut_off(sent, status, monkeypatch):
    # The clock stands and what is sent is there first: only the silence after it is too long.
    monkeypatch.setattr("segjax.page.server.time", types.SimpleNamespace(monotonic=lambda: 0.0))
    connections = []

    def send(server):
        address = ("127.0.0.1", server.port)
        connections.append(socket.create_connection(address, timeout=PATIENCE))
        connections[0].sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + sent)

    with serving(seconds=0.3, before=send), connections[0] as connection:
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert (refusal(answer)[0] if answer else None) == status


def test_a_byte_now_and_then_does_not_make_the_server_wait_longer():
    end = time.monotonic() + PATIENCE
    with (
        serving(seconds=0.3) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection,
        pytest.raises(ConnectionError),
    ):
        connection.sendall(b"GET /")
        while time.monotonic() < end:
            time.sleep(0.05)
            connection.sendall(b"a")


def test_a_client_that_leaves_early_is_refused_and_others_are_served(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(post("Content-Length: 100") + b"x")
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert refusal(answer) == (400, "The image is incomplete: send it again.")
    assert ask(server, "GET", "/about")[0] == 200


@pytest.mark.parametrize("limit", ["connections", "of_one"])
def test_no_more_connections_are_held_than_the_limit(limit):
    with serving(seconds=float(PATIENCE), **{limit: 1}) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as first:
            # Connections are taken in the order in which they were made: this one is the first.
            first.sendall(b"GET /about HTTP/1.1\r\n")
            status, headers, _ = ask(server, "GET", "/about")
            assert (status, headers["Retry-After"]) == (503, "5")
            first.sendall(b"Host: localhost\r\n\r\n")
            assert b" 200 " in first.recv(2**12)
        end = time.monotonic() + PATIENCE
        while ask(server, "GET", "/about")[0] != 200:
            assert time.monotonic() < end
