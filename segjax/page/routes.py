"""The answer of each address of the page. There are no other addresses."""

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from PIL import Image

from segjax.data.images import png
from segjax.drawing.composite import blur_background
from segjax.drawing.overlay import palette_png
from segjax.page.document import Document
from segjax.page.limits import Refused
from segjax.page.service import Result, Service

OF_A_RESULT = re.compile(
    r"/results/([A-Za-z0-9_-]{22})/(image\.png|([0-9]{1,2})/(labels|mask\.png|blur\.png))"
)

MOST_BLUR = 100.0
"""Largest sigma, in pixels."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer: status, content type, body, and headers beyond those of every answer."""

    status: int
    kind: str
    body: bytes
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


def said(refusal: Refused) -> Reply:
    """Returns a refusal as JSON for the page."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return _json({"error": refusal.line}, status=refusal.status, headers=headers)


def get(path: str, query: str, service: Service, document: Document) -> Reply:
    """Returns the answer to a GET request.

    Raises:
      Refused: there is nothing at this path, or the query is wrong.
    """
    if path == "/":
        policy = {"Content-Security-Policy": document.policy}
        return Reply(200, "text/html; charset=utf-8", document.html, policy)
    if path == "/about":
        return _json(service.about())
    if path == "/doing":
        return _json({"doing": service.doing})
    if (asked := OF_A_RESULT.fullmatch(path)) is None:
        raise Refused(404, "There is nothing at this address.")
    key, picture, place, part = asked.groups()
    result = service.find(key)
    if picture == "image.png":
        return _picture(result.image)
    if int(place) >= len(service.runs):
        raise Refused(404, f"Runs are numbered 0 to {len(service.runs) - 1} here.")
    return _of_run(result, service, int(place), part, query)


def predict(data: bytes, service: Service) -> Reply:
    """Returns the answer to an uploaded image.

    Raises:
      Refused: as `Service.predict`.
    """
    return _json(service.describe(service.predict(data)))


def _of_run(result: Result, service: Service, place: int, part: str, query: str) -> Reply:
    run = service.runs[place]
    if part == "labels":
        return Reply(200, "application/octet-stream", result.labels[place].tobytes())
    if part == "mask.png":
        return Reply(200, "image/png", png(palette_png(result.masks[place], run.palette)))
    keep, sigma = _keep_and_sigma(query, len(run.class_names))
    with service.drawing:
        alpha = run.shown.alpha(result.probabilities[place], keep)
        return _picture(blur_background(result.image, alpha, sigma=sigma))


def _keep_and_sigma(query: str, count: int) -> tuple[list[int], float]:
    """Returns ([0, 3], 8.0) for `keep=0,3&sigma=8`; an empty `keep` blurs everything."""
    try:
        asked = parse_qs(query, keep_blank_values=True, max_num_fields=2, strict_parsing=True)
        ((names,), (strength,)) = asked["keep"], asked["sigma"]
        keep = [int(name) for name in names.split(",") if names]
        sigma = float(strength)
    except (KeyError, ValueError):
        raise Refused(400, "Blur needs keep=CLASS,CLASS,… and sigma=PIXELS.") from None
    if not all(0 <= index < count for index in keep):
        raise Refused(400, f"Classes to keep must be 0 to {count - 1}.")
    if not 0 <= sigma <= MOST_BLUR:  # Nor is it NaN.
        raise Refused(400, f"sigma must be 0 to {MOST_BLUR:g} pixels.")
    return keep, sigma


def _picture(image) -> Reply:
    """Returns a lossless PNG, so that overlays of the page equal those of `segjax.predict`."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG", compress_level=1)
    return Reply(200, "image/png", data.getvalue())


def _json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, "application/json", json.dumps(value).encode(), headers or {})
