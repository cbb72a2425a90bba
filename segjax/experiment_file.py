"""Runs an experiment file; `segjax.experiment` says what such a file must define."""

import importlib.util
import os
import pathlib
import sys
import traceback
from types import ModuleType, TracebackType

from segjax.errors import InputError, UserCodeError


def run_experiment_file(path: pathlib.Path) -> ModuleType:
    """Returns the file as a module, whose neighbours it may import.

    Raises:
      InputError: there is no such file, it is not a Python file, it or a file that it imports
        has a syntax error, or it loads itself.
      UserCodeError: the file itself raised; the message holds the traceback.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name an experiment file, which ends in .py.")
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
    if (own := path.resolve()) in _running:
        raise InputError(f"{path} loads itself: leave that out, or load another file.")
    _running.append(own)
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except SystemExit as error:
        raise UserCodeError(f"{path} ended Python by sys.exit: leave that out.") from error
    except Exception as error:
        trace = _below(error.__traceback__, str(spec.origin))
        if isinstance(error, SyntaxError) and (trace is None or _is_in_a_file(error)):
            raise InputError(_syntax_error(error, path)) from error
        trace = trace or error.__traceback__
        shown = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
        raise UserCodeError(f"{shown}\n{path} raised {type(error).__name__}.") from error
    finally:
        _running.remove(own)
    return module


_running: list[pathlib.Path] = []
"""The files that are being run: one may load another."""


def _is_in_a_file(error: SyntaxError) -> bool:
    """Returns whether a file is wrong, not a text that a program gave to `eval`."""
    return error.filename is not None and os.path.isfile(error.filename)


def _syntax_error(error: SyntaxError, path: pathlib.Path) -> str:
    """Returns in one line where Python does not understand a file, and why."""
    where = error.filename if _is_in_a_file(error) else path
    line = f", line {error.lineno}" if error.lineno else ""
    text = f" ({error.text.strip()})" if error.text and error.text.strip() else ""
    what = "the line" if line else "the file"
    return f"{where}{line} is not Python: {error.msg}{text}. Mend {what}."


def _below(trace: TracebackType | None, path: str) -> TracebackType | None:
    """Returns the part of a traceback from the file on; None where the file is not in it."""
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return trace


def _near_files(path: pathlib.Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    return f"{path.parent} holds {', '.join(found)}." if found else "check the path."
