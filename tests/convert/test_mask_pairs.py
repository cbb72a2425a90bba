"""Which mask belongs to which image, by folders and names."""

import re

import pytest

from segjax.convert.mask_pairs import find_pairs
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError


def pairs(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    found = find_pairs(FolderFiles(folder))
    if found is None:
        return None
    root = folder.resolve()
    return [
        tuple(path.relative_to(root).as_posix() for path in pair) for pair in found.pairs
    ], [path.relative_to(root).as_posix() for path in found.alone]


@pytest.mark.parametrize(
    "pair",
    [
        ("images/a.jpg", "masks/a.png"),
        ("images/a.jpg", "labels/a_mask.png"),
        ("JPEGImages/a.jpg", "Annotations/a.png"),
        ("train/images/a.jpg", "train/masks/a.png"),
        ("images/train/a.jpg", "masks/train/a.png"),
        ("train/a.jpg", "trainannot/a.png"),
        ("train/a.jpg", "train_labels/a_L.png"),
        ("a.jpg", "a_mask.png"),
        ("x/a.png", "x/a-gt.png"),
        ("images/image_0001.png", "masks/gt_0001.png"),
        ("images/image_1.png", "masks/gt_0001.png"),
        ("images/A b.é.JPG", "masks/A b.é.png"),
    ],
)
def test_a_mask_is_found_in_the_layouts_that_people_use(pair, tmp_path):
    assert pairs(tmp_path, *pair) == ([pair], [])


def test_images_without_a_mask_are_told_apart(tmp_path):
    found = pairs(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png")
    assert found == ([("images/a.jpg", "masks/a.png")], ["images/b.jpg"])


def test_names_of_two_splits_are_not_mixed_up(tmp_path):
    paths = [
        f"{split}/{kind}/a.png" for split in ("train", "val") for kind in ("images", "masks")
    ]
    assert pairs(tmp_path, *paths) == (
        [(f"{split}/images/a.png", f"{split}/masks/a.png") for split in ("train", "val")],
        [],
    )


def test_numbers_pair_files_of_two_words(tmp_path):
    paths = [f"images/image_{n}.png" for n in (1, 2)] + [f"masks/gt_{n}.png" for n in (1, 2)]
    assert pairs(tmp_path, *paths) == (
        [(f"images/image_{n}.png", f"masks/gt_{n}.png") for n in (1, 2)],
        [],
    )


def test_photos_alone_are_not_images_with_masks(tmp_path):
    assert pairs(tmp_path, "images/a.jpg", "images/b.jpg", "c.jpg") is None


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ("images/a.jpg", "masks/a.png", "masks/b.png"),
            "masks/b.png has no image of its name: add the image",
        ),
        (
            ("images/scan_7.jpg", "images/a.jpg", "masks/scan7.png", "masks/a.png"),
            "scan7.png has no image of its name; near: .*scan_7.jpg",
        ),
    ],
)
def test_a_mask_without_an_image_is_a_problem_and_the_others_are_paired(
    paths, message, tmp_path
):
    (found, _) = pairs(tmp_path, *paths)
    assert found == [("images/a.jpg", "masks/a.png")]
    (problem,) = find_pairs(FolderFiles(tmp_path)).problems
    assert re.search(message, problem)


def test_masks_of_which_none_has_an_image_are_refused_by_that_reason(tmp_path):
    paths = ("images/train/a.jpg", "images/train/b.jpg", "masks/val/a.png", "masks/val/b.png")
    with pytest.raises(InputError, match=r"a.png has no image of its name.* are 2 such masks"):
        pairs(tmp_path, *paths)


def test_masks_that_share_an_image_are_refused(tmp_path):
    with pytest.raises(InputError, match="share an image"):
        pairs(tmp_path, "images/a.jpg", "masks/a.png", "masks/a_mask.png")
