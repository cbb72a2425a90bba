"""What commands print where the terminal or the locale has another encoding than UTF-8."""

import importlib.machinery
import io
import os
import sys
import types

import pytest

from segjax import console
from segjax.console import one_line
from segjax.errors import InputError, run_command

NAME = "Größe – caf\udce9.png"
"""An umlaut, a dash that Latin-1 lacks, and a byte that is no UTF-8, as Python reads it."""


def printed(monkeypatch, encoding: str, stream: str, command) -> bytes:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(raw, encoding=encoding))
    run_command(command)
    getattr(sys, stream).flush()
    return raw.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"Gr\xf6\xdfe \u2013 caf\udce9.png"),
        ("latin-1", b"Gr\xf6\xdfe " + rb"\u2013 caf\udce9.png"),
        ("utf-8", "Größe – caf".encode() + rb"\udce9.png"),
    ],
)
def test_what_an_encoding_lacks_is_printed_as_escapes(encoding, expected, monkeypatch):
    out = printed(monkeypatch, encoding, "stdout", lambda: print(NAME))
    assert out == expected + b"\n"

    def refuse():
        raise InputError(NAME)

    err = printed(monkeypatch, encoding, "stderr", refuse)
    assert err == b"error: " + expected + b"\n"


def test_a_console_that_is_no_text_stream_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    console.allow_any_text()
    print("ü\udcff")
    assert sys.stdout.getvalue() == "ü\udcff\n"


class Restarted(Exception):
    pass


def started_as(monkeypatch, *, module: str | None = None, file: str | None = None) -> None:
    """Lets this process look as if Python had been started for a module or a script."""
    spec = module and importlib.machinery.ModuleSpec(module, None)
    main = types.SimpleNamespace(__spec__=spec, __file__=file)
    monkeypatch.setitem(sys.modules, "__main__", main)


@pytest.fixture
def restart(monkeypatch):
    """Restarts under a file system encoding; returns what is started, or None."""

    def execute(program, arguments):
        raise Restarted(program, arguments)

    monkeypatch.setattr(os, "execv", execute)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "segjax.launch", "ü.py"])
    for name in ("PYTHONUTF8", "PYTHONIOENCODING"):
        monkeypatch.setenv(name, "")  # So that it is undone.
        monkeypatch.delenv(name)

    started_as(monkeypatch, module="segjax.launch")

    def restart(encoding: str):
        monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
        try:
            console.restart_in_utf8()
        except Restarted as caught:
            return caught.args

    return restart


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1"])
def test_in_another_locale_the_same_command_starts_anew_in_utf8(encoding, restart):
    program, arguments = restart(encoding)
    assert program == arguments[0] == sys.executable
    assert arguments[1:] == ["-m", "segjax.launch", "ü.py"]
    assert os.environ["PYTHONUTF8"] == "1"
    assert os.environ["PYTHONIOENCODING"] == f"{sys.stdout.encoding}:backslashreplace"


def test_it_starts_anew_once_and_not_where_the_locale_is_utf8(restart, monkeypatch):
    assert restart("utf-8") is None
    monkeypatch.setenv("PYTHONUTF8", "1")
    assert restart("ascii") is None


@pytest.mark.parametrize(
    ("how", "ours"),
    [
        ({"module": "segjax.predict"}, True),
        ({"module": "segjax.explain.__main__"}, True),
        ({"file": "/env/bin/segjax-predict"}, True),
        ({"file": "/env/bin/segjax"}, True),
        ({"file": "/env/Scripts/segjax-launch.exe/__main__.py"}, True),
        ({"module": "ipykernel_launcher"}, False),
        ({"module": "segjax_tools.run"}, False),
        ({"file": "/home/me/train.py"}, False),
        ({"file": "/env/bin/pytest"}, False),
        ({}, False),
    ],
)
def test_only_a_process_that_was_started_for_a_command_starts_anew(
    how, ours, restart, monkeypatch
):
    started_as(monkeypatch, **how)
    assert (restart("ascii") is not None) == ours


def test_where_the_output_is_caught_the_console_counts_as_utf8(restart, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert restart("ascii") is not None
    assert os.environ["PYTHONIOENCODING"] == "utf-8:backslashreplace"


def test_names_with_line_ends_and_control_characters_stay_in_one_line(capsys):
    for text, shown in (
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u2028b", "a\\u2028b"),
        ("a\u202egnp.b", "a\\u202egnp.b"),
        ("c:\\new größe 图", "c:\\new größe 图"),
    ):
        assert one_line(text) == shown

        def fail(text=text):
            raise InputError(f"{text} is wrong.")

        assert run_command(fail) == 2
        assert capsys.readouterr().err == f"error: {shown} is wrong.\n"
