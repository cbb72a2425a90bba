"""Runs that find objects on the page: what the server tells, and what a browser shows."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.data.palette import palette_of
from segjax.page.runs import ServedRun
from segjax.tasks.shown import shown_objects, shown_segments

FOLDER = pathlib.Path(__file__).parent
LOCAL = runpy.run_path(str(FOLDER / "local_server.py"))
DRIVER = runpy.run_path(str(FOLDER / "browser.py"))
MADE = runpy.run_path(str(FOLDER.parent / "outputs/made_answers.py"))
ask, encoded, predict, serving = (
    LOCAL[name] for name in ("ask", "encoded", "predict", "serving")
)
PALETTE = palette_of(((0, 0, 0), (200, 30, 30), (30, 160, 30)))
PHOTO = np.full((*MADE["SIZE"], 3), 90, np.uint8)


def finder(answer, shown, names, name="finder") -> ServedRun:
    return ServedRun(
        name, "step 7", 3, shown(names, PALETTE), None, {}, answer=lambda _: answer
    )


def cells() -> ServedRun:
    return finder(MADE["four"](), shown_objects, MADE["NAMES"])


def decoded(found: dict) -> np.ndarray:
    """The mask that the runs of an object say."""
    mask, (left, top, width, height) = np.zeros(MADE["SIZE"], bool), found["box"]
    flat = np.repeat(np.arange(len(found["runs"])) % 2 == 1, found["runs"])
    mask[top : top + height, left : left + width] = flat.reshape(height, width)
    return mask


def test_objects_are_told_by_falling_score_with_their_masks():
    with serving(cells()) as server:
        status, told = predict(server, encoded(PHOTO))
        labels = ask(server, "GET", f"/results/{told['key']}/0/labels")[2]
        blurred = ask(server, "GET", f"/results/{told['key']}/0/blur.png?keep=1&sigma=2")[0]
    (found,) = told["objects"]
    assert status == blurred == 200
    assert [each["score"] for each in found] == pytest.approx([0.9, 0.8, 0.7, 0.2])
    np.testing.assert_array_equal(decoded(found[1]), MADE["ring"]())
    assert found[1]["area"] == MADE["ring"]().sum() and found[1]["class"] == 1
    label = np.frombuffer(labels, np.uint8).reshape(MADE["SIZE"])
    assert label[5, 6] == 2 and label[8, 14] == 1 and label[0, 20] == 0  # Of score 0.2.


def test_a_run_of_maps_tells_no_objects_and_an_image_may_have_none():
    none = finder(MADE["objects"](), shown_objects, MADE["NAMES"])
    with serving(LOCAL["brightest"](), none) as server:
        _, told = predict(server, encoded(PHOTO))
    assert told["objects"] == [None, []]


def test_pixels_of_no_segment_are_ignored():
    shown = shown_segments(MADE["THING_NAMES"], PALETTE)
    answer = MADE["segments"]()
    label = shown.label(answer)
    assert {*np.unique(label)} == {0, 1, 2, 255} and (label[-1] == 255).all()
    assert [each["area"] for each in shown.objects(answer)] == [
        (answer.ids == each.id).sum() for each in answer.segments
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if DRIVER["CHROMIUM"] is None:
        pytest.skip("no chromium or chrome is on the PATH: the page is not tried in a browser.")
    browser = DRIVER["Browser"](tmp_path_factory.mktemp("profile"))
    browser.resize(1280, 900)
    yield browser
    problems = browser.problems
    browser.close()
    assert not problems


def rows(browser, kind) -> list[str]:
    text = "row.textContent.replace(/\\s/g, ' ')"
    return browser.evaluate(
        f"[...document.querySelectorAll('{kind} button')].map((row) => {text})"
    )


@pytest.fixture
def image(tmp_path) -> pathlib.Path:
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_page_lists_objects_and_the_slider_leaves_out_unlikely_ones(browser, image):
    with serving(cells()) as server:
        browser.open(server.url)
        browser.choose(image)
        assert rows(browser, ".classes") == ["cell2159 px", "grain148 px"]
        assert rows(browser, ".objects") == [
            "grain 1, score 0.90, 48 px",
            "cell 2, score 0.80, 96 px",
            "cell 3, score 0.70, 63 px",
        ]
        assert browser.pixel(21, 1) == [90, 90, 90]
        browser.evaluate("$('score').focus()")
        browser.press("Home")
        assert browser.text("#score-value") == "0.00" and len(rows(browser, ".objects")) == 4
        assert browser.pixel(21, 1) != [90, 90, 90]
        browser.press("End")
        assert rows(browser, ".objects") == [] and browser.pixel(15, 9) == [90, 90, 90]


def test_pointing_at_an_object_names_it_with_class_score_and_area(browser, image):
    with serving(cells()) as server:
        browser.open(server.url)
        browser.choose(image)
        place = browser.evaluate(
            "(() => { const { left, top, width, height } ="
            " document.querySelector('canvas').getBoundingClientRect();"
            " return { x: left + width * 20.5 / 30, y: top + height * 9.5 / 20 }; })()"
        )
        browser.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
        browser.painted()
        assert browser.text(".pointer") == "cell 2, score 0.80, 96 px, at 20, 9"


def test_the_page_shows_a_panoptic_map_without_a_slider(browser, image):
    with serving(finder(MADE["segments"](), shown_segments, MADE["THING_NAMES"])) as server:
        browser.open(server.url)
        browser.choose(image)
        assert browser.evaluate("$('score-control').hidden")
        assert len(rows(browser, ".objects")) == 4
        assert rows(browser, ".classes")[0].startswith("car2")
        browser.evaluate("document.querySelector('input[value=mask]').click()")
        browser.painted()
        assert browser.pixel(5, 10) == [200, 30, 30]
