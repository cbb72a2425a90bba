import codecs
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segjax.data.faults import collected
from segjax.data.folder import Folder
from segjax.errors import InputError

STEMS = ("a", "b.v2", "c d", "street/é", "#x")


@pytest.fixture
def root(tmp_path):
    for value, stem in enumerate(STEMS):
        for kind, suffix, array in (
            ("images", "jpg", np.full((4, 6, 3), 40 * value)),
            ("masks", "png", np.full((4, 6), value)),
        ):
            path = tmp_path / kind / f"{stem}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)
    return tmp_path


def train(root, **options):
    return Folder("train", str(root), class_names=tuple("01234"), **options)


def names(root, text, *, file="train.txt", **options):
    path = root / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [source.name for source in train(root, **options)._sources()]


def problem(root, text, **options):
    with pytest.raises(InputError) as caught:
        names(root, text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "c d\na\n",
        "c d.jpg\r\na.jpg\r\n",
        codecs.BOM_UTF8 + b"c d\r\n\r\na",
        "# VOC's order\n\nc d.JPG\n  # and one more\na.png\n",
        "images/c d.jpg\n./a.jpg\n",
        "images\\c d.jpg\n.\\a\n",
        "c d.npy\na.npy\n",
    ],
    ids=["stems", "Windows", "BOM", "comments", "with their folder", "backslashes", "arrays"],
)
def test_a_split_list_names_images_in_each_of_these_ways(text, root):
    assert names(root, text) == ["c d", "a"]


def test_a_listed_name_may_have_dots_folders_and_accents_of_either_form(root):
    text = "\n".join(("b.v2", "street/" + unicodedata.normalize("NFD", "é")))
    assert names(root, text) == ["b.v2", "street/é"]


def test_lists_may_lie_in_the_folder_splits(root):
    assert names(root, "a\n", file="splits/train.txt") == ["a"]
    said = problem(root, "a\n")
    assert "has two lists" in said and str(root / "splits/train.txt") in said


def test_held_out_is_refused_beside_lists_in_the_folder_splits(root):
    (root / "splits").mkdir()
    (root / "splits/val.txt").write_text("a\n")
    with pytest.raises(InputError, match="splits/val.txt divides them too"):
        train(root, held_out=0.5).prepare()


@pytest.mark.parametrize("between", [" ", "\t", ", "], ids=["space", "tab", "comma"])
def test_a_list_of_two_columns_pairs_images_with_masks(between, root):
    pairs = (("/images/a.jpg", "/masks/b.v2.png"), ("images/street/é.jpg", "masks/a.png"))
    text = "".join(between.join(pair) + "\n" for pair in pairs)
    assert names(root, text, images="elsewhere") == ["a", "street/é"]
    labels = [example["label"].max() for example in train(root)]
    assert labels == [1, 0]


@pytest.mark.parametrize("between", [" ", "\t", ",", ", "])
@pytest.mark.parametrize("image", ["c d", "c d.e, f"])
def test_names_in_two_columns_may_hold_spaces_and_commas(between, image, root):
    (root / "images/c d.jpg").rename(root / f"images/{image}.jpg")
    line = f"images/{image}.jpg{between}masks/c d.png\n"
    if "," in image and "," in between:
        assert "is not an image and a mask" in problem(
            root, f"images/a.jpg masks/a.png\n{line}"
        )
    else:
        assert names(root, line) == [image]


@pytest.mark.parametrize(
    "odd",
    [
        "image,mask",
        "images/#x.jpg",
        "images/#x.jpg masks/#x.png # good",
        "images/#x.jpg masks/#x.png masks/a.png",
        "images/#x.jpg,masks/#x.png,3",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_line_that_has_not_two_columns_is_named(odd, first, root):
    lines = [odd, "images/a.jpg masks/a.png"]
    said = problem(root, "\n".join(lines if first else lines[::-1]))
    assert f"has files in columns, but its line {odd!r} is not an image and a mask" in said


def test_a_list_of_three_columns_alone_is_refused_too(root):
    said = problem(root, "images/a.jpg masks/a.png masks/b.v2.png\n")
    assert "is not an image and a mask with a tab, a comma or spaces between them" in said


def test_two_columns_do_not_go_with_a_mask_a_class(root):
    with pytest.raises(InputError, match="one mask a class: leave the masks out of the list"):
        (root / "train.txt").write_text("images/a.jpg masks/a.png\n")
        Folder("train", str(root), class_names=("x", "y"), masks=("masks", "m"))._sources()


def test_a_list_of_two_columns_may_hold_whole_paths(root):
    line = f"{root / 'images/a.jpg'} {root / 'masks/a.png'}\n"
    assert names(root, line) == ["a"]


def test_what_a_list_of_two_columns_names_wrongly_is_said(root):
    said = problem(root, "SegNet/a.jpg masks/a.png\nimages/q.jpg masks/a.png\n")
    assert f"names {root / 'SegNet/a.jpg'}, which is missing" in said
    assert f"write paths that begin at {root}" in said and said.endswith("(and 1 more)")
    said = problem(root, "images/a.jpg masks/A.png\n")
    assert f"but there is {root / 'masks/a.png'} (upper and lower case" in said
    said = problem(root, "images/a.jpg masks/a.png\nimages/a.jpg masks/b.v2.png\n")
    assert f"names the image {root / 'images/a.jpg'} in several lines: keep one" in said


WRONG_LINES = {
    "images/a.jpg masks/a.png\nmasks/b.v2.png masks/b.v2.png": (
        "mask_shared",
        "masks/b.v2.png is an image and its own mask",
    ),
    "images/a.jpg masks/a.png\nimages/#x.jpg masks/a.png": (
        "mask_shared",
        "images/#x.jpg have the same mask",
    ),
    "images/a.jpg masks/a.png\nimages/a.png masks/b.v2.png": (
        "name_twice",
        "images/a.jpg and a.png, images of one name",
    ),
    "images/a.jpg masks/a.png\nimages/#x.jpg masks/q.png": (
        "missing_mask",
        "masks/q.png, which is missing",
    ),
    "images/a.jpg masks/a.png\nimages/q.jpg masks/b.v2.png": (
        "missing_image",
        "images/q.jpg, which is missing",
    ),
}


@pytest.mark.parametrize("text", WRONG_LINES)
def test_a_list_of_two_columns_is_checked_as_patterns_are_and_an_audit_sees_it(text, root):
    kind, words = WRONG_LINES[text]
    Image.new("RGB", (6, 4)).save(root / "images/a.png")
    assert words in problem(root, text)
    with collected() as faults:
        assert {"a", "images/a"} & {*names(root, text)}
    assert [fault.kind for fault in faults] == [kind]


def test_an_audit_reads_a_list_of_which_every_file_is_missing(root):
    with collected() as faults:
        assert names(root, "images/q.jpg masks/q.png\n") == []
    assert [fault.kind for fault in faults] == ["missing_image"]
