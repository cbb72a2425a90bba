"""An editable install is found from every folder, also from the one that holds the clone."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

import segjax

ROOT = pathlib.Path(segjax.__file__).parents[1]
BUILD = "import sys, setuptools.build_meta as b; b.build_editable(sys.argv[1])"
FIND = "import site, sys; site.addsitedir(sys.argv[1]); import segjax; print(segjax.__file__)"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> pathlib.Path:
    """What `pip install -e` of a clone named segjax puts among the installed packages."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("home")
    clone = folder / "segjax"
    (clone / "segjax").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "segjax/__init__.py"):
        shutil.copy(ROOT / name, clone / name)
    for name in ("experiments", "tests", "launch"):
        (clone / name).mkdir()
    build = [sys.executable, "-c", BUILD, str(folder)]
    subprocess.run(build, cwd=clone, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("place", ["beside the clone", "in the clone", "in its tests", "/"])
def test_an_editable_install_is_found(site, place):
    clone = site.parent / "segjax"
    folders = {"beside the clone": clone.parent, "in the clone": clone, "/": pathlib.Path("/")}
    folder = folders.get(place, clone / "tests")
    # -S leaves out what is installed here: only the clone can answer.
    command = [sys.executable, "-S", "-c", FIND, str(site)]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert ran.stdout.strip() == str(clone / "segjax" / "__init__.py"), ran.stderr


def test_its_commands_are_installed(site):
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert "segjax-predict = segjax.predict:main" in entry_points.read_text(encoding="utf-8")
