"""Makes links to files outside `docs/` work on the site: each such file becomes a page of it.

On GitHub `../experiments/quickstart.py` is a file of the repository. The site has no repository
beside it, so the file is shown as a page below `source/`, and links lead there.
"""

import functools
import pathlib
import posixpath
import re
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = pathlib.Path(__file__).parents[1]
LINK = re.compile(
    r"(?P<before>\]\()(?P<target>(?!\w+:|/|#)[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))"
)
LANGUAGES = {".py": "python", ".sh": "bash", ".sbatch": "bash", ".toml": "toml"}
HEAD = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each file outside `docs/` that is linked, also by such a page."""
    waiting = [page.src_uri for page in files.documentation_pages()]
    while waiting:
        uri = waiting.pop()
        for path in _linked(_origin(uri).read_text(encoding="utf-8"), uri):
            page = _page_of(path)
            if page.startswith("source/") and files.get_file_from_path(page) is None:
                files.append(
                    File.generated(
                        config, page, content=_shown(path), inclusion=InclusionLevel.NOT_IN_NAV
                    )
                )
                if path.suffix == ".md":
                    waiting.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns a page's text with its links to files of the repository led to their pages."""
    uri = page.file.src_uri
    return LINK.sub(functools.partial(_led, uri), markdown)


def _led(uri: str, link: re.Match[str]) -> str:
    path = _resolved(link["target"], uri)
    if path is None:
        return link[0]
    target = posixpath.relpath(_page_of(path), posixpath.dirname(uri) or ".")
    return f"{link['before']}{target}{link['anchor'] or ''}"


def _linked(text: str, uri: str) -> list[pathlib.Path]:
    found = (_resolved(link["target"], uri) for link in LINK.finditer(text))
    return [path for path in found if path is not None]


def _resolved(target: str, uri: str) -> pathlib.Path | None:
    """Returns the file that a link of a page names; None where it names none."""
    path = (_origin(uri).parent / target).resolve()
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def _origin(uri: str) -> pathlib.Path:
    """Returns the file of the repository that a page shows."""
    if not uri.startswith("source/"):
        return ROOT / "docs" / uri
    shown = ROOT / uri.removeprefix("source/")
    return shown if shown.is_file() else shown.with_suffix("")


def _page_of(path: pathlib.Path) -> str:
    """Returns the page, or the file of the site, that shows a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/") and path.suffix != ".py":
        return name.removeprefix("docs/")
    return f"source/{name}" if path.suffix == ".md" else f"source/{name}.md"


def _shown(path: pathlib.Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return HEAD + text
    name = path.relative_to(ROOT).as_posix()
    language = LANGUAGES.get(path.suffix, "text")
    return f"{HEAD}# {name}\n\n````{language}\n{text}````\n"
