"""Servers on free ports, for runs whose network is a rule that needs no compiling."""

import contextlib
import http.client
import io
import json
import threading

import numpy as np
from PIL import Image

from segjax.data.palette import palette_of
from segjax.drawing.composite import foreground
from segjax.evaluate.compiled import argmax_labels
from segjax.page.limits import Limits
from segjax.page.runs import ServedRun
from segjax.page.server import PageServer
from segjax.page.service import Service
from segjax.tasks.shown import Shown

PATIENCE = 600
"""Seconds after which an answer will not come: many times what it takes on a busy machine."""

COLOURS = ((0, 0, 0), (200, 30, 30), (30, 160, 30))


class Brightest:
    """Says that a pixel's brightest channel is its class: background, leaf or sky."""

    def __call__(self, variables, images):
        scores = np.exp(images.astype(np.float32) / 64)
        return scores / scores.sum(-1, keepdims=True)

    def classes(self, variables, images):
        return np.argmax(images, -1).astype(np.uint8)

    def check(self, variables, images):
        return 3


def brightest(
    name="brightest", class_names=("background", "leaf", "sky"), predict=None
) -> ServedRun:
    predict = Brightest() if predict is None else predict
    shown = Shown(class_names, palette_of(COLOURS), argmax_labels, foreground)
    return ServedRun(name, "step 7", 3, shown, predict, {})


@contextlib.contextmanager
def serving(*runs: ServedRun, host="127.0.0.1", before=lambda server: None, **limits):
    """A server that listens while the block runs; requests are free unless limits say so.

    `before` is called with the server when clients can connect, before it answers any.
    """
    free = {"predictions": (1e6, 10**6), "requests": (1e6, 10**6)}
    with PageServer(host, 0) as server:
        server.server_activate()
        before(server)
        service = Service(runs or (brightest(),), Limits(**(free | limits)))
        thread = threading.Thread(target=server.serve, args=(service,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, method, path, body=None, headers=None):
    """(status, headers, body) of one request, sent as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()


def predict(server, data, headers=None):
    """(status, what the JSON holds) of an upload."""
    status, _, body = ask(server, "POST", "/predict", data, headers)
    return status, json.loads(body)


def encoded(image, kind="PNG", **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(data, kind, **options)
    return data.getvalue()


def photo() -> np.ndarray:
    """Left half leaf, right half sky but for a corner of background; 24 × 40 pixels."""
    image = np.full((24, 40, 3), 40, np.uint8)
    image[:, :20, 1] = 220
    image[:, 20:, 2] = 230
    image[:4, 36:] = (240, 20, 20)
    return image
