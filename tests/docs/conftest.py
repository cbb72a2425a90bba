"""Scenes that pages share, and how a page is run."""

import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
LINKED = ("launch", "benchmarks", "docs")
SHELL_NAMES = ("python", "python3")


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """The folder of a scene of `scenes.py`, made once."""
    scenes, made = runpy.run_path(str(HERE / "scenes.py"))["SCENES"], {}

    def folder(name: str) -> pathlib.Path:
        if name not in scenes:
            pytest.fail(f"There is no fixture {name!r}; there are {', '.join(scenes)}.")
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            scenes[name](made[name])
        return made[name]

    return folder


@pytest.fixture
def run_steps(tmp_path):
    """Runs the steps of a page in a folder of its own; returns what each printed."""

    def run(steps: list[dict]) -> list[str]:
        folder, path = tmp_path / "reader", tmp_path / "bin"
        for made in (folder, path):
            made.mkdir()
        shutil.copytree(ROOT / "experiments", folder / "experiments")  # Readers change them.
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        for name in SHELL_NAMES:
            (path / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            (path / name).chmod(0o755)
        said, printed = tmp_path / "steps.json", tmp_path / "outputs.json"
        said.write_text(json.dumps(steps))
        # A reader has one device; `tests/conftest.py` shows JAX several.
        flags = [f for f in os.environ["XLA_FLAGS"].split() if "device_count" not in f]
        variables = os.environ | {
            "XLA_FLAGS": " ".join(flags),
            "PATH": f"{path}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SEGJAX_CACHE": str(tmp_path / "cache"),
            "COLUMNS": "100",
            "MPLBACKEND": "agg",
        }
        command = [sys.executable, str(HERE / "run_page.py"), str(said), str(printed)]
        done = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True
        )
        if done.returncode:
            pytest.fail(f"{done.stdout}\n{done.stderr[-4000:]}", pytrace=False)
        return json.loads(printed.read_text())

    return run
