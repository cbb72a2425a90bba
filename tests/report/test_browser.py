"""A report on a phone, in a headless Chromium; skipped where there is none."""

import pathlib
import runpy

import numpy as np
import pytest

from segjax.report.class_scores import class_tables, confusions
from segjax.report.comparison import ComparedImage, Values, Variant, write_comparison
from segjax.report.run_page import Scores, Section, write_report
from segjax.report.score import Score

DRIVER = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "page" / "browser.py"))
PALETTE = np.full((256, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if DRIVER["CHROMIUM"] is None:
        pytest.skip("no chromium or chrome is on the PATH: no report is tried in a browser.")
    browser = DRIVER["Browser"](tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(chromium, tmp_path):
    """A function that opens `page.html` in a window of some width."""

    def open_page(width: int):
        chromium.resize(width, 800)
        address = (tmp_path / "page.html").as_uri()
        chromium.send("Page.navigate", url=address)
        chromium.wait(f"location.href === {address!r} && document.readyState === 'complete'")
        chromium.painted()
        chromium.problems = []  # A file's own address is not one that it asks for.
        return chromium

    return open_page


def write(folder: pathlib.Path, classes: int) -> None:
    names = [f"class {i} with a long name" for i in range(classes)]
    confusion = np.eye(classes, dtype=np.int64) * 900 + 9
    tables = class_tables(dict.fromkeys(names, 1.0), confusion, names, PALETTE)
    shown = {"mean_iou": Score("Mean IoU"), "pixel_accuracy": Score("Pixel accuracy")}
    write_report(
        folder / "page.html",
        title="run",
        description="",
        history=[{"step": 20, "loss": 1.0, "mean_iou": 1.0}],
        evaluation={"step": 20, "images": 4, "mean_iou": 1.0, "pixel_accuracy": 1.0},
        scores=Scores(shown, {}, ""),
        sections=[
            Section("Classes", "", tables),
            Section("Confusions", "", confusions(confusion, names, PALETTE)),
        ],
    )


OVERLAPS = """
(() => {
  const boxes = [...document.querySelectorAll('.headline dd')].map((dd) => {
    const range = document.createRange();
    range.selectNodeContents(dd);
    return range.getBoundingClientRect();
  });
  return boxes.some((a, i) => boxes.some((b, j) => i < j && a.left < b.right &&
    b.left < a.right && a.top < b.bottom && b.top < a.bottom));
})()
"""

SCROLLS = """
[...document.querySelectorAll('.scroll')].map((box) => box.scrollWidth > box.clientWidth)
"""


HEADS = """
[...document.querySelectorAll('.classes th[scope=col]')].filter((head) => {
  const box = head.getBoundingClientRect();
  return box.width > 0 && box.left >= 0 && box.right <= innerWidth;
}).map((head) => head.textContent)
"""


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_is_wider_than_its_window_and_no_number_covers_another(width, opened, tmp_path):
    write(tmp_path, 21)
    page = opened(width)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth === {root}.clientWidth")
    assert not page.evaluate(OVERLAPS)


def test_on_a_phone_the_class_tables_fit_and_a_matrix_that_scrolls_says_so(opened, tmp_path):
    write(tmp_path, 21)
    page = opened(390)
    assert page.evaluate(SCROLLS) == [False, False, True, False]
    assert page.evaluate(HEADS) == ["Class", "IoU %", "Recall %", "Precision %", "Pixels %"] * 2
    shown = "document.querySelector('.hint').getBoundingClientRect().height"
    assert page.text(".hint") == "Scroll sideways to see the rest."
    assert page.evaluate(shown) > 10
    page.evaluate("document.querySelector('.matrix .scroll').focus()")
    for _ in range(9):
        page.press("ArrowRight")
    page.wait("document.activeElement.scrollLeft > 0")
    page = opened(1280)
    assert page.evaluate(SCROLLS) == [False] * 4 and page.evaluate(shown) == 0


def test_a_small_matrix_fits_a_phone_and_has_no_hint(opened, tmp_path):
    write(tmp_path, 3)
    page = opened(390)
    assert not any(page.evaluate(SCROLLS))
    assert page.evaluate("document.querySelector('.hint').getBoundingClientRect().height") == 0


def test_on_a_phone_compared_pictures_stand_two_in_a_row(opened, tmp_path):
    picture = np.zeros((40, 40, 3), np.uint8)
    score = {"mean_iou": Values((0.5,))}
    write_comparison(
        tmp_path / "page.html",
        title="rates",
        columns={"mean_iou": Score("Mean IoU")},
        variants=[Variant("a", {"model.rates": "(1, 2)"}, [0], {}, score, [])],
        images=[ComparedImage("x", [(str(i), picture) for i in range(8)])],
    )
    columns = "getComputedStyle(document.querySelector('.panels')).gridTemplateColumns"
    assert len(opened(320).evaluate(columns).split()) == 2
    assert len(opened(1280).evaluate(columns).split()) == 6
