"""What commands print where the terminal or the locale has another encoding than UTF-8."""

import io
import sys

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
