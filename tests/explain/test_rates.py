"""What `explain rates` says: gaps, verdicts with reasons, coverage; and what it draws."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from segjax.explain import rates
from segjax.explain.explained import Explained
from segjax.explain.figure import save


def explained(*arguments: str) -> Explained:
    parser = argparse.ArgumentParser()
    rates.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["rates", *arguments])
    return parsed.run(parsed)


def test_rates_1_2_5_read_all_of_their_field():
    result = explained("1", "2", "5")
    assert (result["gaps"], result["is_hdc"], result["is_dense"]) == ([1, 2, 5], True, True)
    assert (result["field"], result["pixels"], result["pixels_read"]) == (17, 289, 289)
    assert result["coverage"] == [1, 1, 2, 1, 2, 2, 2, 2, 1, 2, 2, 2, 2, 1, 2, 1, 1]
    assert result["suggestions"] == []
    text = rates.text(result)
    assert "an output reads every pixel of its field" in text and "Better" not in text
    assert "17 x 17, where 1 + (3 - 1) * (1 + 2 + 5) = 17\n" in text
    assert "HDC rule     yes: M_2 = 2 <= 3, and the rates have no common factor." in text


def test_rates_2_2_2_read_a_lattice_and_the_common_factor_is_the_reason():
    result = explained("2", "2", "2")
    assert (result["pixels"], result["pixels_read"], result["is_dense"]) == (169, 49, False)
    assert result["suggestions"] == [[1, 2, 2]]
    text = rates.text(result)
    assert "reads 29 % of its field" in text
    assert "no: M_2 = 2 <= 3, but 2 divides all rates, so only a lattice is read." in text
    assert "Better: 1 2 2, the largest field without holes" in text


def test_rates_1_2_9_jump_over_pixels():
    text = rates.text(explained("1", "2", "9"))
    reason = "no: rate 9 skips pixels, because the smaller rates have a field of only 7."
    assert f"dense        {reason}" in text
    assert "HDC rule     no: M_2 = 5 is larger than the kernel's 3." in text
    assert "1 1 2 1 2 1 1 0 0 1 1 2 1 2 1 1 0 0 1 1 2 1 2 1 1\n" in text
    assert "Better: 1 3 9," in text


@pytest.mark.parametrize(
    ("given", "verdicts"), [("2 3", (True, False)), ("1 3 1", (False, True))]
)
def test_where_the_rule_and_the_truth_differ_the_text_says_so(given, verdicts):
    result = explained(*given.split())
    assert (result["is_hdc"], result["is_dense"]) == verdicts
    differ = "The two differ, because the HDC rule is meant for rates that increase from 1."
    assert differ in rates.text(result)


def test_a_single_layer_has_no_gap_to_judge():
    assert "yes: a single layer has no M_2" in rates.text(explained("1"))


def test_lists_to_compare_with_are_the_users_or_an_even_one_and_the_best():
    others = explained("1", "2", "9", "--versus", "2 2 2", "--versus=1,2,5")["compared"]
    assert [other["rates"] for other in others] == [[2, 2, 2], [1, 2, 5]]
    others = explained("1", "2", "9")["compared"]
    assert [other["rates"] for other in others] == [[4, 4, 4], [1, 3, 9]]
    assert "  4 4 4   25 x 25   7.84 %        no      no" in rates.text(
        explained("1", "2", "9")
    )


def test_a_larger_kernel_reads_further():
    result = explained("1", "5", "--kernel", "5")
    assert (result["field"], result["is_dense"]) == (25, True)


def test_a_field_is_called_full_only_if_it_is():
    result = explained("1", "3", "9", "28", "--versus", "1")
    almost = {**result, "share_read": 0.9999}
    assert not result["is_dense"] and "99.9 %" in rates.text(almost)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0", "1"], r"each at least 1, got \(0, 1\)|each at least 1, got \[0, 1\]"),
        (["1", "-2"], "each at least 1"),
        (["1", "--kernel", "2"], "must be odd and at least 3, got 2"),
        (["1", "--versus", "2 x"], "'2 x' must be whole numbers"),
        (["1", "--versus", " "], "must be whole numbers"),
        (["1", "--versus", "3000"], "have a field of 6001 x 6001 pixels"),
        (["1000000000"], "have a field of 2000000001 x 2000000001 pixels"),
        (["1"] * 40, r"40 layers have more than 2\*\*63 paths"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        explained(*arguments)


BIGGER = "2 2 5 9 1 2 5 9 1 2 5 9 1 2 5 9 1 2 5 9 1 2 5 5 9 17".split()
"""Much of Dilation-bigger of Wang et al.: a long list, a wide field, many paths."""


@pytest.mark.parametrize("arguments", [["1", "2", "5"], BIGGER, ["600"], ["1"] * 30 + ["90"]])
def test_lines_are_short_and_the_facts_are_json(arguments):
    result = explained(*arguments)
    assert max(map(len, rates.text(result).splitlines())) < 100
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_default_comparison_never_makes_a_good_list_fail():
    result = explained(*["1"] * 30, "90")
    assert [other["rates"] for other in result["compared"]] == [[4] * 31]


@pytest.mark.parametrize("arguments", [["1", "2", "5"], BIGGER, ["1", "--versus", "2 2 2"]])
def test_the_figure_is_a_png(arguments, tmp_path):
    save(explained(*arguments).figure(), tmp_path / "rates.png")
    with Image.open(tmp_path / "rates.png") as image:
        assert image.format == "PNG" and image.width > 900


def test_pixels_that_are_never_read_are_white_and_all_others_are_not(tmp_path):
    result = explained("2", "2", "2")
    save(rates.rates_figure({**result, "compared": []}), tmp_path / "rates.png")
    with Image.open(tmp_path / "rates.png") as image:
        pixels = np.array(image.convert("RGB")).astype(int)
    # One field of 2.9 inches at 150 dots an inch, 0.4 inches from the left and the bottom.
    side = round(2.9 * 150)
    field = pixels[-round(0.4 * 150) - side : -round(0.4 * 150), 60 : 60 + side]
    centres = ((np.arange(13) + 0.5) * side / 13).astype(int)
    white = field[np.ix_(centres, centres)].min(-1) == 255
    read = np.array(result["coverage"]) > 0
    np.testing.assert_array_equal(white, ~(read[:, None] & read[None, :]))
