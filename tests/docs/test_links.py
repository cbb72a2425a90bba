"""Links of README, CONTRIBUTING and docs lead somewhere, and every page can be found."""

import pathlib
import re
import unicodedata

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r'(?:\]\(|<(?:img|a)[^>]* (?:src|href)=")(?P<target>[^)"\s]+)')
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix()
)


def links(page: pathlib.Path) -> list[str]:
    """The targets of a page's links that lead to files, with their anchors."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    found = [link["target"] for link in LINK.finditer(text)]
    return [target for target in found if not re.match(r"\w+:", target)]


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings that are the same on GitHub and on the site."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE)
    return {on_github(title) for title in titles} & {on_site(title) for title in titles}


def on_github(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def on_site(title: str) -> str:
    ascii = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii).strip().lower())


@every_page
def test_every_link_leads_to_a_file_and_a_heading_of_it(page):
    for target in links(page):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links {target}, which is not there"
        assert file.is_file() or page.parent == ROOT, f"{target} is a folder: the site has none"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links {target}: no such heading"


def navigation() -> list[str]:
    """The pages that the site's menu lists."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    def walk(part) -> list[str]:
        if isinstance(part, str):
            return [part]
        children = part.values() if isinstance(part, dict) else part
        return [page for child in children for page in walk(child)]

    return walk(yaml.safe_load(text)["nav"])


def test_the_menu_of_the_site_has_every_page_once():
    listed = navigation()
    assert sorted(listed) == sorted(p.relative_to(DOCS).as_posix() for p in PAGES[2:])


def test_the_site_loads_no_font_and_no_script_from_elsewhere():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    assert settings["theme"]["font"] is False
    assert not {"extra_javascript", "google_analytics"} & settings.keys()
    assert "analytics" not in settings["extra"]
