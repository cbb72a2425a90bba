"""Running an experiment file: its neighbours, its own errors, and what is no such file."""

import sys

import pytest

from segjax.console import one_line
from segjax.errors import InputError, UserCodeError
from segjax.experiment import load_all
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
    path.write_text("import ast\n\nast.literal_eval('[1,\\n2,(')\n")
    with pytest.raises(UserCodeError, match=r"(?s)line 3, in .*raises.py raised SyntaxError"):
        run_experiment_file(path)
    path.write_text("from segjax.errors import InputError\n\nraise InputError('one line')\n")
    with pytest.raises(InputError, match="^one line$"):
        run_experiment_file(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"x = 1\ny = 2 2\n", r"line 2 is not Python: invalid syntax.* \(y = 2 2\)"),
        (b"x = (1,\n", r"line 1 is not Python: '\(' was never closed"),
        (b'x = "\xe4"\n', "is not Python: .*'utf-8' codec"),
        (b"x = 1\0\n", "is not Python: .*null byte"),
        (b"\xff\xfex\0=\0", "is not Python"),
        (b"# coding: nowhere\n", "is not Python: unknown encoding: nowhere"),
        (b"from broken_neighbour import x\n", r"broken_neighbour\.py, line 1 is not Python"),
        (
            b"from segjax.experiment import load\nexperiment = load(__file__)\n",
            "odd\\.py loads itself",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_run_is_said_in_one_line(contents, message, tmp_path):
    (tmp_path / "broken_neighbour.py").write_text("x = = 2\n")
    path = tmp_path / "odd.py"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=message) as error:
        run_experiment_file(path)
    assert "\n" not in one_line(str(error.value))
    # What failed once is not in the way of the mended file.
    path.write_text("x = 1\n")
    assert run_experiment_file(path).x == 1


def test_a_folder_and_a_file_that_ends_python_are_refused(tmp_path):
    path = tmp_path / "folder.py"
    path.mkdir()
    with pytest.raises(InputError, match=r"folder\.py is a folder"):
        run_experiment_file(path)
    path = tmp_path / "ends.py"
    path.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(UserCodeError, match=r"^\S*ends\.py ended Python by sys\.exit"):
        run_experiment_file(path)


def test_a_traceback_begins_in_the_file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("def again():\n    return again()\n\n\nagain()\n")
    with pytest.raises(UserCodeError) as error:
        run_experiment_file(path)
    lines = str(error.value).splitlines()
    assert "own.py" in lines[1] and len(lines) < 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiment = Experiment", "experiment is a class; it must be Experiment"),
        ("experiment = {}", "experiment is of type dict"),
        ("experiments = [3, Experiment]", r"experiments\[0\] is of type int"),
        ("experiments = [Experiment]", r"experiments\[0\] is a class"),
        ("experiments = []", "must define either"),
        ("experiments = 3", "must define either"),
        ("experiment, experiments = 3, [3]", "must define either"),
        ("", "must define either"),
    ],
)
def test_what_is_no_experiment_is_said_by_its_name(text, message, tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(f"from segjax.experiment import Experiment\n{text}\n")
    with pytest.raises(InputError, match=f"odd.py.*{message}"):
        load_all(path)
