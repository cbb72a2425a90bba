"""How a score is written within a sentence and with its unit."""

import pytest

from segjax.report.score import Score


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Mean IoU", "mean IoU"),
        ("IoU", "IoU"),
        ("Dice", "Dice"),
        ("Mean absolute error", "mean absolute error"),
    ],
)
def test_a_title_becomes_a_name_within_a_sentence(title, name):
    assert Score(title).name == name


def test_shares_are_written_in_per_cent_and_other_numbers_as_they_are():
    assert Score("Mean IoU").text(0.8321) == "83.21 %"
    assert Score("Mean absolute error", is_share=False).text(0.012345) == "0.01235"
