"""The page itself: one HTML document with style and script inside, and its policy."""

import base64
import dataclasses
import hashlib
import importlib.resources


@dataclasses.dataclass(frozen=True)
class Document:
    """The page and its content security policy, which allows its own style and script only."""

    html: bytes
    policy: str


def document() -> Document:
    """Returns the page: `page.html` with the files that it names inserted."""
    folder = importlib.resources.files("segjax.page")
    read = lambda name: folder.joinpath(name).read_text(encoding="utf-8")
    html, style = read("page.html"), read("style.css")
    scripts = ("parts.js", "paint.js", "objects.js", "words.js", "script.js")
    html = html.replace("/* style.css */", style)
    for name in scripts:
        html = html.replace(f"/* {name} */", read(name))
    policy = (
        "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; style-src {_hash(style)}; "
        f"script-src {' '.join(_hash(read(name)) for name in scripts)}"
    )
    return Document(html.encode(), policy)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
