"""A measured score is one number in the README, in the measurements and in its experiment."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCORE = re.compile(r"\b0\.\d{3}\b")


def measured(page: str) -> dict[str, list[str]]:
    """For each experiment in a page's table of scores, the numbers that were measured."""
    found = {}
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        named = re.fullmatch(r"`(?:experiments/)?(\w+\.py)`", cells[-1])
        if named is not None:
            found[named[1]] = SCORE.findall(cells[2])
    return found


MEASUREMENTS = measured("docs/measurements.md")


def test_the_readme_has_scores_of_the_measurements():
    readme = measured("README.md")
    assert sum(map(len, readme.values())) >= 5
    for name, scores in readme.items():
        assert set(scores) <= set(MEASUREMENTS[name]), name


@pytest.mark.parametrize("name", [name for name, scores in MEASUREMENTS.items() if scores])
def test_an_experiment_says_what_the_measurements_say_of_it(name):
    tree = ast.parse((ROOT / "experiments" / name).read_text(encoding="utf-8"))
    assert set(MEASUREMENTS[name]) <= set(SCORE.findall(ast.get_docstring(tree)))
