"""A folder divided by its images' names."""

import re

import numpy as np
import pytest
from PIL import Image

from segjax.data.folder import Folder
from segjax.data.hold_out import held_out_side, position
from segjax.errors import InputError

KNOWN = {"a": "ca978112ca1bbd", "street/é": "e4ec324d3f60fb"}
"""The first digits of sha256sum's answer for the name in UTF-8."""


def side(names, side="val", share=0.2):
    return held_out_side(names, side, share, name=str, what="my_data")


def save(root, stem, pages=1):
    for kind in ("images", "masks"):
        path = root / kind / f"{stem}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *more = [Image.fromarray(np.zeros((4, 6), np.uint8)) for _ in range(pages)]
        first.save(path, save_all=True, append_images=more)


def folder(root, split, **options):
    options = {"held_out": 0.3, **options}
    return Folder(split, directory=str(root), class_names=("a",), **options)


def names(root, split, **options):
    return [example["name"] for example in folder(root, split, **options)]


@pytest.mark.parametrize("name", KNOWN)
def test_a_names_position_is_its_hash_on_every_machine(name):
    assert position(name) == pytest.approx(int(KNOWN[name], 16) / 16**14, abs=1e-12)
    assert position("street/é") == position("street/e\u0301")


def test_the_sides_are_disjoint_and_together_everything():
    everything = [f"image{i}" for i in range(1000)]
    val, train = side(everything), side(everything, "train")
    assert sorted(val + train) == sorted(everything) and 160 < len(val) < 240
    assert set(side(everything, share=0.1)) < set(val)


def test_images_added_later_move_none_of_the_others():
    first, more = [f"{i}" for i in range(50)], [f"new{i}" for i in range(50)]
    assert [n for n in side(first + more) if n in first] == side(first)


def test_a_folder_is_divided_without_touching_it_and_pages_stay_together(tmp_path):
    for i in range(12):
        save(tmp_path, f"s/{i}", pages=3)
    train, val = names(tmp_path, "train"), names(tmp_path, "val")
    assert len(train) + len(val) == 36 and not set(train) & set(val) and val
    stems = lambda found: {name.rpartition("/")[0] for name in found}
    assert not stems(train) & stems(val)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == [
        "images",
        "masks",
    ]


def test_an_empty_side_is_refused_with_a_share_for_both_that_is_enough(tmp_path):
    for name in ("a", "b"):  # Their positions are 0.79 and 0.24.
        save(tmp_path, name)
    with pytest.raises(InputError) as caught:
        folder(tmp_path, "val", held_out=0.2).prepare()
    assert str(caught.value) == (
        f"held_out=0.2 leaves no image to the split 'val' of the 2 in {tmp_path}: set "
        "held_out=0.25 in both train_data and eval_data, or list the names of each split in "
        "train.txt and val.txt."
    )
    assert names(tmp_path, "val", held_out=0.25) == ["b"]
    with pytest.raises(
        InputError, match=r"no image to the split 'train' .* set held_out=0\.79 "
    ):
        folder(tmp_path, "train", held_out=0.9).prepare()
    assert names(tmp_path, "train", held_out=0.79) == ["a"]


@pytest.mark.parametrize("count", range(1, 12))
@pytest.mark.parametrize(("empty", "share"), [("val", 1e-9), ("train", 0.999999999)])
def test_a_share_that_is_said_leaves_images_to_both_sides(count, empty, share):
    everything = [f"{i}" for i in range(count)]
    with pytest.raises(InputError) as caught:
        side(everything, empty, share)
    said = re.fullmatch(
        rf"held_out={share} .*: set held_out=(\S+) in both .*", str(caught.value)
    )
    assert (said is None) == (count == 1) and ("add images" in str(caught.value)) == (
        count == 1
    )
    if said:
        share = float(said[1])
        assert side(everything, "val", share) and side(everything, "train", share)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_share_may_be_a_numpy_number(dtype, tmp_path):
    for i in range(12):
        save(tmp_path, f"{i}")
    assert names(tmp_path, "val", held_out=dtype(0.5)) == names(tmp_path, "val", held_out=0.5)


@pytest.mark.parametrize("other", ["train.txt", "val.txt", "images/val"])
def test_a_folder_that_has_splits_is_not_divided_again(other, tmp_path):
    save(tmp_path, "a")
    if other.endswith("txt"):
        (tmp_path / other).write_text("a\n")
    else:
        (tmp_path / other).mkdir()
    with pytest.raises(InputError, match=f"divides the images by .*{other} divides them too"):
        folder(tmp_path, "train").prepare()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"held_out": 0.0, "split": "val"}, "held_out=0.0: give the share"),
        ({"held_out": 20, "split": "val"}, "held_out=20: give the share .* between 0 and 1"),
        ({"held_out": True, "split": "val"}, "held_out=True: give the share"),
        ({"held_out": 0.2}, "held_out=0.2 and split=None: set split='train'"),
        ({"held_out": 0.2, "split": "test"}, "split='test': set split='train'"),
    ],
    ids=str,
)
def test_a_share_that_cannot_work_is_named(options, words):
    with pytest.raises(InputError, match=words):
        Folder(class_names=("a",), **options)
