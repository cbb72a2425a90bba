"""Running an experiment file: its neighbours, its own errors, and what is no such file."""

import sys

import pytest

from segjax.errors import InputError, UserCodeError
from segjax.experiment_file import run_experiment_file


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch):
    """Modules and folders that a file adds are gone after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    # In place: an import statement asks the interpreter's own dictionary.
    before = {**sys.modules}
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def test_a_file_imports_its_neighbours_and_its_classes_are_found_by_name(tmp_path):
    (tmp_path / "neighbour_of_it.py").write_text("size = 3\n")
    path = tmp_path / "file_of_its_own.py"
    path.write_text("from neighbour_of_it import size\n\n\nclass Own:\n    side = size\n")
    module = run_experiment_file(path)
    assert module.Own.side == 3
    # Pickle and worker processes look a class up so.
    assert sys.modules[module.Own.__module__].Own is module.Own


def test_a_file_runs_anew_each_time_and_takes_no_modules_place(tmp_path):
    path = tmp_path / "json.py"
    for value in (1, 2):
        path.write_text(f"value = {value}{' ' * value}\n")
        assert run_experiment_file(path).value == value
    import json

    assert json.loads("[1]") == [1]


def test_an_absent_file_is_said_with_those_that_are_there(tmp_path):
    (tmp_path / "a.py").touch()
    (tmp_path / "b.txt").touch()
    with pytest.raises(InputError, match=r"no experiment file .*/c.py; .* holds a\.py\.$"):
        run_experiment_file(tmp_path / "c.py")
    with pytest.raises(InputError, match=r"c.py; check the path\.$"):
        run_experiment_file(tmp_path / "nowhere" / "c.py")
    with pytest.raises(
        InputError, match=r"b.txt is not a Python file; an experiment is a \.py"
    ):
        run_experiment_file(tmp_path / "b.txt")


def test_what_the_file_raises_keeps_its_traceback_and_an_input_error_its_line(tmp_path):
    path = tmp_path / "raises.py"
    path.write_text("def broken():\n    return 1 / 0\n\n\nbroken()\n")
    with pytest.raises(UserCodeError, match=r"(?s)in broken.*raises.py raised ZeroDivisionErr"):
        run_experiment_file(path)
    path.write_text("from segjax.errors import InputError\n\nraise InputError('one line')\n")
    with pytest.raises(InputError, match="^one line$"):
        run_experiment_file(path)
