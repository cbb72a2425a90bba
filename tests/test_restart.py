"""How a command's process starts anew: in UTF-8, and with large pages of memory."""

import importlib.machinery
import io
import os
import subprocess
import sys
import types

import pytest

from segjax import restart as restarting


class Restarted(Exception):
    pass


def started_as(monkeypatch, *, module: str | None = None, file: str | None = None) -> None:
    """Lets this process look as if Python had been started for a module or a script."""
    spec = module and importlib.machinery.ModuleSpec(module, None)
    main = types.SimpleNamespace(__spec__=spec, __file__=file)
    monkeypatch.setitem(sys.modules, "__main__", main)


@pytest.fixture
def restart(monkeypatch, tmp_path):
    """Restarts under a file system encoding; returns what is started, or None.

    Large pages are those that `enabled` in a folder of the test says, here none.
    """

    def execute(program, arguments):
        raise Restarted(program, arguments)

    monkeypatch.setattr(os, "execv", execute)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "segjax.launch", "ü.py"])
    monkeypatch.setattr(restarting, "HUGE_PAGES", tmp_path / "enabled")
    for name in ("PYTHONUTF8", "PYTHONIOENCODING", "GLIBC_TUNABLES"):
        monkeypatch.setenv(name, "")  # So that it is undone.
        monkeypatch.delenv(name)

    started_as(monkeypatch, module="segjax.launch")

    def restart(encoding: str):
        monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
        try:
            restarting.restart_as_needed()
        except Restarted as caught:
            return caught.args

    return restart


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1"])
def test_in_another_locale_the_same_command_starts_anew_in_utf8(encoding, restart):
    program, arguments = restart(encoding)
    assert program == arguments[0] == sys.executable
    assert arguments[1:] == ["-X", "segjax-restarted", "-m", "segjax.launch", "ü.py"]
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


@pytest.fixture
def pages(restart, monkeypatch, tmp_path):
    """Returns what GLIBC_TUNABLES is after a start, and whether it was a new one."""

    def start(enabled: str, library: str = "glibc 2.36", given: str | None = None):
        (tmp_path / "enabled").write_text(enabled)
        monkeypatch.setattr(os, "confstr", lambda name: library, raising=False)
        if given is not None:
            monkeypatch.setenv("GLIBC_TUNABLES", given)
        is_new = restart("utf-8") is not None
        return os.environ.get("GLIBC_TUNABLES"), is_new

    return start


def test_where_linux_gives_large_pages_on_request_a_command_asks_for_them_once(pages):
    assert pages("always [madvise] never\n") == ("glibc.malloc.hugetlb=1", True)
    assert pages("always [madvise] never\n") == ("glibc.malloc.hugetlb=1", False)


@pytest.mark.parametrize("enabled", ["[always] madvise never\n", "always madvise [never]\n"])
def test_where_asking_changes_nothing_it_does_not(enabled, pages):
    assert pages(enabled) == (None, False)


@pytest.mark.parametrize("library", ["glibc 2.34", "musl", "", None])
def test_a_c_library_without_the_setting_is_left_alone(library, pages):
    assert pages("[madvise]", library) == (None, False)
    assert pages("[madvise]", "glibc 3.0")[1]


def test_other_settings_of_the_c_library_are_kept(pages):
    given = "glibc.malloc.arena_max=2"
    assert pages("[madvise]", given=given) == (f"{given}:glibc.malloc.hugetlb=1", True)
    assert pages("[madvise]", given="glibc.malloc.hugetlb=0")[1] is False


def test_text_and_memory_take_one_new_start(restart, monkeypatch, tmp_path):
    (tmp_path / "enabled").write_text("[madvise]")
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36", raising=False)
    assert restart("ascii") is not None
    assert os.environ["PYTHONUTF8"] == "1" and os.environ["GLIBC_TUNABLES"]
    assert restart("ascii") is None


def test_a_process_whose_variables_vanish_starts_anew_once(pages, monkeypatch):
    assert pages("[madvise]")[1]
    monkeypatch.delenv("GLIBC_TUNABLES")
    monkeypatch.setattr(sys, "_xoptions", {"segjax-restarted": True})
    assert pages("[madvise]") == (None, False)


def test_where_no_new_start_is_possible_the_command_goes_on(pages, monkeypatch):
    def refuse(*_):
        raise PermissionError("no second program here")

    monkeypatch.setattr(os, "execv", refuse)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    assert pages("[madvise]") == ("glibc.malloc.arena_max=2", False)


def test_a_command_sees_what_it_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    expected = restarting._for_memory().get("GLIBC_TUNABLES")  # By this machine's settings.
    file = tmp_path / "prints.py"
    file.write_text("import os\nprint(os.environ.get('GLIBC_TUNABLES'))\n")
    command = [sys.executable, "-m", "segjax.launch", str(file), "--describe"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines()[0] == str(expected), ended.stderr
