"""Runs are compared by the names of their classes, and what only some know is told."""

import numpy as np
import pytest

from segjax.page.comparison import agreement, comparison, unshared


def test_runs_agree_by_the_names_of_their_classes():
    label = np.uint8([[0, 1], [1, 2]])
    assert agreement([label], ["abc"]) is None
    assert agreement([label, label], ["abc", "xyz"]) is None
    assert agreement([label, label], ["abc", "acb"]) == 0.25
    assert agreement([label, 2 - label], ["abc", "cba"]) == 1
    assert agreement([label, label, 0 * label], ["abc"] * 3) == 0.25


@pytest.mark.parametrize(
    "names, own",
    [
        (["abc"], [""]),
        (["abc", "cba"], ["", ""]),
        (["abc", "ab"], ["c", ""]),
        (["abc", "axc"], ["b", "x"]),
        (["abc", "cab", "ca"], ["b", "b", ""]),
        (["ab", "xy"], ["ab", "xy"]),
    ],
)
def test_classes_that_not_all_runs_have_are_told(names, own):
    assert unshared(names) == [list(classes) for classes in own]


def test_equal_ids_of_different_classes_are_no_agreement():
    label = np.uint8([[0, 1, 1, 1]])
    told = comparison([label, label], [("ground", "vessel"), ("ground", "cell")])
    assert told == {"agreement": 0.25, "unshared": [["vessel"], ["cell"]]}
