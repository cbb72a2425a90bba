"""Sources → files by a stand-in for the network: files, frames, lists, films, failures."""

import csv
import json
import pathlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segjax.errors import RunError
from segjax.outputs import writer
from segjax.outputs.kinds import Blur, Frame, Labelme, Mask, Overlay
from segjax.outputs.lists import Areas, Coco, write_lists
from segjax.outputs.record import LINES, RECORD, Record, origin
from segjax.outputs.summary import report
from segjax.outputs.video import write_video
from segjax.outputs.writer import write_videos

COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def files(entries) -> list[str]:
    return [path.name for entry in entries for path in entry.files]


def test_outputs_stand_beside_each_mask_and_soft_ones_have_the_same_mask(job):
    job.add("a.png")
    entries, _ = job.run(Overlay())
    assert files(entries) == ["a.png", "a_overlay.png"]
    hard = (job.out / "a.png").read_bytes()
    (job.out / "a.png").unlink()
    entries, _ = job.run(Overlay(), Blur((1,), 2.0))
    assert files(entries) == ["a.png", "a_overlay.png", "a_blur.png"]
    assert (job.out / "a.png").read_bytes() == hard


def test_each_frame_has_its_files_and_labelmes_frames_an_image(job):
    frames = [Image.new("RGB", (5, 4), (value,) * 3) for value in (0, 120, 240)]
    frames[0].save(job.folder / "m.gif", save_all=True, append_images=frames[1:])
    job.older(job.folder / "m.gif", 60)
    entries, _ = job.run(Labelme(0, 1.0))
    assert [entry.name for entry in entries] == [f"m.gif/00000{n}" for n in (1, 2, 3)]
    kinds = (Mask, Labelme, Frame)
    expected = [f"00000{n}{kind.suffix}" for n in (1, 2, 3) for kind in kinds]
    assert files(entries) == expected
    assert all((job.out / "m" / name).is_file() for name in expected)
    (job.out / "m" / "000002.png").unlink()
    again, _ = job.run(Labelme(0, 1.0))
    assert [entry.skipped for entry in again] == [True, False, True]


def test_a_bad_file_leaves_the_others_and_is_told_at_the_end(job, capsys):
    for name, value in (("a.png", 200), ("b.png", 13), ("d.png", 100), ("e.png", 14)):
        job.add(name, value)
    (job.folder / "c.png").write_bytes(b"")
    job.add("f.png", 150)
    entries, _ = job.run()
    assert [entry.error is None for entry in entries] == [True, False, False, True, False, True]
    with pytest.raises(RunError, match="3 of 6 images have no mask: .*b.png: 13 is refused"):
        report(entries, job.made_by(8), weights="step 8", out=job.out, as_json=False)
    out, err = capsys.readouterr()
    assert out == f"3 masks of step 8 in {job.out}\n" and "c.png cannot be read" in err


def test_a_link_to_nothing_and_a_name_with_a_line_end_are_each_told_in_a_line(job, capsys):
    job.add("a.png")
    (job.folder / "b\nc.png").write_bytes(b"no image")
    (job.folder / "d.png").symlink_to("gone.png")
    (job.folder / "e.png").symlink_to("e.png")
    job.add("f.png")
    entries, _ = job.run()
    assert [entry.error is None for entry in entries] == [True, False, False, False, True]
    with pytest.raises(RunError, match="3 of 5 images have no mask"):
        report(entries, job.made_by(8), weights="step 8", out=job.out, as_json=False)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" is ")[0] for line in lines] == [
        f"predict: {job.folder / name}" for name in ("d.png", "e.png")
    ]
    (job.folder / "a.png").unlink()
    entries, _ = job.run()
    with pytest.raises(RunError):
        report([entries[2], *entries], job.made_by(8), weights="w", out=job.out, as_json=True)
    assert "b\\nc.png cannot be read" in capsys.readouterr().err


def test_an_image_without_enough_memory_leaves_the_others(job):
    for name, value in (("a.png", 15), ("b.png", 16), ("c.png", 17), ("d.png", 200)):
        job.add(name, value)
    entries, _ = job.run(Overlay())
    assert files(entries) == ["d.png", "d_overlay.png"]
    assert all("not enough memory for 5 x 6 pixels" in each.error for each in entries[:3])


def test_a_file_that_vanishes_leaves_the_others(job, monkeypatch):
    for name in ("a.png", "b.png"):
        job.add(name)
    monkeypatch.setattr(writer, "origin", lambda path: _removed(path, origin(path)))
    entries, _ = job.run()
    assert [entry.error is None for entry in entries] == [False, True]
    assert "a.png cannot be read" in entries[0].error


def _removed(path, there):
    """Returns `there`; the first file is gone by then."""
    if path.name == "a.png":
        path.unlink()
    return there


def test_json_is_one_object_with_an_entry_for_each_image(job, capsys):
    job.add("a.png")
    job.run()
    (job.folder / "b.png").write_bytes(b"")
    entries, _ = job.run()
    with pytest.raises(RunError):
        report(entries, job.made_by(8), weights="step 8", out=job.out, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["step"] == 8
    assert told["counts"] == {"images": 2, "made": 0, "skipped": 1, "failed": 1, "kept": 0}
    good, bad = told["images"]
    assert good["outputs"] == [str(job.out / "a.png")] and good["skipped"]
    assert "b.png" in bad["error"] and bad["name"] == "b.png" and "outputs" not in bad


def test_lists_hold_all_images_with_a_mask_skipped_ones_included(job):
    job.add("a.png")
    job.run()
    job.add("b.png", 0)
    (job.folder / "c.png").write_bytes(b"")
    entries, _ = job.run()
    assert [entry.skipped for entry in entries] == [True, False, False]
    written = write_lists(
        (Areas(job.names, COLOURS), Coco(job.names, (1, 2), 0.0)),
        job.out,
        entries,
        record=job.record,
    )
    assert [pathlib.Path(path).name for path in written] == ["areas.csv", "annotations.json"]
    assert all(Record(job.out).accounts(pathlib.Path(path)) for path in written)
    with open(job.out / "areas.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.png"] * 3 + ["b.png"] * 3
    assert [row["pixels"] for row in rows] == ["24", "6", "0", "30", "0", "0"]
    assert [row["fraction"] for row in rows[:3]] == ["0.800000", "0.200000", "0.000000"]
    assert [row["class"] for row in rows[:3]] == list(job.names)
    assert [row["colour"] for row in rows[:3]] == ["#000000", "#800000", "#008000"]


def test_lists_name_frames_by_their_numbers_and_coco_by_their_files(job):
    frames = [Image.new("RGB", (5, 4), (value,) * 3) for value in (0, 240)]
    frames[0].save(job.folder / "m.gif", save_all=True, append_images=frames[1:])
    entries, _ = job.run(Labelme(0, 1.0))
    write_lists(
        (Areas(job.names, COLOURS), Coco(job.names, (1,), 0.0)),
        job.out,
        entries,
        record=job.record,
    )
    images = json.loads((job.out / "annotations.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [f"m/00000{n}_frame.png" for n in "12"]
    assert all((job.out / image["file_name"]).is_file() for image in images)
    assert (job.out / "areas.csv").read_text().splitlines()[1].startswith("m.gif/000001,")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_loads_the_annotations_and_paints_the_mask(job, capsys):
    job.add("a.png"), job.add("b.png")
    entries, _ = job.run()
    write_lists((Coco(job.names, (1, 2), 0.0),), job.out, entries, record=job.record)
    coco = COCO(job.out / "annotations.json")
    assert [category["name"] for category in coco.loadCats([2, 3])] == ["bright", "never"]
    assert coco.getImgIds() == [1, 2]
    for image in coco.loadImgs(coco.getImgIds()):
        (annotation,) = coco.loadAnns(coco.getAnnIds(image["id"]))
        with Image.open(job.out / image["file_name"]) as mask:
            np.testing.assert_array_equal(coco.annToMask(annotation), np.array(mask))
        assert annotation["area"] == 6 and annotation["bbox"] == [1, 1, 3, 2]


def test_lists_without_any_mask_are_not_written(job):
    (job.folder / "c.png").write_bytes(b"")
    entries, _ = job.run()
    assert write_lists((Areas(job.names, COLOURS),), job.out, entries, record=job.record) == []
    assert {path.name for path in job.out.iterdir()} == {RECORD, LINES}


def test_overlays_of_a_video_are_a_video_of_its_rate_too(job):
    av = pytest.importorskip("av", reason="PyAV is not installed: no videos to test on.")
    with av.open(str(job.folder / "clip.avi"), "w") as video:
        stream = video.add_stream("mpeg4", rate=7)
        stream.width, stream.height, stream.pix_fmt = 34, 18, "yuv420p"
        for value in (0, 120, 240):
            pixels = np.full((18, 34, 3), value, np.uint8)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        video.mux(stream.encode())
    job.older(job.folder / "clip.avi", 60)
    entries, _ = job.run(Overlay(), inputs=[job.folder / "clip.avi"])
    assert len(entries) == 3
    (path,) = write_videos(entries, job.out, record=job.record)
    written = path.read_bytes()
    with av.open(str(path)) as film:
        assert job.record.accounts(path) and path.name == "clip_overlay.mp4"
        assert film.streams.video[0].average_rate == 7
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in film.decode(video=0)]
    assert shapes == [(18, 34, 3)] * 3
    again, _ = job.run(Overlay(), inputs=[job.folder / "clip.avi"])
    assert all(entry.skipped for entry in again)
    path.write_bytes(b"kept")
    assert (
        write_videos(again, job.out, record=job.record) == [path]
        and path.read_bytes() == b"kept" != written
    )
    job.older(entries[1].files[1], -60)
    assert (
        write_videos(again, job.out, record=job.record) == [path]
        and path.read_bytes() != b"kept"
    )


def test_an_odd_side_is_made_even_in_a_film(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: no videos to test on.")
    Image.new("RGB", (17, 33), (200, 30, 30)).save(tmp_path / "p.png")
    write_video(tmp_path / "film.mp4", [tmp_path / "p.png"] * 2, rate=Fraction(30000, 1001))
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [frame.shape for frame in frames] == [(34, 18, 3)] * 2
    np.testing.assert_allclose(frames[0][-1, -1], (200, 30, 30), atol=12)
