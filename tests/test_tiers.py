"""The README's test command leaves out what is slow, and still tries all that there is."""

import json
import pathlib
import re
import runpy
import subprocess
import sys
import types

import pytest

from segjax.__main__ import COMMANDS

ROOT = pathlib.Path(__file__).parents[1]
FAMILIES = runpy.run_path(str(ROOT / "tests" / "models" / "small_networks.py"))["MODELS"]
CONTRACT = r"/test_\w*contract\w*\.py::"
# For each command, a test in which it does its work.
WORKS = {
    "launch": "commands/test_launch.py::test_a_run_leaves_everything_that_the_readme_names",
    "predict": "commands/test_predict.py::"
    "test_a_folder_keeps_its_structure_and_masks_hold_class_indices",
    "score": "commands/test_score.py::test_the_worked_8x8_example_gives_its_published_scores",
    "serve": "commands/test_serve.py::"
    "test_a_run_is_served_from_its_printed_address_until_ctrl_c",
    "export": "commands/test_export.py::"
    "test_the_file_takes_any_batch_and_beside_it_stands_what_it_means",
    "convert": "convert/test_command.py::"
    "test_the_command_writes_a_dataset_and_says_what_is_in_it",
    "explain": "explain/test_command.py::test_the_program_explains_rates",
}
COLLECT = """
import json, sys, pytest

class Recorder:
    def pytest_collection_finish(self, session):
        found = {}
        for item in session.items:
            kept = item.get_closest_marker("slow_but")
            case = item.callspec.id if hasattr(item, "callspec") else ""
            found[item.nodeid] = {
                "test": item.nodeid.removesuffix(f"[{case}]"),
                "case": case,
                "slow": item.get_closest_marker("slow") is not None,
                "kept": kept.args if kept else (),
            }
        with open(sys.argv[1], "w") as file:
            json.dump(found, file)

options = ["--collect-only", "-qq", "-p", "no:cacheprovider"]
sys.exit(pytest.main([*options, "tests"], [Recorder()]))
"""


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[dict]:
    """All tests: ids of function and parameters, whether it is slow, what `slow_but` keeps."""
    file = tmp_path_factory.mktemp("collected") / "items.json"
    command = [sys.executable, "-c", COLLECT, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads(file.read_text()).values())


@pytest.fixture(scope="module")
def fast(items) -> list[dict]:
    return [item for item in items if not item["slow"]]


@pytest.mark.slow
def test_every_file_has_a_fast_test(items, fast):
    files = lambda found: {item["test"].split("::")[0] for item in found}
    assert not files(items) - files(fast)


@pytest.mark.slow
def test_every_family_is_tried_by_fast_tests_of_the_models_contract(fast):
    tried = {item["case"] for item in fast if "/models/test_contract.py::" in item["test"]}
    assert not FAMILIES.keys() - tried


@pytest.mark.slow
def test_every_promise_and_every_case_of_a_contract_has_a_fast_test(items, fast):
    of_contracts = lambda found: [i for i in found if re.search(CONTRACT, i["test"])]
    assert len({item["test"].split("::")[0] for item in of_contracts(items)}) >= 2
    for part in ("test", "case"):
        seen = [{item[part] for item in of_contracts(found)} for found in (items, fast)]
        assert not seen[0] - seen[1]


@pytest.mark.slow
def test_every_command_does_its_work_in_a_fast_test(fast):
    assert WORKS.keys() == COMMANDS.keys()
    assert not {f"tests/{test}" for test in WORKS.values()} - {item["test"] for item in fast}


@pytest.mark.slow
def test_what_is_to_be_kept_fast_exists(items):
    cases: dict[str, set[str]] = {}
    for item in items:
        cases.setdefault(item["test"], set()).add(item["case"])
    named = {(item["test"], name) for item in items for name in item["kept"]}
    assert named and not [pair for pair in named if pair[1] not in cases[pair[0]]]


@pytest.mark.parametrize(("case", "is_slow"), [("kept", False), ("other", True), (None, True)])
def test_what_slow_but_does_not_keep_is_slow_with_parameters_or_without(request, case, is_slow):
    plugin = request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    added = []
    item = types.SimpleNamespace(
        get_closest_marker=lambda name: pytest.mark.slow_but("kept").mark,
        add_marker=added.append,
    )
    if case is not None:
        item.callspec = types.SimpleNamespace(id=case)
    plugin.pytest_collection_modifyitems([item])
    assert [mark.name for mark in added] == ["slow"] * is_slow


def test_the_readme_runs_the_fast_tier_and_ci_the_slow_one_too():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^.*bin/python -m pytest.*$", readme, re.MULTILINE)
    assert command.endswith('-m "not slow"')
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "grep -m1 'bin/python -m pytest' README.md" in ci and "-m slow" in ci
