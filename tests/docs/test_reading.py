"""The page on reading the code shows the layers that the import contract checks."""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parents[2]


def shown() -> list[set[str]]:
    """The packages of each layer of the page: what stands left of its meaning."""
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    text = page.partition("```text\n")[2].partition("```")[0]
    heads = [re.split(r"\s{2,}", line)[0] for line in text.splitlines()]
    return [set(re.split(r"[ |,]+", head)) for head in heads if head]


def test_the_layers_of_the_page_are_those_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    assert layers[0] == "__main__"  # It only calls the others.
    assert shown() == [set(re.split(r"[ |:]+", layer)) for layer in layers[1:]]
