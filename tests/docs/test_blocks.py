"""What can be said of every code block of README and docs without running it."""

import argparse
import ast
import importlib
import importlib.util
import pathlib
import runpy
import subprocess

import pytest

from segjax.__main__ import COMMANDS
from segjax.train.run import runs_of_file

HERE = pathlib.Path(__file__).parent
blocks, steps = (runpy.run_path(str(HERE / f"{name}.py")) for name in ("blocks", "steps"))
ROOT = blocks["ROOT"]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in blocks["pages"]()}
every_page = pytest.mark.parametrize("page", PAGES)

EXTRAS = ("albumentations",)
"""Packages of optional dependencies that a page may import and that may not be installed."""


class Accepted(BaseException):
    """Raised in place of a command's work: its parser took the arguments."""


def of_language(page: str, language: str) -> list:
    return [block for block in blocks["read"](PAGES[page]) if block.language == language]


@every_page
def test_every_block_has_a_language_and_a_comment_that_the_tests_know(page):
    blocks["read"](PAGES[page])


def test_every_scene_is_used_by_a_page():
    read = [block for path in PAGES.values() for block in blocks["read"](path)]
    used = {name for block in read for name in block.names("fixture")}
    assert used == runpy.run_path(str(HERE / "scenes.py"))["SCENES"].keys()


@every_page
def test_no_code_is_indented_where_no_test_would_find_it(page):
    assert not blocks["indented_code"](PAGES[page])


@every_page
def test_python_compiles_and_what_it_imports_is_there(page):
    for block in of_language(page, "python"):
        tree = ast.parse("\n" * (block.line - 1) + block.text, page)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name not in EXTRAS or importlib.util.find_spec(alias.name):
                        importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    found = hasattr(module, alias.name)
                    assert found or importlib.import_module(f"{node.module}.{alias.name}"), (
                        f"{block.place}: {node.module} has no {alias.name}"
                    )


@every_page
def test_shell_blocks_are_valid_and_name_files_that_are_there(page):
    for block in of_language(page, "bash"):
        checked = subprocess.run(
            ["bash", "-n"], input=block.text, text=True, capture_output=True
        )
        assert checked.returncode == 0, f"{block.place}: {checked.stderr}"
        for command in steps["commands"](block.text):
            for word in command.split():
                if word.startswith(
                    ("experiments/", "launch/", "benchmarks/", "docs/", "./check")
                ):
                    assert (ROOT / word).exists(), f"{block.place}: there is no {word}"


@every_page
def test_commands_take_the_options_that_a_page_gives_them(page, monkeypatch, capsys):
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, *arguments):
        parse(self, *arguments)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    for block in of_language(page, "bash"):
        for command in steps["commands"](block.text):
            called = steps["segjax_arguments"](command)
            if called is None or "-h" in called[1] or "--help" in called[1]:
                continue
            name, arguments = called
            assert name in COMMANDS, f"{block.place}: there is no command {name}"
            try:
                importlib.import_module(COMMANDS[name][0]).main(arguments)
                pytest.fail(f"{block.place}: {command}\nnever came to its parser")
            except Accepted:
                pass
            except SystemExit:
                pytest.fail(f"{block.place}: {command}\n{capsys.readouterr().err}")


@every_page
def test_overrides_name_fields_that_the_experiment_has_and_leave_it_trainable(page, tmp_path):
    saved = {b.options["save"]: b for b in of_language(page, "python") if "save" in b.options}
    for name, block in saved.items():
        (tmp_path / name).write_text(block.text, encoding="utf-8")
    for block in of_language(page, "bash"):
        for command in steps["commands"](block.text):
            name, arguments = steps["segjax_arguments"](command) or ("", [])
            if name != "launch":
                continue
            folder = tmp_path if arguments[0] in saved else ROOT
            if not (folder / arguments[0]).is_file():
                continue
            settings = [
                b for a, b in zip(arguments, arguments[1:], strict=False) if a == "--set"
            ]
            for run in runs_of_file(folder / arguments[0], settings=settings):
                if schedule := getattr(run.experiment.optimizer, "schedule", None):
                    schedule.build(run.experiment.steps)  # Refuses a warm-up of all steps.
