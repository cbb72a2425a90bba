"""The page that compares variants, drawn from plain data."""

import re

import numpy as np
import pytest

from segjax.report.comparison import ComparedImage, Values, Variant, write_comparison
from segjax.report.legend import legend_item
from segjax.report.score import Score

IOU = {"mean_iou": Score("Mean IoU")}
BOTH = {**IOU, "pixel_accuracy": Score("Pixel accuracy")}
ERROR = {"error": Score("Mean absolute error", is_share=False, higher_is_better=False)}
PICTURE = np.zeros((8, 9, 3), np.uint8)


def variant(name: str, *values: float | None, key: str = "mean_iou", **changes) -> Variant:
    """A variant with a finished run for each value, scored at step 10."""
    rows = [[{"step": 5, "loss": 1.5}, {"step": 10, "loss": 1.0, key: v}] for v in values]
    given = {
        "fields": {"model.rates": name.upper()},
        "seeds": range(len(values)),
        "failed": {},
        "scores": {key: Values(values)},
        "histories": rows,
        **changes,
    }
    return Variant(name=name, **given)


@pytest.fixture
def drawn(tmp_path):
    def draw(*variants: Variant, columns=IOU, **parts) -> str:
        path = tmp_path / "comparison.html"
        parts = {"images": (), **parts}
        write_comparison(path, title="a & b", columns=columns, variants=variants, **parts)
        return path.read_text(encoding="utf-8")

    return draw


def cells(page: str) -> list[list[str]]:
    """The texts of the table's rows, the head first."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def best(page: str) -> list[str]:
    return re.findall(r'<td class="value">(.*?)</td>', page)


def test_a_row_has_the_fields_that_differ_the_seeds_and_each_columns_mean_and_deviation(drawn):
    scores = {"mean_iou": Values((0.5, 0.6)), "pixel_accuracy": Values((0.9, None))}
    page = drawn(variant("a", 0.5, 0.6, scores=scores, failed={7: "no"}), columns=BOTH)
    assert cells(page) == [
        ["Variant", "rates", "Seeds", "Mean IoU %", "Pixel accuracy %"],
        ["a", "A", "2 (1 failed)", "55.00 ± 7.07", "90.00"],
        ["Variant", "Seed", "Reason"],
        ["a", "7", "no"],
    ]
    assert "Comparison of 1 variants, 3 runs: 1 failed" in page and "<h1>a &amp; b</h1>" in page


def test_the_highest_mean_is_marked_or_the_lowest_where_lower_is_better(drawn):
    page = drawn(variant("a", 0.5), variant("b", 0.7), variant("c"))
    assert best(page) == ["70.00"] and "Higher is better." in page
    errors = {"a": (12.5, 13.5), "b": (25.0,), "c without a score": ()}
    compared = [variant(name, *values, key="error") for name, values in errors.items()]
    page = drawn(*compared, columns=ERROR)
    assert best(page) == ["13 ± 0.7071"] and "Lower is better." in page
    assert cells(page)[0][-1] == "Mean absolute error"
    assert "Mean absolute error on the evaluation set" in page


def test_variants_without_a_score_have_a_dash_and_no_mark(drawn):
    scores = {"mean_iou": Values((None,))}
    page = drawn(variant("a", failed={0: "no"}), variant("b", 0.1, scores=scores))
    assert [row[-2:] for row in cells(page)[1:3]] == [["0 (1 failed)", "–"], ["1", "–"]]
    assert best(page) == []


def test_a_remark_follows_its_score_as_text(drawn):
    scores = {"mean_iou": Values((0.5,), remark=" over 2 of 3 <classes>")}
    page = drawn(variant("a", 0.5, scores=scores))
    assert cells(page)[1][-1] == "50.00 over 2 of 3 &lt;classes&gt;"


def test_curves_are_means_over_the_seeds_of_the_five_best_variants(drawn):
    page = drawn(variant("a", 0.5, 0.7))
    assert "at step 10: a 60 %" in page
    many = [variant(f"v{i}", 0.1 * i) for i in range(7)]
    page = drawn(*many)
    assert "Only the 5 best of 7 variants are drawn." in page
    label = re.search(r"Mean IoU on the evaluation set at step[^\"]*", page)[0]
    assert [name for name in re.findall(r"v\d", label)] == ["v6", "v5", "v4", "v3", "v2"]


def test_every_picture_of_an_image_is_shown_with_its_title(drawn):
    titles = ("Image", "Truth", "b & c")
    image = ComparedImage("x<1>", [(title, PICTURE) for title in titles])
    page = drawn(variant("a", 0.5), images=[image])
    assert page.count("<img") == 3 and 'alt="b &amp; c of x&lt;1&gt;"' in page
    assert "--columns:3" in page
    assert "No run has finished." in drawn(variant("a", failed={0: "no"}))


def test_an_image_has_each_class_of_any_variant_once_in_its_legend(drawn):
    items = [legend_item(name, (i, 0, 255)) for i, name in enumerate(("sky", "a & b", "sky"))]
    image = ComparedImage("x", [("Image", PICTURE)], [items[0], items[1], items[0]])
    page = drawn(variant("a", 0.5), images=[image])
    legend = re.findall(r'<ul class="legend">(.*?)</ul>', page)
    assert len(legend) == 1
    assert re.findall(r"#(\w+)\"></span>([^<]*)", legend[0]) == [
        ("0000ff", "sky"),
        ("0100ff", "a &amp; b"),
    ]


def test_only_smoothed_curves_are_called_medians(drawn):
    long = [[{"step": step, "loss": 1.0} for step in range(1, 31)]]
    assert "running medians" in drawn(variant("a", 0.5, histories=long))
    assert "running median" not in drawn(variant("a", 0.5))


def test_runs_without_history_are_said_to_have_none(drawn):
    page = drawn(variant("a", 0.5, histories=[[]]))
    assert "No finished run has a training history." in page and "<polyline" not in page


def test_the_best_variant_is_the_first_row(drawn):
    page = drawn(variant("a", 0.5), variant("b"), variant("c", 0.7))
    assert [row[0] for row in cells(page)[1:]] == ["c", "a", "b"]
    errors = [variant("a", 2.0, key="error"), variant("b", 1.0, key="error")]
    assert [row[0] for row in cells(drawn(*errors, columns=ERROR))[1:]] == ["b", "a"]


def test_runs_that_failed_or_are_missing_are_counted_and_reasons_are_text(drawn):
    failed = {1: "loss is <not> finite", 2: "disk"}
    page = drawn(variant("a", 0.5, failed=failed, missing=(3,)), variant("b", missing=(0,)))
    assert "Comparison of 2 variants, 5 runs: 2 failed, 2 missing" in page
    assert cells(page)[1][2] == "1 (2 failed, 1 missing)"
    assert cells(page)[-2] == ["a", "1", "loss is &lt;not&gt; finite"]
    assert "Failed runs" not in drawn(variant("a", 0.5, missing=(3,)))


def test_other_variants_of_the_folder_are_named(drawn):
    path_of = lambda page: "Also in this folder, but not compared: x &amp; y, z." in page
    assert not path_of(drawn(variant("a", 0.5)))
    assert path_of(drawn(variant("a", 0.5), others=("x & y", "z")))


def test_the_pictures_are_in_the_order_of_the_table_after_those_that_are_given(drawn):
    titles = ("Image", "Truth", "a", "b")
    image = ComparedImage("x", [(title, PICTURE) for title in titles])
    page = drawn(variant("a", 0.5), variant("b", 0.7), images=[image])
    assert re.findall(r'alt="(\w+) of x"', page) == ["Image", "Truth", "b", "a"]
