"""Frames of pictures and videos; files that are broken, too large or too deep."""

import pathlib
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from segjax.data.decode import Limit
from segjax.errors import InputError
from segjax.outputs.frames import av_library, expected_frames, frames
from segjax.outputs.inputs import find_inputs

RNG = np.random.default_rng(0)
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]


def source(path: pathlib.Path):
    (found,) = find_inputs([str(path)], path.parent / "out")
    return found


def read(path: pathlib.Path, *, channels: int = 3) -> list[np.ndarray]:
    return list(frames(source(path), channels=channels))


@pytest.mark.parametrize(
    "suffix, options", [("gif", {}), ("png", {}), ("tif", {}), ("webp", {"lossless": 1})]
)
def test_each_frame_comes_in_order(tmp_path, suffix, options):
    first, *others = (Image.new("RGB", (9, 7), colour) for colour in COLOURS)
    path = tmp_path / f"moving.{suffix}"
    first.save(path, save_all=True, append_images=others, **options)
    found = read(path)
    assert [frame.shape for frame in found] == [(7, 9, 3)] * 3
    assert [tuple(frame[3, 3].tolist()) for frame in found] == COLOURS
    assert [frame.shape for frame in read(path, channels=1)] == [(7, 9, 1)] * 3


def test_pages_may_differ_in_size_and_kind(tmp_path):
    grey = Image.fromarray(RNG.integers(0, 256, (4, 5)).astype(np.uint8))
    alpha = Image.new("RGBA", (6, 2), (9, 8, 7, 100))
    grey.save(tmp_path / "pages.tif", save_all=True, append_images=[alpha])
    first, second = read(tmp_path / "pages.tif")
    np.testing.assert_array_equal(first, np.repeat(np.array(grey)[..., None], 3, -1))
    assert second.shape == (2, 6, 3) and second[0, 0].tolist() == [9, 8, 7]


def test_a_page_that_is_too_deep_is_named_after_those_before_it(tmp_path):
    deep = Image.fromarray(np.full((4, 5), 40_000, np.uint16))
    Image.new("L", (5, 4)).save(tmp_path / "p.tif", save_all=True, append_images=[deep])
    found = frames(source(tmp_path / "p.tif"), channels=3)
    assert next(found).shape == (4, 5, 3)
    with pytest.raises(InputError, match=r"p.tif, image 2, has more than 8 bits"):
        next(found)


def test_a_moving_picture_that_ends_early_is_named(tmp_path):
    noise = [Image.fromarray(RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)) for _ in "123"]
    noise[0].save(tmp_path / "m.webp", save_all=True, append_images=noise[1:])
    whole = (tmp_path / "m.webp").read_bytes()
    named = source(tmp_path / "m.webp")
    (tmp_path / "m.webp").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="m.webp"):
        list(frames(named, channels=3))


@pytest.mark.parametrize("name", ["bomb.png", "bomb.gif"])
def test_an_image_above_the_limit_is_named_with_the_option_that_allows_it(
    tmp_path, monkeypatch, name
):
    Image.new("L", (50, 50)).save(tmp_path / name, save_all=True)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    line = rf"{name} has 1 megapixels \(50 x 50\), and the limit is 0.001: .*--most 1\."
    with pytest.raises(InputError, match=line):
        list(frames(source(tmp_path / name), channels=3, limit=Limit(0.001, "--most {}")))


def test_an_image_above_the_limit_is_read_where_the_limit_is_raised(tmp_path, monkeypatch):
    Image.new("L", (50, 50)).save(tmp_path / "scan.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (found,) = frames(source(tmp_path / "scan.png"), channels=1, limit=Limit(0.0025))
    assert found.shape == (50, 50, 1) and Image.MAX_IMAGE_PIXELS == 1000


def test_a_later_page_that_is_too_large_is_named_too(tmp_path):
    pages = [Image.new("L", (50, 50))]
    Image.new("L", (5, 5)).save(tmp_path / "b.tif", save_all=True, append_images=pages)
    found = frames(source(tmp_path / "b.tif"), channels=3, limit=Limit(0.001))
    assert next(found).shape == (5, 5, 3)
    with pytest.raises(InputError, match=r"b.tif, image 2, has 1 megapixels \(50 x 50\)"):
        next(found)


@pytest.mark.parametrize("contents", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_file_that_is_no_image_is_named(tmp_path, contents):
    (tmp_path / "x.png").write_bytes(contents)
    with pytest.raises(InputError, match="x.png cannot be read as an image"):
        read(tmp_path / "x.png")


def test_an_image_is_turned_as_the_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RNG.integers(0, 256, (4, 9, 3)).astype(np.uint8)).save(
        tmp_path / "turned.png", exif=exif
    )
    assert read(tmp_path / "turned.png")[0].shape == (9, 4, 3)


def test_without_pyav_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'segjax\[video\]'"):
        av_library()


def write_video(path: pathlib.Path, *, left: int | None = None):
    """Five frames of 32 × 16 pixels, each of its own brightness, or another on the left."""
    av = pytest.importorskip("av", reason="PyAV is not installed: no videos to test on.")
    with av.open(str(path), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for index in range(5):
            grey = np.full((16, 32, 3), 40 * index + 20, np.uint8)
            grey[:, :16] = grey[0, 0, 0] if left is None else left
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "avi", "mkv"])
def test_a_videos_frames_come_in_order(tmp_path, suffix):
    write_video(tmp_path / f"clip.{suffix}")
    found = read(tmp_path / f"clip.{suffix}")
    assert [frame.shape for frame in found] == [(16, 32, 3)] * 5
    np.testing.assert_allclose([f.mean() for f in found], [20, 60, 100, 140, 180], atol=6)
    assert expected_frames(source(tmp_path / f"clip.{suffix}")) == 5
    grey = read(tmp_path / f"clip.{suffix}", channels=1)
    assert [frame.shape for frame in grey] == [(16, 32, 1)] * 5


def test_a_video_is_turned_as_a_player_turns_it(tmp_path):
    write_video(tmp_path / "clip.mp4", left=0)
    straight = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    contents = (tmp_path / "clip.mp4").read_bytes()
    track = contents.index(b"tkhd")
    turned = contents[:track] + contents[track:].replace(straight, clockwise, 1)
    (tmp_path / "clip.mp4").write_bytes(turned)
    frame = read(tmp_path / "clip.mp4")[-1]
    assert frame.shape == (32, 16, 3)
    assert frame[:12].mean() < 20 and frame[20:].mean() > 160


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_video_that_is_cut_short_is_named(tmp_path, share):
    write_video(tmp_path / "clip.mp4")
    whole = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="clip.mp4"):
        read(tmp_path / "clip.mp4")


def test_a_file_that_is_no_video_counts_as_one_image(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed: no videos to test on.")
    (tmp_path / "clip.mkv").write_bytes(b"no video")
    assert expected_frames(source(tmp_path / "clip.mkv")) == 1


def test_images_of_other_channels_and_depths_are_read_as_they_are(tmp_path):
    array = RNG.integers(0, 2**16, (4, 5, 6), np.uint16)
    np.save(tmp_path / "a.npy", array)
    (found,) = frames(source(tmp_path / "a.npy"), channels=6, dtype="uint16")
    np.testing.assert_array_equal(found, array)
    Image.fromarray(array[..., 0]).save(tmp_path / "grey.png")
    (found,) = frames(source(tmp_path / "grey.png"), channels=1, dtype="uint16")
    np.testing.assert_array_equal(found, array[..., :1])
    with pytest.raises(InputError, match="has 6 channel.s., but the dataset has channels=3"):
        list(frames(source(tmp_path / "a.npy"), channels=3, dtype="uint16"))
    (tmp_path / "film.mp4").touch()
    with pytest.raises(InputError, match="is a video, but the network's images have 6 channel"):
        list(frames(source(tmp_path / "film.mp4"), channels=6, dtype="uint16"))


def test_arrays_are_inputs_where_a_folder_holds_no_pictures(tmp_path):
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.zeros((2, 3), np.uint8))
    found = find_inputs([str(tmp_path)], tmp_path.parent / "out")
    assert [each.path.name for each in found] == ["a.npy", "b.npy"]
    Image.new("L", (3, 2)).save(tmp_path / "c.png")
    found = find_inputs([str(tmp_path)], tmp_path.parent / "out")
    assert [each.path.name for each in found] == ["c.png"]
