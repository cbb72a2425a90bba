"""The list of commands, the names they are installed under, and what they call themselves."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

from segjax.__main__ import COMMANDS, main
from segjax.console import program

ROOT = pathlib.Path(__file__).parents[2]


def test_without_arguments_every_command_is_listed(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"python -m segjax.{name} " in listed for name in COMMANDS)
    assert main(["--help"]) == 0 and capsys.readouterr().out == listed


def test_the_list_appears_without_loading_jax():
    code = (
        "import sys; from segjax.__main__ import main; main([]); sys.exit('jax' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
    )


@pytest.mark.parametrize("name", ["launch", "predict", "score", "serve", "export"])
def test_help_appears_without_loading_jax(name):
    code = (
        "import contextlib, sys; from segjax.__main__ import main\n"
        f"with contextlib.suppress(SystemExit): main([{name!r}, '--help'])\n"
        "sys.exit('jax' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.startswith("usage: ")


def test_a_run_on_drawn_data_imports_no_reader_of_files_and_no_drawing_library():
    code = (
        "import sys, segjax.launch, segjax.train.ablation, segjax.data.synthetic\n"
        "print({'tensorflow_datasets', 'scipy.ndimage', 'matplotlib', 'wandb', 'mlflow'} "
        "& set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("set()\n", 0), ran.stderr


@pytest.mark.parametrize(
    ("given", "near"), [("lunch", "'launch'"), ("predict.py", "'predict'"), ("qqq", None)]
)
def test_an_unknown_command_is_one_line_and_status_2(given, near, capsys):
    assert main([given]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: There is no command {given!r}; ")
    commands = "launch, predict, score, serve, export, convert, explain"
    assert error.count("\n") == 1 and commands in error
    assert ("did you mean" in error) == (near is not None) and (near or "") in error


def test_a_command_gets_the_arguments_behind_its_name(capsys):
    assert main(["explain", "rates", "1", "2", "5"]) == 0
    assert capsys.readouterr().out.startswith("Rates 1 2 5")
    assert main(["launch", "nowhere.py"]) == 2
    assert "There is no experiment file nowhere.py" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_main_and_is_installed_under_its_own_name(name):
    module, _ = COMMANDS[name]
    assert callable(importlib.import_module(module).main)
    with open(ROOT / "pyproject.toml", "rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert scripts[f"segjax-{name}"] == f"{module}:main"
    assert scripts["segjax"] == "segjax.__main__:main"


def test_the_package_has_no_command_that_the_list_lacks():
    files = {path.stem for path in (ROOT / "segjax").glob("*.py") if _has_main(path)}
    folders = {path.parent.name for path in (ROOT / "segjax").glob("*/__main__.py")}
    assert (files | folders) - {"__main__"} == set(COMMANDS)


def _has_main(path: pathlib.Path) -> bool:
    return 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("/venv/bin/segjax-predict", "segjax-predict"),
        ("/venv/Scripts/segjax-predict.exe", "segjax-predict"),
        ("/venv/bin/segjax", "segjax predict"),
        ("/clone/segjax/predict.py", "python -m segjax.predict"),
        ("/clone/segjax/__main__.py", "python -m segjax.predict"),
        ("pytest", "python -m segjax.predict"),
    ],
)
def test_a_command_calls_itself_as_it_was_called(called, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    assert program("predict") == name


def test_a_folder_of_the_packages_name_beside_you_is_not_taken_for_it(tmp_path):
    """As after `git clone`: the clone's own folder is called segjax, and holds the package."""
    (tmp_path / "segjax" / "segjax").mkdir(parents=True)
    command = [sys.executable, "-m", "segjax", "explain", "rates", "1", "2"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.slow
def test_a_run_compiled_as_users_compile_it_trains_and_is_scored(tmp_path):
    tests = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")
    environment = {key: value for key, value in os.environ.items() if key not in tests}
    tiny = pathlib.Path(__file__).with_name("tiny.py")
    command = [
        sys.executable,
        "-m",
        "segjax.launch",
        str(tiny),
        "--workdir",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text(encoding="utf-8"))
    assert 0 < evaluation["mean_iou"] <= 1 and (tmp_path / "run" / "report.html").is_file()
