"""A server of two runs, and what it says of one photo."""

import pathlib
import runpy

import pytest

LOCAL = runpy.run_path(str(pathlib.Path(__file__).with_name("local_server.py")))
brightest, encoded, photo, predict, serving = (
    LOCAL[name] for name in ("brightest", "encoded", "photo", "predict", "serving")
)


@pytest.fixture(scope="module")
def server():
    with serving(brightest("one"), brightest("two", ("background", "sky", "leaf"))) as server:
        yield server


@pytest.fixture(scope="module")
def result(server):
    status, answer = predict(server, encoded(photo()))
    assert status == 200
    return answer
