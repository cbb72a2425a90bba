"""What a client gets over HTTP: the page, results and their parts, failures."""

import errno
import http.client
import io
import json
import pathlib
import re
import runpy
import threading
import urllib.request

import numpy as np
import pytest
from PIL import Image

from segjax.drawing.composite import blur_background, foreground

LOCAL = runpy.run_path(str(pathlib.Path(__file__).with_name("local_server.py")))
ask, brightest, encoded, photo, predict, serving, Brightest, PATIENCE = (
    LOCAL[name]
    for name in (
        *("ask", "brightest", "encoded", "photo", "predict", "serving"),
        *("Brightest", "PATIENCE"),
    )
)


def test_the_page_is_one_document_that_may_load_nothing_but_its_own_parts(server):
    status, headers, body = ask(server, "GET", "/")
    page = body.decode()
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"(src|href)=[\"'](?!data:,)", page) and "url(" not in page
    assert "://" not in page and "/* script.js */" not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_it_says_which_runs_it_has_and_what_it_accepts(server):
    about = json.loads(ask(server, "GET", "/about")[2])
    assert [(run["name"], run["weights"]) for run in about["runs"]] == [
        ("one", "step 7"),
        ("two", "step 7"),
    ]
    assert about["runs"][0]["classes"][1] == {"name": "leaf", "colour": [200, 30, 30]}
    assert about["limits"] == {"upload": 20 * 2**20, "side": 1024}


def test_an_image_gives_areas_agreement_and_labels(server, result):
    assert result["size"] == result["original"] == [40, 24]
    assert result["areas"] == [[16, 480, 464]] * 2 and result["agreement"] == 16 / 960
    status, headers, labels = ask(server, "GET", f"/results/{result['key']}/0/labels")
    assert status == 200 and headers["Cache-Control"] == "no-store"
    found = np.frombuffer(labels, np.uint8).reshape(24, 40)
    np.testing.assert_array_equal(found, photo().argmax(-1))


def test_the_mask_is_a_palette_png_of_the_images_own_size():
    with serving(side=20) as server:
        _, answer = predict(server, encoded(photo()))
        assert answer["size"] == [20, 12] and answer["original"] == [40, 24]
        assert sum(answer["areas"][0]) == 40 * 24
        body = ask(server, "GET", f"/results/{answer['key']}/0/mask.png")[2]
    with Image.open(io.BytesIO(body)) as mask:
        assert mask.mode == "P" and mask.size == (40, 24)
        assert mask.getpalette()[3:6] == [200, 30, 30]
        assert (np.array(mask) == photo().argmax(-1)).mean() > 0.98


def test_it_says_what_it_does_at_the_moment(server):
    status, _, body = ask(server, "GET", "/doing")
    assert status == 200 and json.loads(body) == {"doing": ""}


def test_the_image_comes_back_without_loss(server, result):
    body = ask(server, "GET", f"/results/{result['key']}/image.png")[2]
    with Image.open(io.BytesIO(body)) as image:
        np.testing.assert_array_equal(np.array(image), photo())


def test_the_blur_is_that_of_the_kept_classes_probabilities(server, result):
    path = f"/results/{result['key']}/0/blur.png?keep=1,0&sigma=3"
    status, headers, body = ask(server, "GET", path)
    assert status == 200 and headers["Content-Type"] == "image/png"
    alpha = foreground(Brightest()(None, photo()[None])[0], [0, 1])
    expected = blur_background(photo(), alpha, sigma=3.0)
    with Image.open(io.BytesIO(body)) as picture:
        # Probabilities are held with 11 bits.
        assert abs(np.array(picture) - expected.astype(float)).max() <= 1
    nothing = ask(server, "GET", f"/results/{result['key']}/0/blur.png?keep=&sigma=3")
    assert nothing[0] == 200 and nothing[2] != body


def test_an_address_of_ipv6_is_served_too():
    try:
        with serving(host="::1") as server:
            assert server.url == f"http://[::1]:{server.port}/" and server.is_local
            with urllib.request.urlopen(f"{server.url}about", timeout=PATIENCE) as answer:
                assert answer.status == 200
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
        pytest.skip("this machine has no IPv6.")


def test_many_requests_at_once_get_each_its_own_answer(server):
    found = {}

    def one(width):
        found[width] = predict(server, encoded(photo()[:, :width]))

    threads = [threading.Thread(target=one, args=(10 + 6 * n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {width: answer["size"] for width, (_, answer) in found.items()} == {
        width: [width, 24] for width in (10, 16, 22, 28, 34)
    }
    assert len({answer["key"] for _, answer in found.values()}) == 5


def test_what_fails_on_the_server_is_told_there_and_not_to_the_client(capsys):
    class Broken(Brightest):
        def __call__(self, variables, images):
            raise RuntimeError("/secret/path is broken")

    with serving(brightest(predict=Broken())) as server:
        status, answer = predict(server, encoded(photo()))
    assert status == 500 and "secret" not in answer["error"]
    assert "see the terminal of segjax.serve" in answer["error"]
    assert "RuntimeError: /secret/path is broken" in capsys.readouterr().err


def test_nothing_is_written_to_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving(brightest(), brightest("two")) as server:
        key = predict(server, encoded(photo()))[1]["key"]
        for part in ("0/labels", "1/mask.png", "0/blur.png?keep=1&sigma=2", "image.png"):
            assert ask(server, "GET", f"/results/{key}/{part}")[0] == 200
    assert not list(tmp_path.iterdir())


def test_more_uploads_at_once_than_are_answered_are_refused_without_a_reset():
    statuses = []

    def upload(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("POST", "/predict", bytes(2**20), {"Host": "localhost"})
        answer = connection.getresponse()
        statuses.append((answer.status, answer.headers["Retry-After"]))
        connection.close()

    with serving(of_one=2) as server:
        threads = [threading.Thread(target=upload, args=(server.port,)) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # The others, whose bytes are no image, were read.
    assert len(statuses) == 60 and set(statuses) == {(503, "5"), (415, None)}
