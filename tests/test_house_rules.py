"""What the import contract cannot say about the source."""

import ast
import pathlib

import pytest

import segjax

ROOT = pathlib.Path(segjax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: pathlib.Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def test_torch_and_tensorflow_are_nowhere_in_the_package():
    assert not [p for p in FILES if roots(p) & {"torch", "torchvision", "tensorflow", "keras"}]


def test_ops_know_no_flax():
    assert not [p for p in FILES if p.parent.name == "ops" and "flax" in roots(p)]


def test_devices_are_mapped_over_in_one_file_only():
    words = {"pmap", "shard_map", "Mesh", "make_mesh"}
    users = [
        path.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in words)
        or (isinstance(node, ast.Name) and node.id in words)
    ]
    assert set(users) == {"parallel.py"}


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=str)
def test_init_files_hold_a_docstring_and_nothing_else(path):
    (node,) = ast.parse(path.read_text()).body
    assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_options_of_public_functions_are_keyword_only():
    positional = []
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                if node.args.defaults and node.name != "main":
                    positional.append(f"{path.name}:{node.name}")
    assert not positional


def test_no_file_is_called_after_nothing():
    refused = {"utils", "common", "helpers", "base", "misc"}
    assert not [p for p in FILES if p.stem in refused]
