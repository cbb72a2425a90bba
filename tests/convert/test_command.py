import json
import pathlib
import runpy
import subprocess
import sys

import pytest

from segjax.convert.__main__ import OVERLAPS, main
from segjax.convert.formats.table import formats
from segjax.convert.painting import OVERLAPS as PAINTED

FILES = runpy.run_path(str(pathlib.Path(__file__).with_name("labelme_files.py")))
save_labelme, shape = FILES["save_labelme"], FILES["shape"]


@pytest.fixture
def source(tmp_path):
    for stem in ("a", "b", "c"):
        save_labelme(tmp_path / "in", stem, [shape("car"), shape("truck", [[0, 0]] * 3)])
    return tmp_path / "in"


def test_the_command_writes_a_dataset_and_says_what_is_in_it(source, tmp_path, capsys):
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for line in (
        "3 images from labelme, 3 of them new or changed",
        "  0 background       3        0     429  74.48 %",
        "  1 car              3        3     144  25.00 %",
        "Splits: ",
        "Overlaps: a later region of the file covers the earlier ones (0 pixels)",
        f"python -m segjax.launch {tmp_path / 'out' / 'experiment.py'}",
    ):
        assert line in printed
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    assert "3 images from labelme, none of them new or changed" in capsys.readouterr().out


def test_the_line_on_overlaps_names_the_other_choice_if_there_are_any(source, tmp_path, capsys):
    save_labelme(source, "c", [shape("car"), shape("car")])
    choice = "--overlap smaller draws smaller objects over larger ones"
    for options, wanted in ([], True), (["--overlap", "smaller"], False):
        out = str(tmp_path / f"out{wanted}")
        assert main([str(source), "--out", out, "--no-audit", *options]) == 0
        (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("Overlaps")]
        assert "(48 pixels)" in line and (choice in line) == wanted


def test_options_choose_merge_ignore_and_split(source, tmp_path, capsys):
    options = [
        "--merge",
        "car,truck=vehicle",
        "--classes",
        "vehicle",
        "--split",
        "0.5,0.25,0.25",
    ]
    out = str(tmp_path / "out")
    assert main([str(source), "--out", out, *options, "--overlap", "smaller", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary["classes"]) == ["background", "vehicle"]
    assert sorted(summary["splits"].values()) == [1, 1, 1]
    assert summary["overlaps"] == PAINTED["smaller"]
    other = str(tmp_path / "other")
    assert main([str(source), "--out", other, "--ignore", "truck", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ignored_pixels"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "out"], "There is no source nowhere"),
        (["in", "--out", "out", "--format", "labelm"], "Did you mean labelme?"),
        (["in", "--out", "out", "--classes", "cra"], "near names are car"),
        (["in", "--out", "out", "--merge", "car"], "write the old names, = and the new name"),
        (["in", "--out", "out", "--split", "0.9,0.9"], "whose sum is 1"),
        (["in", "--out", "in/a.json"], "is a file: name a folder"),
        (["in", "--out", "in/out"], "lies inside in, which is only read"),
        (["empty", "--out", "out"], "has no annotations of a known format"),
        (["half", "--out", "out"], "is not complete JSON (line 1, column 2"),
    ],
)
def test_wrong_arguments_are_one_line_and_nothing_is_written(
    source, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half/x.json").write_text("{")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()


def test_the_help_names_every_rule_for_overlaps(capsys):
    assert tuple(PAINTED) == OVERLAPS
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in OVERLAPS)


def test_the_help_appears_without_loading_jax():
    code = (
        "import sys; from segjax.convert.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "SOURCE" in done.stdout, done.stderr


def test_the_guide_has_a_row_for_every_format():
    page = pathlib.Path(__file__).parents[2] / "docs/guides/converting.md"
    rows = page.read_text(encoding="utf-8").split("## Formats")[1].split("\n## ")[0]
    named = [line.split("`")[1] for line in rows.splitlines() if line.startswith("| `")]
    assert [each.name for each in formats()] == [name for name in named if name != "--format"]


def test_an_audit_follows_unless_it_is_not_wanted(source, tmp_path, capsys):
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "image files" in printed and "Images that are in two splits" in printed
    assert main([str(source), "--out", str(tmp_path / "plain"), "--no-audit"]) == 0
    assert "weights from train" not in capsys.readouterr().out
