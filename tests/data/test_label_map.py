"""Ids of files → class ids: pairs, ranges, and what cannot be read."""

import pathlib

import pytest

from segjax.data.label_map import check_label_map, classes_of, outside, remedy
from segjax.errors import InputError
from segjax.experiment import describe, load, override


@pytest.mark.parametrize(
    ("label_map", "expected"),
    [
        ((), [0, 1, 9, 10, 127, 128, 255]),
        (((255, 1),), [0, 1, 9, 10, 127, 128, 1]),
        (((">127", 1), ("else", 0)), [0, 0, 0, 0, 0, 1, 1]),
        (((">=128", 1), ("<=127", 0)), [0, 0, 0, 0, 0, 1, 1]),
        ((("<10", 0), ("10-127", 1), ("else", 2)), [0, 0, 0, 1, 1, 2, 2]),
        ((("nonzero", 1),), [0, 1, 1, 1, 1, 1, 1]),
        (((255, 255), ("nonzero", 1)), [0, 1, 1, 1, 1, 1, 255]),
        (((255, 2), ("nonzero", 1), ("else", 0)), [0, 1, 1, 1, 1, 1, 2]),
        ((("10-10", 1), ("9-127", 2)), [0, 1, 2, 1, 2, 128, 255]),
        (((">=1", 1), ("<=0", 0), ("else", 2)), [0, 1, 1, 1, 1, 1, 1]),
    ],
    ids=str,
)
def test_the_first_pair_that_fits_decides_and_other_ids_stay(label_map, expected):
    check_label_map(label_map, 3)
    assert classes_of([0, 1, 9, 10, 127, 128, 255], label_map) == expected


def test_ids_below_zero_can_be_named_and_compared():
    assert classes_of([-1, -7, 0], ((-1, 255), ("<0", 1))) == [255, 1, 0]


@pytest.mark.parametrize(
    ("label_map", "line"),
    [
        ((255, 1), r"label_map=\(255, 1\) must be pairs .*write it as \(\(255, 1\),\)"),
        ({255: 1}, r"label_map=\{255: 1\} must be pairs"),
        (((1, 2, 3),), "must be pairs"),
        (((">", 1),), "cannot read '>': write an id, '>127'"),
        ((("other", 1),), "cannot read 'other'"),
        (((1.5, 1),), "cannot read 1.5"),
        (((7, 3),), r"leads to 3 in \(7, 3\), but class ids are 0 to 2"),
        (((7, "1"),), "leads to '1'"),
        (((7, 1), (7, 2)), "names 7 twice"),
        ((("else", 0), (7, 1)), "pairs after 'else'"),
        (((True, 1),), "cannot read True"),
        (((7, True),), r"leads to True in \(7, True\)"),
        ((("20-10", 1), (">127", 2)), "has '20-10', which no id fits: write the smaller"),
        (
            (("nonzero", 1), (255, 255)),
            r"has \(255, 255\), which comes after \('nonzero', 1\), which takes 255 already",
        ),
        (((">0", 1), (0, 0), (15, 255)), r"\(15, 255\), which comes after \('>0', 1\), which"),
        ((("10-20", 1), (20, 1)), r"\(20, 1\), which comes after \('10-20', 1\)"),
        (
            ((">127", 1), (">200", 2)),
            r"\('>200', 2\).*take all its ids already, such as .*'>127",
        ),
        (((">=128", 1), (">127", 2)), r"\('>127', 2\), which comes after pairs"),
        (((">9", 1), ("<=9", 0), ("5-20", 2)), r"\('5-20', 2\).*such as \('<=9', 0\): put"),
        (((0, 0), ("<0", 0), ("nonzero", 1), (">3", 2)), r"\('>3', 2\), which comes after"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_named_with_what_can(label_map, line):
    with pytest.raises(InputError, match=line):
        check_label_map(label_map, 3)


def test_ids_that_become_no_class_are_found():
    assert outside([0, 1, 2, 255, 256, -1], ((1, 255),), 2) == [2, 256, -1]


def test_black_and_white_is_answered_with_the_label_map_that_reads_it():
    assert "set label_map=((65535, 1),)" in remedy([0, 65535], 2, strange=[65535])
    assert 'set label_map=((">127", 1), ("else", 0))' in remedy(
        [0, 3, 254, 255], 2, strange=[3, 254]
    )


@pytest.mark.parametrize("num_classes", [1, 2, 11])
def test_a_negative_id_is_answered_with_the_label_map_that_ignores_it(num_classes):
    said = remedy([-1, 0], num_classes, strange=[-1])
    assert said == "if -1 marks ignored pixels, set label_map=((-1, 255),)."
    said = remedy([-2, -1, 0], num_classes, strange=[-2, -1])
    assert said == 'if ids below 0 mark ignored pixels, set label_map=(("<0", 255),).'


def test_ids_beside_a_negative_one_are_answered_too():
    assert remedy([-1, 0, 255], 2, strange=[-1, 255]) == (
        "if -1 marks ignored pixels, set label_map=((-1, 255),), then the others: if 255 means "
        "class 1, set label_map=((255, 1),)."
    )


def test_an_id_beyond_the_classes_is_answered_with_the_label_map_that_ignores_it():
    line = "name all classes, or change ids with label_map; ((11, 255),) ignores 11."
    assert remedy([0, 3, 12], 11, strange=[12]) == line.replace("11", "12")
    # The id after the last class may also mean that ids count from 1.
    assert remedy([0, 3, 11], 11, strange=[11]) == (
        f"{line} If ids count from 1 and 0 is no class, set label_map=((0, 255), *((i + 1, i) "
        "for i in range(11)))."
    )


def test_ranges_are_set_on_the_command_line_as_they_are_described():
    duts = load(pathlib.Path(__file__).parents[2] / "experiments" / "u2net_duts.py")
    text = '((255, 255), (">=128", 1), ("else", 0))'
    changed = override(duts, f"train_data.label_map={text}")
    assert changed.train_data.label_map == ((255, 255), (">=128", 1), ("else", 0))
    assert f"train_data.label_map = {changed.train_data.label_map!r}\n" in describe(changed)
