import pytest

from segjax.convert.splitting import parsed_shares, split
from segjax.data.hold_out import position
from segjax.errors import InputError

MANY = {f"street/{number}": None for number in range(200)}


def test_a_hash_of_the_name_decides_and_shares_are_about_right():
    names = split(MANY, shares=(0.8, 0.1, 0.1)).names
    assert sorted(sum(names.values(), ())) == sorted(MANY)
    assert names["val"] == tuple(n for n in MANY if position(n) < 0.1)
    assert names["test"] == tuple(n for n in MANY if 0.1 <= position(n) < 0.2)


def test_images_that_are_added_move_none_of_the_others():
    more = {**MANY, **{f"later/{number}": None for number in range(100)}}
    before, after = (split(each, shares=(0.6, 0.2, 0.2)).names for each in (MANY, more))
    for side in before:
        assert before[side] == tuple(name for name in after[side] if name in MANY)


def test_without_a_word_a_fifth_is_for_validation():
    names = split(MANY).names
    assert names["val"] == tuple(n for n in MANY if position(n) < 0.2) and not names["test"]


def test_the_own_split_of_the_source_is_kept():
    own = {"a": "train", "b": "val", "c": "test", "d": "train"}
    found = split(own)
    assert found.names == {"train": ("a", "d"), "val": ("b",), "test": ("c",)}
    assert not found.notes


def test_a_source_without_validation_images_gives_some_of_its_training_images():
    found = split({**{name: "train" for name in MANY}, "t": "test"})
    assert found.names["val"] == tuple(n for n in MANY if position(n) < 0.2)
    assert (
        found.names["test"] == ("t",)
        and "has no images for val: some of train" in found.notes[0]
    )


def test_a_source_without_training_images_gives_some_of_those_for_validation():
    found = split({name: "val" for name in MANY})
    assert found.names["val"] == tuple(n for n in MANY if position(n) < 0.2)
    assert "has no images for train: some of val" in found.notes[0]


def test_images_outside_of_the_splits_of_the_source_are_for_training():
    found = split({"a": "train", "b": "val", "c": None})
    assert found.names["train"] == ("a", "c") and "1 images are in none" in found.notes[0]


def test_shares_replace_the_own_split_and_it_is_said():
    found = split({name: "train" for name in MANY}, shares=(0.5, 0.5, 0.0))
    assert found.names["val"] == tuple(n for n in MANY if position(n) < 0.5)
    assert found.notes == ("the source's own splits are replaced by --split 0.5,0.5,0",)


def test_no_split_with_a_share_is_empty_where_images_suffice():
    for count in (2, 3, 4):
        names = [f"n{number}" for number in range(count)]
        for start in range(20):
            found = split({f"{start}{name}": None for name in names})
            assert found.names["train"] and found.names["val"]
    three = split({"a": None, "b": None, "c": None}, shares=(0.4, 0.3, 0.3))
    assert [len(names) for names in three.names.values()] == [1, 1, 1]


def test_one_image_is_for_training():
    assert position("street/a") < 0.2
    assert split({"street/a": None}).names["train"] == ("street/a",)


@pytest.mark.parametrize(
    ("text", "shares"), [("0.8,0.1,0.1", (0.8, 0.1, 0.1)), ("0.7,0.3", (0.7, 0.3, 0.0))]
)
def test_shares_are_read(text, shares):
    assert parsed_shares(text) == shares


@pytest.mark.parametrize(
    "text", ["0.8", "0.8,0.1", "1.2,-0.2", "a,b", "0.5,0.2,0.2,0.1", "nan,1"]
)
def test_shares_that_are_wrong_are_named(text):
    with pytest.raises(InputError, match=f"--split {text}: write the shares"):
        parsed_shares(text)
