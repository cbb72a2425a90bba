"""The table of networks is that of today's experiments."""

import pathlib

import pytest

from segjax.experiment import load
from segjax.explain.model import facts
from segjax.explain.trace import trace

ROOT = pathlib.Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "networks.md").read_text()
FILES = sorted((ROOT / "experiments").glob("*.py"))
COLUMNS = 6


def _cells(name: str) -> list[str]:
    (line,) = (line for line in TABLE.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_of_networks_has_every_experiment_once_and_no_other():
    listed = [line.split("`")[1] for line in TABLE.splitlines() if line.startswith("| `")]
    assert listed == [path.name for path in FILES]
    for path in FILES:
        cells = _cells(path.name)
        assert len(cells) == COLUMNS and all(cells), path.name


@pytest.mark.parametrize("stem", ["quickstart", "fcn32s_voc"])
def test_a_row_says_what_explain_finds_today(stem):
    experiment = load(ROOT / "experiments" / f"{stem}.py")
    size = (513, 513)
    found = facts(experiment, trace(experiment.model, size), size, 3)
    _, _, parameters, multiply_adds, field, stride = _cells(f"{stem}.py")
    assert parameters == f"{found['parameters']:,}"
    assert multiply_adds == f"{found['multiply_adds'] / 1e9:,.2f} G"
    assert field == str(found["answer"]["field"][0]) and stride == str(
        found["logits"]["stride"][0]
    )
