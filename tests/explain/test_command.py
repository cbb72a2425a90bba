"""`python -m segjax.explain`: text, JSON, figures and refusals of all sub-commands alike."""

import json
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from segjax.explain import __main__ as explain
from segjax.explain import figure, rates


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """(exit status, output, errors) of the command."""
    capsys.readouterr()
    status = explain.main(arguments)
    return status, *capsys.readouterr()


def as_program(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "segjax.explain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_the_program_explains_rates():
    done = as_program("rates", "1", "2", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Rates 1 2 5, kernels 3 x 3: an output reads every pixel")


def test_the_program_refuses_a_bad_size_in_one_line():
    done = as_program("conv", "--size", "3", "--kernel", "5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: A kernel of 5 taps at dilation 1 spans 5 pixels")
    assert done.stderr.count("\n") == 1


def test_rates_are_explained_without_loading_jax_or_matplotlib():
    loaded = (
        "import sys; from segjax.explain.__main__ import main; main(['rates', '1', '--json']);"
        "print({'jax', 'flax', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert done.stdout.endswith("}\nset()\n"), done.stderr


def test_help_names_every_topic_and_every_topic_has_json_and_out(capsys):
    for topic in explain.TOPICS:
        for given, words in (
            (["--help"], [f"\n    {topic}"]),
            ([topic, "-h"], ["--json", "--out"]),
        ):
            with pytest.raises(SystemExit) as stopped:
                explain.main(given)
            assert stopped.value.code == 0
            help_text = capsys.readouterr().out
            assert all(word in help_text for word in words)


def test_json_is_one_object_and_nothing_else_is_printed(capsys, tmp_path):
    out = tmp_path / "rates.png"
    status, output, errors = run(capsys, "rates", "1", "2", "--json", "--out", str(out))
    assert (status, errors) == (0, "") and out.is_file()
    assert json.loads(output)["coverage"] == [1, 1, 2, 1, 2, 1, 1]


def test_a_figure_is_named_below_the_text(capsys, tmp_path):
    out = tmp_path / "new" / "conv.png"
    status, output, _ = run(capsys, "conv", "--size", "3", "--out", str(out))
    assert status == 0 and output.endswith(f"\n\nFigure: {out}\n")
    with Image.open(out) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rates", "0"], "each at least 1"),
        (["rates", "1", "--kernel", "4"], "must be odd and at least 3, got 4"),
        (["conv", "--size", "-2"], "error: --size must be from 1 to 10000, got -2"),
        (["conv", "--kernel=0"], "error: --kernel must be from 1 to 10000, got 0"),
        (["conv", "--input", "a"], "error: --input 'a' must be rows of equal length"),
        (
            ["conv", "--transposed", "--output-padding", "1"],
            "error: --output-padding 1 must be below the stride 1",
        ),
        (["skips", "--gain", "9"], "error: --gain must be from 0.01 to 3, got 9.0"),
        (["upsampling", "--factor", "9"], "error: --factor must be from 2 to 8, got 9"),
        (["conv", "--padding", "-1"], "Padding must be"),
        (["conv", "--out", "conv.pdf"], "--out conv.pdf must end in .png."),
        (["conv", "--out", "folder.png"], "--out folder.png is a folder; choose a file in it"),
        (["rates", "1", "--out", "file/a.png"], "file/a.png cannot be written"),
        (["rates", "1", "--out", "file/b/a.png"], "file/b/a.png cannot be written"),
    ],
)
def test_bad_values_are_refused_in_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.png").mkdir()
    status, output, errors = run(capsys, *arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("error: ") and message in errors and errors.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.png"]


@pytest.mark.parametrize("arguments", [[], ["convolution"], ["rates"], ["rates", "one"]])
def test_what_argparse_refuses_has_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        explain.main(arguments)
    assert stopped.value.code == 2 and "usage: " in capsys.readouterr().err


def test_a_bug_is_not_taken_for_bad_arguments(capsys, monkeypatch):
    monkeypatch.setattr(rates, "text", lambda result: int("three"))
    status, _, errors = run(capsys, "rates", "1")
    assert status == 1 and "Traceback" in errors


def test_a_figure_that_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    drawn = figure.new_figure(2, 1)

    def fail(path: pathlib.Path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawn, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        figure.save(drawn, tmp_path / "drawn.png")
    assert not list(tmp_path.iterdir())
