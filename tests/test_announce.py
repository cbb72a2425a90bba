import io
import logging
import threading

import pytest

from segjax import announce
from segjax.announce import LOGGER, announced
from segjax.errors import run_command


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def speaking():
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.setLevel(level)


def test_a_function_called_from_another_program_says_nothing(capsys):
    with announced("Compiling the step"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_command_says_what_takes_long_and_then_how_long_it_took(capsys):
    def command():
        with announced("Compiling the step"):
            print("work")

    assert run_command(command) == 0
    out, err = capsys.readouterr()
    begin, end = err.splitlines()
    assert out == "work\n" and begin == "Compiling the step …"
    assert end.startswith("Compiling the step: ") and end.endswith(" s")
    assert not LOGGER.isEnabledFor(logging.INFO)


def test_what_is_over_before_its_time_is_not_said(speaking, capsys):
    with announced("Compiling the step", after=3600):
        pass
    assert capsys.readouterr().err == ""


def test_what_lasts_beyond_its_time_is_said(speaking, monkeypatch, capsys):
    said = threading.Event()
    monkeypatch.setattr(announce._Line, "show", _and_then(announce._Line.show, said))
    with announced("Compiling the step", after=0.001):
        assert said.wait(60)
    assert [line[:19] for line in capsys.readouterr().err.splitlines()] == [
        "Compiling the step ",
        "Compiling the step:",
    ]


def test_what_fails_is_not_said_to_be_done(speaking, capsys):
    with pytest.raises(ValueError, match="no"), announced("Compiling the step"):
        raise ValueError("no")
    assert capsys.readouterr().err == "Compiling the step …\n"


def test_on_a_terminal_the_line_shows_the_seconds_as_they_pass(speaking, monkeypatch):
    screen, again = Terminal(), threading.Event()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(announce, "TICK", 0.001)
    monkeypatch.setattr(announce._Line, "show", _and_then(announce._Line.show, again, times=3))
    with announced("Compiling the step"):
        assert again.wait(60)
    shown = screen.getvalue()
    assert shown.count("\rCompiling the step … 00:00") >= 2
    assert shown.splitlines()[-1].endswith(" s")


def test_on_a_narrow_terminal_the_line_does_not_wrap(speaking, monkeypatch):
    screen, again = Terminal(), threading.Event()
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(announce, "TICK", 0.001)
    monkeypatch.setattr(announce._Line, "show", _and_then(announce._Line.show, again, times=2))
    with announced("Compiling the network for 16 images of 1024 x 2048 pixels"):
        assert again.wait(60)
    live = screen.getvalue().split("\r")[1:-1]
    assert any("Compiling the netw … 00:00" in line for line in live)
    assert all(len(line) < 30 for line in live)


def _and_then(function, event, *, times=1):
    """The function, which sets the event once it has been called so many times."""
    calls = []

    def called(*arguments):
        function(*arguments)
        calls.append(arguments)
        if len(calls) >= times:
            event.set()

    return called
