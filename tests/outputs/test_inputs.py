"""What inputs name which files, what their outputs are called, and what is refused."""

import pathlib
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.outputs.frames import frames
from segjax.outputs.inputs import Input, check_targets, find_inputs
from segjax.outputs.record import origin

PIXELS = np.zeros((2, 3, 3), np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch) -> pathlib.Path:
    """Below in: a.jpg, below/b.png, below/deep/c.gif of two frames, notes.txt, clip.mp4."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/below/deep").mkdir(parents=True)
    still, other = Image.fromarray(PIXELS), Image.fromarray(PIXELS + 9)
    still.save("in/a.jpg")
    still.save("in/below/b.png")
    still.save("in/below/deep/c.gif", save_all=True, append_images=[other])
    pathlib.Path("in/notes.txt").write_text("no image")
    pathlib.Path("in/clip.mp4").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "inputs, names",
    [
        (["in"], ["a.jpg", "below/b.png", "below/deep/c.gif"]),
        (["in/below/b.png", "in/clip.mp4"], ["b.png", "clip.mp4"]),
        (["in/*"], ["a.jpg", "clip.mp4"]),
        (["in/**/*.[gp][in][fg]"], ["below/b.png", "below/deep/c.gif"]),
        (["in/b*/*.png"], ["below/b.png"]),
    ],
)
def test_files_folders_and_patterns_give_their_images_in_order(here, inputs, names):
    found = find_inputs(inputs, here / "out")
    assert [source.relative.as_posix() for source in found] == names


def test_a_file_whose_name_reads_like_a_pattern_is_itself(here):
    Image.fromarray(PIXELS).save("in/[x].png")
    (source,) = find_inputs(["in/[x].png"], here / "out")
    assert source.relative.name == "[x].png"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("ph [1]/*.png", ["a.png"]),
        ("ph [1]/**/*.png", ["a.png", "[2]/b.png"]),
        ("ph [1]/[2]/*.png", ["b.png"]),
        ("ph*/[2]/*.png", ["ph [1]/[2]/b.png"]),
        ("ph ?[1]/*.png", []),
        ("ph [12]/*.png", ["ph 1/c.png"]),
        ("ph [[]1]/*.png", ["ph [1]/a.png"]),
        ("?h 1/*", ["ph 1/c.png"]),
    ],
)
def test_what_is_there_as_it_is_written_is_itself_also_within_a_pattern(here, pattern, names):
    for name in ("ph [1]/a.png", "ph [1]/[2]/b.png", "ph 1/c.png"):
        pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS).save(name)
    try:
        found = find_inputs([pattern], here / "out")
    except InputError as error:
        assert not names and "[[] is a bracket" in str(error)
        return
    assert sorted(source.relative.as_posix() for source in found) == sorted(names)


def test_patterns_match_what_belongs_to_a_folder(here):
    for name in ("in/._a.jpg", "in/__MACOSX/a.jpg", "in/.old/b.jpg"):
        pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS).save(name)
    pathlib.Path("in/below/back").symlink_to("..")
    pathlib.Path("more").mkdir()
    pathlib.Path("in/linked").symlink_to("../more")
    Image.fromarray(PIXELS).save("more/e.jpg")
    relative = lambda given: [s.relative.as_posix() for s in find_inputs([given], here / "out")]
    assert relative("in/**/*.jpg") == ["a.jpg", "linked/e.jpg"]
    assert relative("in/**/**/*.jpg") == ["a.jpg", "linked/e.jpg"]
    assert relative("in/.o*/*.jpg") == [".old/b.jpg"]
    assert relative("in/__MACOSX/*.jpg") == ["a.jpg"]
    assert relative("in/**") == ["a.jpg", "below/b.png", "below/deep/c.gif"] + [
        "clip.mp4",
        "linked/e.jpg",
    ]
    assert relative(str(here / "i*" / "*.jpg")) == ["in/a.jpg"]


def test_circles_of_links_meet_each_part_of_a_pattern_once(here):
    folders = [here / "web" / str(n) for n in range(12)]
    for folder in folders:
        folder.mkdir(parents=True)
        Image.fromarray(PIXELS).save(folder / "a.png")
    for folder in folders:
        for other in folders:
            (folder / f"to_{other.name}").symlink_to(other)
    # Each ** multiplied the ways by the number of folders: this had not ended after minutes.
    pattern = "web/" + "**/*/" * 8 + "*.png"
    found = find_inputs([pattern], here / "out")
    assert {path.path.resolve() for path in found} == {f / "a.png" for f in folders}
    assert len(found) == 12
    (here / "web" / "up").symlink_to("..")
    assert len(find_inputs(["web/*/*.png"], here / "out")) == 12


def test_names_are_found_in_either_unicode_form_and_near_ones_are_named(here):
    decomposed = unicodedata.normalize("NFD", "café")
    pathlib.Path(decomposed).mkdir()
    Image.fromarray(PIXELS).save(f"{decomposed}/{decomposed}.png")
    for given in ("café", "café/café.png", "caf*/café*", "café/caf?.png"):
        (source,) = find_inputs([given], here / "out")
        assert source.path.name == f"{decomposed}.png"
    with pytest.raises(InputError, match=r"no file or folder in/A.jpg, but there is in/a.jpg"):
        find_inputs(["in/A.jpg"], here / "out")


@pytest.mark.parametrize("to", ["gone.jpg", "b.jpg"])
@pytest.mark.parametrize("given", ["in", "in/*.jpg", "in/**/*.jpg", "in/**", "i?/b.jpg"])
def test_a_link_to_nothing_fails_alone_unless_it_is_named_itself(here, given, to):
    pathlib.Path("in/b.jpg").symlink_to(to)
    pathlib.Path("in/c.txt").symlink_to("gone.txt")
    found = find_inputs([given], here / "out")
    (link,) = [source for source in found if source.path.name == "b.jpg"]
    assert origin(link.path)[1] == -1
    said = f"in/b.jpg is a symbolic link to {to}, which is not"
    for read in (
        lambda: next(frames(link, channels=3)),
        lambda: find_inputs(["in/b.jpg"], here / "out"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            read()
        assert "more" not in str(caught.value)


@pytest.mark.parametrize("given", ["a" * 5000, "in/" + "a" * 5000 + ".jpg", "a" * 5000 + "*/b"])
def test_a_name_that_is_too_long_is_refused_in_a_short_line(here, given):
    with pytest.raises(InputError) as caught:
        find_inputs([given], here / "out")
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_a_picture_of_several_frames_is_numbered_and_one_of_a_single_frame_is_not(here):
    Image.fromarray(PIXELS).save("one.gif")
    Image.fromarray(PIXELS).save(
        "pages.tif", save_all=True, append_images=[Image.new("L", (5, 5))]
    )
    pathlib.Path("broken.gif").write_bytes(b"GIF89a")
    inputs = ["one.gif", "pages.tif", "in/a.jpg", "in/clip.mp4", "broken.gif"]
    found = find_inputs(inputs, here / "out")
    assert [source.frames for source in found] == [None, 2, None, 0, None]
    assert found[1].base(2).as_posix() == "pages/000002"
    assert found[1].name(2) == "pages.tif/000002" and found[2].name(None) == "a.jpg"


@pytest.mark.parametrize(
    "inputs, out, said",
    [
        (["in/none.jpg"], "out", "There is no file or folder in/none.jpg"),
        (["in/*.bmp"], "out", "No image or video matches 'in/*.bmp'"),
        (["in/notes.txt"], "out", "is not an image or a video; known suffixes are .jpg"),
        (["in"], "in/out", "its masks would become inputs"),
        (["in/**/*.png"], "in/out", "its masks would become inputs"),
        (["in/*/*.png"], "in/below", "its masks would become inputs"),
        (["in"], "in/a.jpg", "is a file; name a folder"),
    ],
)
def test_inputs_that_cannot_be_are_refused_in_a_line(here, inputs, out, said):
    with pytest.raises(InputError) as caught:
        find_inputs(inputs, pathlib.Path(out))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["in", "in/**/*.jpg"])
def test_an_output_folder_behind_a_link_of_the_inputs_is_refused(here, given):
    pathlib.Path("store").mkdir()
    pathlib.Path("in/below/linked").symlink_to(here / "store")
    assert find_inputs([given], pathlib.Path("out"))
    with pytest.raises(InputError, match="its masks would become inputs"):
        find_inputs([given], pathlib.Path("store/masks"))


def test_a_pattern_beside_the_output_folder_reads_no_masks(here):
    (here / "out").mkdir()
    assert len(find_inputs(["in/*.jpg"], pathlib.Path("in/out"))) == 1


def still(name: str) -> Input:
    return Input(pathlib.Path("in") / name, pathlib.Path(name))


def check(sources, *, out="out", suffixes=(".png",), ours=lambda path: False):
    lists, reserved = ["areas.csv"], ["areas.csv", "list.json"]
    check_targets(
        sources, pathlib.Path(out), suffixes, lists=lists, reserved=reserved, ours=ours
    )


def moving(name: str) -> Input:
    return Input(pathlib.Path("in") / name, pathlib.Path(name), frames=2)


@pytest.mark.parametrize(
    "sources, shared",
    [
        ((still("a.jpg"), still("a.png")), "out/a.png"),
        ((still("a_overlay.jpg"), still("a.jpg")), "out/a_overlay.png"),
        ((moving("c.gif"), moving("c.webp")), "out/c"),
        ((moving("c.gif"), still("c/000001.jpg")), "out/c/000001.png"),
        ((still("list.jpg"),), "out/list.json"),
    ],
)
def test_two_that_would_share_a_file_are_refused(here, sources, shared):
    suffixes = (".png", "_overlay.png", ".json")
    for order in (sources, sources[::-1]):
        with pytest.raises(InputError, match=f"would both be written to {shared}"):
            check(order, suffixes=suffixes)


def test_a_folder_named_as_a_moving_picture_may_stand_beside_it(here):
    assert check((moving("c.gif"), still("c/other.jpg"))) is None
    with pytest.raises(InputError, match="would both be written to"):
        check((moving("c.gif"), still("c/000001.jpg")))


@pytest.mark.parametrize(
    "source, there",
    [
        (still("a.jpg"), "out/a.png"),
        (still("a.jpg"), "out/areas.csv"),
        (moving("c.gif"), "out/c/000002.png"),
        (moving("c.gif"), "out/c/000007_frame.png"),
        (
            Input(pathlib.Path("in/clip.mp4"), pathlib.Path("clip.mp4"), 0),
            "out/clip/000001.png",
        ),
        (
            Input(pathlib.Path("in/clip.mp4"), pathlib.Path("clip.mp4"), 0),
            "out/clip_overlay.mp4",
        ),
    ],
)
def test_a_file_that_was_there_is_refused_unless_this_command_wrote_it(here, source, there):
    path = here / there
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    with pytest.raises(InputError, match=f"{there} exists already, .* did not write it"):
        check([source], suffixes=(".png", "_overlay.png"))
    check([source], suffixes=(".png", "_overlay.png"), ours=lambda path: True)


def test_files_of_a_folder_that_would_not_be_written_are_no_trouble(here):
    (here / "out/c").mkdir(parents=True)
    for name in ("c/notes.png", "c/000001.txt", "c_overlay.mp4", "b.png"):
        (here / "out" / name).write_bytes(b"by hand")
    assert check([moving("c.gif"), still("a.jpg")]) is None
    with pytest.raises(InputError, match="out/b.png exists already"):
        check([moving("c.gif"), still("b.jpg")])


def test_an_input_is_never_overwritten(here):
    with pytest.raises(InputError, match="in/below/b.png is an input and would be overwritten"):
        check([still("below/b.png")], out="in", ours=lambda path: True)
