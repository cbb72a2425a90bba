"""The site builds strictly, all its links lead somewhere, and it loads nothing from outside."""

import html.parser
import os
import pathlib
import runpy
import subprocess
import sys
import types
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Elements for which a browser fetches something, and the attribute that names it."""


class Page(html.parser.HTMLParser):
    """The ids, links and loaded files of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get(LOADED.get(tag, "")):
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[pathlib.Path, Page]:
    """The pages of the site, built strictly."""
    pytest.importorskip("mkdocs", reason="MkDocs comes with `pip install '.[docs]'`.")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    variables = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    found = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    assert len(found) > 40
    return found


def is_elsewhere(url: str) -> bool:
    return bool(urllib.parse.urlsplit(url).netloc)


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_page_and_a_place_on_it(pages):
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            file = (path.parent / urllib.parse.unquote(parts.path)).resolve()
            file = file if parts.path else path
            assert file.is_file(), f"{path}: {link}"
            place = urllib.parse.unquote(parts.fragment)
            known = pages[file].ids if file in pages else set()
            assert not place or place in known, f"{path}: {link}"


@pytest.mark.slow
def test_the_site_can_be_read_without_a_network(pages):
    loaded = {url for page in pages.values() for url in page.loaded}
    assert loaded and not [url for url in loaded if is_elsewhere(url)]
    for path in next(iter(pages)).parent.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert "url(http" not in text and "@import" not in text, path


@pytest.fixture
def without_site_packages(monkeypatch) -> None:
    """Stands in for MkDocs and griffe, which only the build of the site needs."""
    files = types.SimpleNamespace(File=object, Files=object, InclusionLevel=object)
    monkeypatch.setitem(sys.modules, "mkdocs.structure.files", files)
    monkeypatch.setitem(sys.modules, "griffe", types.SimpleNamespace(Extension=object))


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("../../experiments/quickstart.py", "../source/experiments/quickstart.py.md"),
        ("../../CONTRIBUTING.md#add", "../source/CONTRIBUTING.md#add"),
        ("../own_task.md", "../own_task.md"),
        ("../camvid.jpg", "../camvid.jpg"),
        ("missing.md", "missing.md"),
        ("#here", "#here"),
        ("https://example.org/x.py", "https://example.org/x.py"),
    ],
)
def test_links_to_files_of_the_repository_lead_to_pages(link, leads, without_site_packages):
    led = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))["on_page_markdown"]
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="guides/runs.md"))
    assert led(f"See [it]({link}).", page=page) == f"See [it]({leads})."


@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("Sum.\n\n>>> f(1)\n2\n", "Sum.\n\n```pycon\n>>> f(1)\n2\n```\n"),
        ("Sum.\n\n>>> f(1)\n2\n\nThen.", "Sum.\n\n```pycon\n>>> f(1)\n2\n```\n\nThen."),
        ("No doctest: a >>> b.", "No doctest: a >>> b."),
    ],
)
def test_doctests_are_shown_as_code(docstring, shown, without_site_packages):
    fenced = runpy.run_path(str(ROOT / "docs" / "site_docstrings.py"))["fenced"]
    assert fenced(docstring) == shown


@pytest.mark.slow
def test_the_reference_shows_fields_of_networks_and_variants_of_backbones(pages):
    text = {path.name: path.read_text(encoding="utf-8") for path in pages}
    ids = {
        path.name: page.ids for path, page in pages.items() if path.parent.name == "reference"
    }
    assert "segjax.models.deeplab_v3.DeepLabV3" in ids["models.html"]
    assert "num_classes" in text["models.html"] and "auxiliary_feature" in text["models.html"]
    assert "segjax.backbones.resnet.ResNet101" in ids["backbones.html"]
