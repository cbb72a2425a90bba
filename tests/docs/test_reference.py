"""The pages of commands and of the reference are those of the code of today."""

import pathlib
import re
import runpy

import pytest

ROOT = pathlib.Path(__file__).parents[2]
WHOLE = ("ops", "layers", "backbones", "models")
"""Packages of which every module is public."""
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))


def modules(text: str) -> list[str]:
    return re.findall(r"^::: (segjax[\w.]+)$", text, re.MULTILINE)


def test_the_page_of_commands_is_their_own_help():
    make = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    stored = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    # Versions of Python break lines of help in different places.
    assert stored.split() == make["page"]().split(), (
        "Run `python docs/make_commands.py docs/commands.md`."
    )


@pytest.mark.parametrize("room", WHOLE)
def test_the_reference_has_every_module_of_a_room_once(room):
    page = (ROOT / "docs" / "reference" / f"{room}.md").read_text(encoding="utf-8")
    files = (ROOT / "segjax" / room).glob("[!_]*.py")
    assert sorted(modules(page)) == sorted(f"segjax.{room}.{file.stem}" for file in files)


def test_the_reference_names_modules_that_are_there_and_none_twice():
    named = [name for page in PAGES for name in modules(page.read_text(encoding="utf-8"))]
    assert len(named) == len(set(named)) > 50
    for name in named:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name
