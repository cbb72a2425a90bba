"""What is made, skipped, made anew or kept: run again, killed, edited, other sources."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.outputs.kinds import Blur, CutOut, Labelme, Overlay
from segjax.outputs.record import LINES, RECORD, Record
from segjax.outputs.summary import report


def test_what_is_finished_is_skipped_and_only_what_is_missing_or_changed_is_made(job):
    for name in ("a.png", "b.png", "c.png"):
        job.add(name)
    job.run(Overlay())
    mask = (job.out / "b.png").stat().st_ino
    (job.out / "b_overlay.png").unlink()
    job.add("c.png", age=61)
    job.asked = 0
    entries, differs = job.run(Overlay())
    assert [entry.skipped for entry in entries] == [True, False, False]
    assert job.asked == 2 and differs is None
    assert (job.out / "b.png").stat().st_ino == mask
    assert (job.out / "b_overlay.png").is_file()


def test_another_source_of_the_same_name_is_not_taken_for_the_first(job):
    job.add("a.png")
    job.run()
    bright = (job.out / "a.png").read_bytes()
    other = job.folder.parent / "other"
    other.mkdir()
    first = (job.folder / "a.png").stat()
    job.add("a.png", 0).rename(other / "a.png")
    os.utime(other / "a.png", ns=(first.st_atime_ns, first.st_mtime_ns))
    entries, _ = job.run(inputs=[other])
    assert not entries[0].skipped and (job.out / "a.png").read_bytes() != bright
    assert job.run(inputs=[other])[0][0].skipped


def test_an_older_file_copied_over_a_source_is_predicted(job):
    job.add("a.png")
    job.run()
    job.add("a.png", 0, age=10_000)
    assert [entry.skipped for entry in job.run()[0]] == [False]


def test_a_source_rewritten_with_its_size_and_time_is_predicted(job, wait_for_tick):
    path = job.add("a.bmp")
    job.run()
    before, mask = path.stat(), (job.out / "a.png").read_bytes()
    wait_for_tick(path)
    job.add("a.bmp", 0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert [entry.skipped for entry in job.run()[0]] == [False]
    assert (job.out / "a.png").read_bytes() != mask
    assert job.run()[0][0].skipped


def test_a_source_may_be_named_by_another_path_and_the_folder_moved(job, monkeypatch):
    job.add("a.png")
    job.run()
    job.out = job.out.rename(job.folder.parent / "moved")
    monkeypatch.chdir(job.folder)
    assert job.run(inputs=["."])[0][0].skipped


@pytest.mark.parametrize(
    "step, kind, said",
    [
        (9, Blur((1,), 2.0), "step was 8 and is now 9: all files are made"),
        (8, Blur((1,), 3.0), "and is now Blur(kept=(1,), sigma=3.0): these files are"),
    ],
)
def test_another_step_makes_all_anew_another_setting_its_own_files(job, step, kind, said):
    job.add("a.png")
    job.run(Blur((1,), 2.0))
    before = [(job.out / name).stat().st_ino for name in ("a.png", "a_blur.png")]
    entries, differs = job.run(kind, step=step)
    after = [(job.out / name).stat().st_ino for name in ("a.png", "a_blur.png")]
    assert said in differs and not entries[0].skipped and after[1] != before[1]
    assert (after[0] != before[0]) == (step != 8)


def test_another_kind_of_output_leaves_those_that_are_there(job):
    job.add("a.png")
    job.run(Overlay())
    before = {path.name: path.stat().st_ino for path in job.out.glob("*.png")}
    entries, differs = job.run(CutOut((1,)))
    assert differs is None and not entries[0].skipped
    after = {path.name: path.stat().st_ino for path in job.out.glob("*.png")}
    assert after == {**before, "a_cutout.png": after["a_cutout.png"]}
    assert job.run(Overlay(), CutOut((1,)))[0][0].skipped
    outputs = json.loads((job.out / RECORD).read_text())["outputs"]
    assert outputs == {"Mask": "Mask()", "Overlay": "Overlay()", "CutOut": "CutOut(kept=(1,))"}


def test_polygons_that_were_edited_are_kept_whatever_is_asked_and_others_are_not(job, capsys):
    job.add("a.png"), job.add("b.png")
    job.run(Labelme(0, 1.0))
    (job.out / "a.json").write_text("edited")
    unedited = (job.out / "b.json").stat().st_ino
    entries, _ = job.run(Labelme(0, 1.0), Overlay())
    assert not entries[0].kept
    entries, _ = job.run(Labelme(0, 1.0), step=9)
    assert [entry.kept for entry in entries] == [(job.out / "a.json",), ()]
    assert (job.out / "a.json").read_text() == "edited"
    assert (job.out / "b.json").stat().st_ino != unedited
    report(entries, job.made_by(9), weights="step 9", out=job.out, as_json=True)
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["counts"]["kept"] == 1 and told["images"][0]["kept"] == [f"{job.out}/a.json"]
    assert err.count("\n") == 1 and "a.json; move them away" in err
    (job.out / "a.json").unlink()
    entries, _ = job.run(Labelme(0, 1.0), step=9)
    assert not entries[0].kept and (job.out / "a.json").read_text() != "edited"


def test_of_many_edited_files_three_are_named(job, capsys):
    for name in "abcde":
        job.add(f"{name}.png")
    job.run(Labelme(0, 1.0))
    for path in job.out.glob("*.json"):
        if path.name != RECORD:
            path.write_text("edited")
    entries, _ = job.run(Labelme(0, 2.0))
    report(entries, job.made_by(8), weights="step 8", out=job.out, as_json=False)
    assert "c.json and 2 more; move them away" in capsys.readouterr().err


@pytest.mark.parametrize("moment", ["saved", "noted", "renamed first"])
def test_a_command_killed_at_any_moment_goes_on(job, monkeypatch, moment):
    """Killed at step 9, all files of step 8 being there."""
    job.add("a.png", 0), job.add("b.png")
    job.run(Labelme(0, 1.0))
    job.add("a.png")
    replace, add, renamed = os.replace, Record.add, []

    def add_then_die(record, origin, files):
        if moment != "saved":
            add(record, origin, files)
        monkeypatch.setattr(os, "replace", replace_or_die)

    def replace_or_die(partial, path):
        if moment != "renamed first" or renamed:
            raise SystemExit
        renamed.append(path)
        replace(partial, path)

    monkeypatch.setattr(Record, "add", add_then_die)
    with pytest.raises(SystemExit):
        job.run(Labelme(0, 1.0), step=9)
    monkeypatch.undo()
    entries, differs = job.run(Labelme(0, 1.0), step=9)
    assert differs is None and [(e.skipped, e.kept) for e in entries] == [(False, ())] * 2
    assert json.loads((job.out / "a.json").read_text())["shapes"]
    with Image.open(job.out / "a.png") as mask:
        assert np.array(mask).sum() == 6
    assert all(e.skipped for e in job.run(Labelme(0, 1.0), step=9)[0])


@pytest.mark.parametrize("cut", [1, 20])
def test_a_line_that_was_cut_short_costs_its_image_alone(job, cut):
    for name in ("a.png", "b.png", "c.png"):
        job.add(name)
    job.run()
    (job.out / LINES).write_text((job.out / LINES).read_text()[:-cut])
    lost = cut > 1
    for skipped in (not lost, True):
        entries, _ = job.run()
        assert [entry.skipped for entry in entries] == [True, True, skipped]


@pytest.mark.parametrize("name", [RECORD, LINES])
def test_a_file_named_as_a_record_that_is_none_is_refused(tmp_path, name):
    (tmp_path / name).write_text("[1, 2]\n")
    with pytest.raises(InputError, match=f"{name} exists already, but is not as this command"):
        Record(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_record_accounts_for_what_was_written_and_for_claimed_lists(job):
    job.add("a.png")
    job.run()
    job.record.claim(job.out / "areas.csv")
    there = Record(job.out)
    names = ("a.png", "areas.csv", "b.png", "a_overlay.png")
    assert [there.accounts(job.out / name) for name in names] == [True, True, False, False]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"outputs": 3}'])
def test_without_a_readable_head_the_lines_still_count(job, text):
    job.add("a.png")
    job.run()
    (job.out / RECORD).write_text(text)
    entries, _ = job.run()
    assert entries[0].skipped
    assert json.loads((job.out / RECORD).read_text())["step"] == 8
