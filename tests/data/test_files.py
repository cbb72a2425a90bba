"""What belongs to a folder, and how images find their masks."""

import errno
import inspect
import os
import pathlib
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segjax.convert.source_files import FolderFiles
from segjax.data.files import IMAGES, MASKS, Place, by_stem, members, paired
from segjax.data.folder import Folder
from segjax.errors import InputError
from segjax.outputs.inputs import find_inputs


def touch(*paths: pathlib.Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder: pathlib.Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in members(folder, IMAGES)]


CLUTTER = ("._a.jpg", ".hidden.png", ".ipynb_checkpoints/a.png", "__MACOSX/._a.jpg")
CLUTTER += ("__MACOSX/a.jpg", "@eaDir/a.jpg/thumb.jpg", "$RECYCLE.BIN/b.png", "Thumbs.db")


def test_hidden_files_and_what_systems_leave_behind_do_not_belong_to_a_folder(tmp_path):
    touch(*(tmp_path / name for name in ("a.jpg", "b.PNG", "deep/er/c.tif", *CLUTTER)))
    assert names(tmp_path) == ["a.jpg", "b.PNG", "deep/er/c.tif"]


def test_a_dataset_and_predict_take_the_same_files_of_a_folder(tmp_path):
    images, elsewhere = tmp_path / "images", tmp_path / "elsewhere"
    touch(*(images / name for name in ("a.jpg", "b/c.PNG", *CLUTTER)))
    touch(elsewhere / "d.png")
    (images / "linked").symlink_to(elsewhere)
    (images / "b" / "back").symlink_to(images)
    taken = [source.relative for source in find_inputs([str(images)], tmp_path / "out")]
    assert sorted(by_stem(images, IMAGES).values()) == [images / path for path in taken]
    assert names(images) == ["a.jpg", "b/c.PNG", "linked/d.png"]


def test_links_to_folders_and_files_are_followed(tmp_path):
    touch(tmp_path / "store" / "a.jpg", tmp_path / "store" / "b" / "c.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "z.jpg").symlink_to("../store/a.jpg")
    assert names(tmp_path / "in") == ["one/a.jpg", "one/b/c.jpg", "z.jpg"]
    (tmp_path / "link").symlink_to("in")
    assert len(names(tmp_path / "link")) == 3


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ({"one": "real"}, ["real/a.jpg", "real/deep/b.jpg"]),
        (
            {"two": "../store", "one": "../store"},
            ["one/s.jpg", "real/a.jpg", "real/deep/b.jpg"],
        ),
        (
            {"one": "real/deep", "real/z": "../../store", "two": "real/z"},
            ["real/a.jpg", "real/deep/b.jpg", "real/z/s.jpg"],
        ),
    ],
)
def test_a_folder_behind_several_ways_counts_once_without_links_if_it_can(
    links, found, tmp_path
):
    touch(tmp_path / "in/real/a.jpg", tmp_path / "in/real/deep/b.jpg", tmp_path / "store/s.jpg")
    for link, target in links.items():
        (tmp_path / "in" / link).symlink_to(target)
    assert names(tmp_path / "in") == found


def test_folders_that_all_link_to_each_other_are_walked_once_each(tmp_path):
    folders = [tmp_path / str(n) for n in range(9)]
    touch(*(folder / "a.jpg" for folder in folders))
    for folder in folders:
        for other in folders:
            (folder / f"to_{other.name}").symlink_to(other)
    assert names(tmp_path) == [f"{folder.name}/a.jpg" for folder in folders]
    given = str(tmp_path / "**" / "**" / "*.jpg")
    assert len(find_inputs([given], tmp_path.parent / "out")) == 9


def test_links_back_to_a_folder_above_end(tmp_path):
    touch(tmp_path / "in" / "a.jpg", tmp_path / "in" / "b" / "c.jpg", tmp_path / "mask.png")
    (tmp_path / "in" / "b" / "up").symlink_to("..")
    (tmp_path / "in" / "self").symlink_to(".")
    (tmp_path / "in" / "root").symlink_to(tmp_path)
    (tmp_path / "in" / "x").symlink_to("x")
    assert names(tmp_path / "in") == ["a.jpg", "b/c.jpg"]


def test_links_to_nothing_are_refused_and_counted(tmp_path):
    for name in ("a.png", "b.png", "notes.txt"):
        (tmp_path / name).symlink_to(f"gone/{name}")
    with pytest.raises(InputError) as caught:
        members(tmp_path, IMAGES)
    assert str(caught.value).startswith(
        f"{tmp_path / 'a.png'} is a symbolic link to gone/a.png"
    )
    assert str(caught.value).endswith("(and 1 more)")


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    touch(tmp_path / "a.jpg", tmp_path / "closed" / "b.jpg")
    listdir = os.listdir

    def refuse(path):
        if pathlib.Path(path).name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(InputError, match="closed cannot be read .Permission denied."):
        members(tmp_path, IMAGES)


def pairs(root: pathlib.Path, stems=None):
    images, masks = root / "images", root / "masks"
    found_images, found_masks = by_stem(images, IMAGES), by_stem(masks, MASKS)
    stems = sorted(found_images.keys() | found_masks.keys()) if stems is None else stems
    return paired(
        found_images,
        found_masks,
        stems,
        image_place=Place(images, IMAGES),
        mask_place=Place(masks, MASKS),
    )


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_image_and_its_mask_pair_in_either_unicode_form(form, tmp_path):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    touch(tmp_path / "images" / unicodedata.normalize(form, "café.jpg"))
    touch(tmp_path / "masks" / unicodedata.normalize(other, "café.png"))
    (source,) = pairs(tmp_path)
    assert source.name == "café" and source.image.exists() and source.label.exists()


def test_folders_lists_and_splits_are_found_in_either_unicode_form(tmp_path, monkeypatch):
    decomposed = unicodedata.normalize("NFD", "été")
    for folder, pixels in (("images", np.zeros((4, 4, 3))), ("masks", np.zeros((4, 4)))):
        for stem in (decomposed, "b"):
            path = tmp_path / decomposed / folder / decomposed / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    data = Folder("été", directory=str(tmp_path / "été"), class_names=("a",))
    assert [example["name"] for example in data] == ["b", "été"]
    (tmp_path / decomposed / f"{decomposed}.txt").write_text("été/été\n", encoding="utf-8")
    data = Folder("été", directory=str(tmp_path / "été"), class_names=("a",))
    assert [example["name"] for example in data] == ["été/été"]


@pytest.mark.parametrize("suffix", IMAGES)
def test_a_dataset_reads_every_kind_of_picture_that_predict_reads(suffix, tmp_path):
    for folder, name in (("images", f"a{suffix}"), ("masks", "a.png")):
        (tmp_path / folder).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / folder / name)
    assert len(find_inputs([str(tmp_path / "images")], tmp_path / "out")) == 1
    data = Folder(directory=str(tmp_path), class_names=("a",))
    assert [example["name"] for example in data] == ["a"]


def test_a_name_that_is_no_text_is_printed_as_escapes(tmp_path):
    touch(*(tmp_path / folder / "caf\udce9.png" for folder in ("images", "masks")))
    (source,) = pairs(tmp_path)
    assert source.name == r"caf\udce9" and source.image.exists()


@pytest.mark.parametrize(
    ("image", "mask", "said"),
    [
        ("a.png", "a.jpg", "there is a.jpg, which changes class ids: save masks as PNG"),
        (
            "a.png",
            "a.npy",
            "there is a.npy, which is read only where a pattern names .npy, as "
            'mask="masks/{stem}.npy" does',
        ),
        ("a.png", "a.txt", "there is a.txt, which is not read"),
        ("A.JPG", "a.png", "masks/a.png (upper and lower case or spaces differ), but names"),
        ("a.jpg", "a .png", "masks/a .png (upper and lower case or spaces differ), but names"),
        ("a.jpg", "a_mask.png", "masks/a_mask.png (its name goes on), but names must be equal"),
        ("a.jpg", "street/a.png", "masks/street/a.png (in another folder), but names must be"),
        ("street_12.jpg", "sreet_12.png", "masks/sreet_12.png (the nearest name), but names"),
        ("a.jpg", "qqq.png", "(.png .bmp .tif .tiff .gif): add the mask"),
    ],
)
def test_a_missing_mask_has_named_what_lies_there_and_why_it_was_not_taken(
    image, mask, said, tmp_path
):
    touch(tmp_path / "images" / image, tmp_path / "masks" / mask)
    with pytest.raises(InputError) as caught:
        pairs(tmp_path, [pathlib.Path(image).stem])
    message = str(caught.value)
    assert message.startswith(f"The image {tmp_path / 'images' / image} has no mask")
    assert said in message and "remove" not in message and "delete" not in message


def test_the_files_of_another_pair_are_no_near_fit(tmp_path):
    for number in (1, 3):
        touch(tmp_path / f"images/frame_{number}.jpg", tmp_path / f"masks/frame_{number}.png")
    touch(tmp_path / "images/frame_2.jpg")
    with pytest.raises(InputError) as caught:
        pairs(tmp_path)
    assert "frame_2.jpg has no mask" in str(caught.value) and "there is" not in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("listed", "image", "said"),
    [
        ("images/a", "a.png", "images/a.png (in another folder)"),
        ("A", "a.png", "images/a.png (upper and lower case"),
        ("a", "a.heic", "there is a.heic, which is not read"),
        ("a", "a.npy", 'names .npy, as image="images/{stem}.npy" does'),
        (
            "images/a.jpg masks/a",
            "a.png",
            "; a line is one name, or an image and its mask, wit",
        ),
        ('"qqqq"', "b.png", "; a line is one name, or an image and its mask, wit"),
    ],
)
def test_a_listed_name_without_image_has_named_what_nearly_fits(listed, image, said, tmp_path):
    touch(tmp_path / "images" / image)
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError) as caught:
        pairs(tmp_path, [listed])
    message = str(caught.value)
    assert f"The listed name {listed!r} has no image" in message and said in message


def test_two_files_of_one_name_are_told_apart_and_never_to_be_deleted(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "a.png")
    with pytest.raises(InputError) as caught:
        by_stem(tmp_path, IMAGES)
    assert "a.png and a.jpg share a name, and" in str(caught.value)
    assert "if one is the mask of the other, move it to the folder of masks" in str(
        caught.value
    )
    touch(tmp_path / "masks" / "a.png", tmp_path / "masks" / "a.tif")
    with pytest.raises(InputError, match="share a name, .* one of them out of this folder"):
        by_stem(tmp_path / "masks", MASKS)
    touch(*(tmp_path / "b" / unicodedata.normalize(f, "é.png") for f in ("NFC", "NFD")))
    with pytest.raises(InputError, match="is there twice, with accents as characters of their"):
        by_stem(tmp_path / "b", IMAGES)


def test_a_missing_folder_has_its_near_neighbour_named(tmp_path):
    (tmp_path / "Images").mkdir()
    with pytest.raises(InputError, match="images is missing, but there is .*/Images .upper"):
        by_stem(tmp_path / "images", IMAGES)
    with pytest.raises(InputError, match="not a folder, but there is .*/Images .upper"):
        Folder(directory=str(tmp_path / "IMAGES"), class_names=("a",)).prepare()


FOLDERS = 250


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """A folder with a file below more folders than Python allows calls."""
    monkeypatch.chdir(tmp_path)
    for _ in range(FOLDERS):
        os.mkdir("d")
        os.chdir("d")
    pathlib.Path("a.jpg").touch()
    yield tmp_path
    os.remove("a.jpg")  # By hand: shutil calls itself for each folder.
    for _ in range(FOLDERS):
        os.chdir("..")
        os.rmdir("d")


def test_folders_nested_more_deeply_than_calls_are_walked(deep):
    most = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + FOLDERS - 50)
    try:
        _check_deep(deep)
    finally:
        sys.setrecursionlimit(most)


def _check_deep(deep):
    assert [path.name for path in members(deep, IMAGES)] == ["a.jpg"]
    assert [path.name for path in FolderFiles(deep).find(".jpg")] == ["a.jpg"]
    assert len(find_inputs([str(deep / "**" / "*.jpg")], deep.parent / "out")) == 1
