"""Runs an experiment file; `segjax.experiment` says what such a file must define."""

import importlib.util
import pathlib
import sys
import traceback
from types import ModuleType

from segjax.errors import InputError, UserCodeError


def run_experiment_file(path: pathlib.Path) -> ModuleType:
    """Returns the file as a module, whose neighbours it may import.

    Raises:
      InputError: there is no such file, or it is not a Python file.
      UserCodeError: the file itself raised; the message holds the traceback.
    """
    if not path.is_file():
        raise InputError(f"There is no experiment file {path}; {_near_files(path)}")
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file; an experiment is a .py file.")
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Workers and pickles look classes of the file up under its name.
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:
        shown = "".join(traceback.format_exception(error)).rstrip()
        raise UserCodeError(f"{shown}\n{path} raised {type(error).__name__}.") from error
    return module


def _near_files(path: pathlib.Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    return f"{path.parent} holds {', '.join(found)}." if found else "check the path."
