"""Sources → files by a stand-in for the network: what is made, skipped, made anew, or fails."""

import csv
import json
import os
import pathlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segjax.answers.film import write_film
from segjax.answers.lists import Areas, Coco, write_lists
from segjax.answers.outputs import Blur, Frame, Labelme, Mask, Overlay
from segjax.answers.record import RECORD, Record
from segjax.answers.sources import find_sources
from segjax.answers.summary import report
from segjax.answers.work import Work, write_films
from segjax.data.palette import voc_palette
from segjax.errors import RunError

NAMES = ("background", "bright", "never")
MADE_BY = {"run": "/runs/a", "step": 8, "predictor": []}


def bright(images: np.ndarray) -> np.ndarray:
    """Two classes by brightness; an image with a pixel of 13 is refused, as a wrapper might."""
    if (images == 13).any():
        raise ValueError("13 is refused")
    return (images[..., 0] > 99).astype(np.uint8)


class Job:
    """A folder of inputs, one of outputs, and how often the stand-in was asked."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.out, self.asked = folder / "in", folder / "out", 0
        self.folder.mkdir()

    def add(self, name: str, value: int = 200, age: int = 60) -> pathlib.Path:
        pixels = np.zeros((6, 5, 3), np.uint8)
        pixels[1:3, 1:4] = value
        Image.fromarray(pixels).save(self.folder / name)
        return older(self.folder / name, age)

    def run(self, *outputs, made_by=None, inputs=None):
        """(entries, what an older record says differently)."""
        record = Record(self.out, made_by or MADE_BY, (Mask(), *outputs))
        differs = record.begin()
        older(self.out / RECORD, 1)
        record = Record(self.out, made_by or MADE_BY, (Mask(), *outputs))
        record.begin()

        def classes(images):
            self.asked += 1
            return bright(images)

        work = Work(
            classes=classes,
            probabilities=lambda images: np.eye(3, dtype=np.float32)[classes(images)],
            channels=3,
            out=self.out,
            outputs=(Mask(), *outputs),
            record=record,
            class_names=NAMES,
            palette=voc_palette(),
        )
        found = find_sources([str(path) for path in inputs or [self.folder]], self.out)
        return [entry for source in found for entry in work.entries(source)], differs


def older(path: pathlib.Path, seconds: int) -> pathlib.Path:
    when = path.stat().st_mtime - seconds
    os.utime(path, (when, when))
    return path


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


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


def test_what_is_finished_is_skipped_and_what_is_missing_or_older_is_made(job):
    for name in ("a.png", "b.png", "c.png"):
        job.add(name)
    job.run(Overlay())
    (job.out / "b_overlay.png").unlink()
    job.add("c.png", age=-5)
    job.asked = 0
    entries, differs = job.run(Overlay())
    assert [entry.skipped for entry in entries] == [True, False, False]
    assert job.asked == 2 and differs is None


@pytest.mark.parametrize(
    "made_by, outputs, said",
    [
        ({**MADE_BY, "step": 9}, (Blur((1,), 2.0),), "step is 8 there and 9 here"),
        (MADE_BY, (Blur((1,), 3.0),), "sigma=2.0) there and Blur(kept=(1,), sigma=3.0) here"),
        (MADE_BY, (Blur((1,), 2.0), Overlay()), "Overlay is none there and Overlay() here"),
    ],
)
def test_another_record_makes_everything_anew_and_says_what_differs(
    job, made_by, outputs, said
):
    job.add("a.png")
    job.run(Blur((1,), 2.0))
    older(job.out / "a.png", 30), older(job.out / "a_blur.png", 30)
    entries, differs = job.run(*outputs, made_by=made_by)
    assert said in differs and not entries[0].skipped


def test_files_of_an_older_record_stay_unfinished_when_their_source_comes_later(job):
    job.add("a.png")
    job.run()
    older(job.out / "a.png", 30)
    away = (job.folder / "a.png").rename(job.folder.parent / "away.png")
    job.add("b.png")
    job.run(made_by={**MADE_BY, "step": 9})
    away.rename(job.folder / "a.png")
    entries, differs = job.run(made_by={**MADE_BY, "step": 9})
    assert differs is None and [entry.skipped for entry in entries] == [False, True]


def test_fewer_outputs_than_before_leave_the_record_and_skip(job):
    job.add("a.png")
    job.run(Overlay())
    entries, differs = job.run()
    assert differs is None and entries[0].skipped


@pytest.mark.parametrize("text", ["", "{", "[]", '{"outputs": 3}'])
def test_a_broken_record_is_another_one(job, text):
    job.add("a.png")
    job.run()
    (job.out / RECORD).write_text(text)
    older(job.out / "a.png", 30)
    entries, differs = job.run()
    assert "run is none there" in differs and not entries[0].skipped


def test_each_frame_has_its_files_and_labelmes_frames_an_image(job):
    frames = [Image.new("RGB", (5, 4), (value,) * 3) for value in (0, 120, 240)]
    frames[0].save(job.folder / "m.gif", save_all=True, append_images=frames[1:])
    older(job.folder / "m.gif", 60)
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
    for name, value in (("a.png", 200), ("b.png", 13), ("d.png", 100)):
        job.add(name, value)
    (job.folder / "c.png").write_bytes(b"")
    entries, _ = job.run()
    assert [entry.error is None for entry in entries] == [True, False, False, True]
    with pytest.raises(RunError, match="2 of 4 images have no mask: .*b.png: 13 is refused"):
        report(entries, MADE_BY, out=job.out, as_json=False)
    out, err = capsys.readouterr()
    assert out == f"2 masks of step 8 in {job.out}\n" and "c.png cannot be read" in err


def test_json_is_one_object_with_an_entry_for_each_image(job, capsys):
    job.add("a.png")
    job.run()
    (job.folder / "b.png").write_bytes(b"")
    entries, _ = job.run()
    with pytest.raises(RunError):
        report(entries, MADE_BY, out=job.out, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["step"] == 8
    assert told["counts"] == {"images": 2, "made": 0, "skipped": 1, "failed": 1}
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
    written = write_lists((Areas(NAMES), Coco(NAMES, (1, 2), 0.0)), job.out, entries)
    assert [pathlib.Path(path).name for path in written] == ["areas.csv", "annotations.json"]
    with open(job.out / "areas.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.png"] * 3 + ["b.png"] * 3
    assert [row["pixels"] for row in rows] == ["24", "6", "0", "30", "0", "0"]
    assert [row["fraction"] for row in rows[:3]] == ["0.800000", "0.200000", "0.000000"]
    assert [row["class"] for row in rows[:3]] == list(NAMES)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_loads_the_annotations_and_paints_the_mask(job, capsys):
    job.add("a.png"), job.add("b.png")
    entries, _ = job.run()
    write_lists((Coco(NAMES, (1, 2), 0.0),), job.out, entries)
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
    assert write_lists((Areas(NAMES),), job.out, entries) == []
    assert [path.name for path in job.out.iterdir()] == [RECORD]


def test_overlays_of_a_video_are_a_video_of_its_rate_too(job):
    av = pytest.importorskip("av", reason="PyAV is not installed: no videos to test on.")
    with av.open(str(job.folder / "clip.avi"), "w") as video:
        stream = video.add_stream("mpeg4", rate=7)
        stream.width, stream.height, stream.pix_fmt = 34, 18, "yuv420p"
        for value in (0, 120, 240):
            pixels = np.full((18, 34, 3), value, np.uint8)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        video.mux(stream.encode())
    older(job.folder / "clip.avi", 60)
    entries, _ = job.run(Overlay(), inputs=[job.folder / "clip.avi"])
    assert len(entries) == 3
    (path,) = write_films(entries, job.out)
    written = path.read_bytes()
    with av.open(str(path)) as film:
        assert path.name == "clip_overlay.mp4" and film.streams.video[0].average_rate == 7
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in film.decode(video=0)]
    assert shapes == [(18, 34, 3)] * 3
    again, _ = job.run(Overlay(), inputs=[job.folder / "clip.avi"])
    assert all(entry.skipped for entry in again)
    path.write_bytes(b"kept")
    assert write_films(again, job.out) == [path] and path.read_bytes() == b"kept" != written
    older(entries[1].files[1], -60)
    assert write_films(again, job.out) == [path] and path.read_bytes() != b"kept"


def test_an_odd_side_is_made_even_in_a_film(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: no videos to test on.")
    Image.new("RGB", (17, 33), (200, 30, 30)).save(tmp_path / "p.png")
    write_film(tmp_path / "film.mp4", [tmp_path / "p.png"] * 2, rate=Fraction(30000, 1001))
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [frame.shape for frame in frames] == [(34, 18, 3)] * 2
    np.testing.assert_allclose(frames[0][-1, -1], (200, 30, 30), atol=12)
