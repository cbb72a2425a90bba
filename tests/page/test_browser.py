"""The page as a person uses it, in a headless Chromium; skipped where there is none."""

import pathlib
import runpy
import threading

import numpy as np
import pytest
from PIL import Image

from segjax.drawing.overlay import overlay
from segjax.evaluate.wrappers import Flip

FOLDER = pathlib.Path(__file__).parent
LOCAL = runpy.run_path(str(FOLDER / "local_server.py"))
brightest, encoded, photo, serving, Brightest = (
    LOCAL[name] for name in ("brightest", "encoded", "photo", "serving", "Brightest")
)
DRIVER = runpy.run_path(str(FOLDER / "browser.py"))

LEAF, SKY = [200, 30, 30], [30, 160, 30]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if DRIVER["CHROMIUM"] is None:
        pytest.skip("no chromium or chrome is on the PATH: the page is not tried in a browser.")
    browser = DRIVER["Browser"](tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    """The browser; whatever the page does, no error, no breach of its policy, no other host."""
    chromium.resize(1280, 900)
    yield chromium
    problems, chromium.problems = chromium.problems, []
    assert not problems


@pytest.fixture(scope="module")
def one(chromium):
    with serving(upload=20_000) as server:
        yield server


@pytest.fixture(scope="module")
def two(chromium):
    with serving(brightest("one"), brightest("two", ("leaf", "sea", "sky"))) as server:
        yield server


@pytest.fixture
def image(tmp_path) -> pathlib.Path:
    (path := tmp_path / "a photo.png").write_bytes(encoded(photo()))
    return path


def test_an_image_is_shown_with_its_classes_by_area(browser, one, image):
    browser.open(one.url)
    assert browser.text("h1") == "brightest" and "step 7, 3 classes" in browser.text("header")
    browser.choose(image)
    rows = browser.evaluate(
        "[...document.querySelectorAll('.classes button')].map((row) =>"
        " [...row.children].slice(1).map((part) => part.textContent.replace(/\\s/g, ' ')))"
    )
    assert rows == [
        ["leaf", "50.0 %", "480 px"],
        ["sky", "48.3 %", "464 px"],
        ["background", "1.7 %", "16 px"],
    ]
    colour = "getComputedStyle(document.querySelector('.classes .swatch')).backgroundColor"
    assert browser.evaluate(colour) == "rgb(200, 30, 30)"
    assert "a photo.png: predicted at its own size, 40 × 24" in browser.text("#facts")
    assert browser.evaluate("$('agreement').hidden && $('differ').hidden")
    browser.evaluate("document.querySelector('input[value=mask]').click()")
    browser.painted()
    assert [browser.pixel(3, 20), browser.pixel(30, 20), browser.pixel(39, 0)] == [
        LEAF,
        SKY,
        [0, 0, 0],
    ]


def test_the_opacity_leads_from_the_image_to_the_classes_by_keyboard(browser, one, image):
    browser.open(one.url)
    browser.choose(image)
    browser.evaluate("$('opacity').focus()")
    browser.press("Home")
    assert browser.text("#opacity-value") == "0 %"
    assert np.abs(np.subtract(browser.pixel(3, 20), photo()[20, 3])).max() < 6
    browser.press("End")
    assert browser.pixel(3, 20) == LEAF
    # Black is no tint.
    assert np.abs(np.subtract(browser.pixel(38, 1), photo()[1, 38])).max() < 30


def test_a_class_stands_out_while_it_is_pointed_at_or_chosen(browser, one, image):
    browser.open(one.url)
    browser.choose(image)
    box = browser.evaluate(
        "(({ x, y }) => ({ x: x + 9, y: y + 9 }))"
        "(document.querySelectorAll('.classes button')[1].getBoundingClientRect())"
    )
    grey = lambda colour: max(colour) - min(colour) == 0
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", **box)
    browser.painted()
    assert grey(browser.pixel(3, 20)) and not grey(browser.pixel(30, 20))
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    browser.painted()
    assert not grey(browser.pixel(3, 20))
    browser.evaluate("document.querySelector('.classes button').focus()")
    browser.evaluate("document.activeElement.click()")
    browser.painted()
    pressed = "document.activeElement.getAttribute('aria-pressed')"
    assert browser.evaluate(pressed) == "true"
    assert grey(browser.pixel(30, 20)) and not grey(browser.pixel(3, 20))
    browser.press("Escape")
    assert browser.evaluate(pressed) == "false" and not grey(browser.pixel(30, 20))


def test_the_blur_keeps_what_is_ticked_and_follows_its_strength(browser, one, tmp_path):
    striped = photo()
    striped[:, ::2] = np.where(striped[:, ::2] > 100, 130, striped[:, ::2])
    (path := tmp_path / "striped.png").write_bytes(encoded(striped))
    browser.open(one.url)
    browser.choose(path)
    contrast = lambda x: int(
        np.abs(np.subtract(browser.pixel(x, 20), browser.pixel(x + 1, 20))).max()
    )
    settled = "state.runs[0].blurred?.address === state.runs[0].wanted && !state.runs[0].asking"
    browser.evaluate("document.querySelector('input[value=overlay]').focus()")
    for _ in range(3):
        browser.press("ArrowRight")
    assert browser.evaluate("state.view") == "blur"
    browser.wait(settled)
    ticked = (
        "[...document.querySelectorAll('#keep input')].map((box) => [box.value, box.checked])"
    )
    assert browser.evaluate(ticked) == [["leaf", True], ["sky", True], ["background", False]]
    assert contrast(30) > 60 and contrast(6) > 60
    browser.evaluate("document.querySelector('#keep input[value=sky]').click()")
    browser.painted()
    browser.wait(settled)
    assert contrast(30) < 30 and contrast(6) > 60
    browser.evaluate("$('sigma').focus()")
    browser.press("Home")
    browser.wait(settled)
    assert browser.evaluate("state.runs[0].wanted").endswith("blur.png?keep=1&sigma=1")


def test_a_slider_that_asks_too_quickly_waits_for_its_turn(browser, image):
    with serving(requests=(5.0, 12)) as server:
        browser.open(server.url)
        browser.choose(image)
        browser.evaluate("document.querySelector('input[value=blur]').click()")
        browser.evaluate("$('sigma').focus()")
        for _ in range(20):
            browser.press("ArrowRight")
            browser.painted()
        last = (
            "state.runs[0].blurred?.address === state.runs[0].wanted && !state.runs[0].asking"
        )
        browser.wait(last)
        assert browser.evaluate("$('error').hidden")
        assert browser.evaluate("state.runs[0].wanted.endsWith(`sigma=${$('sigma').value}`)")
        browser.problems = []  # The browser notes each 429, which is what is tried here.


def test_two_runs_stand_side_by_side_with_what_they_agree_on(browser, two, image):
    browser.open(two.url)
    browser.choose(image)
    assert browser.text("h1") == "one and two"
    assert browser.text("#agreement") == (
        "The runs have different classes (only in one: background; only in two: sea). "
        "By name, both runs agree on 48.3 % of the pixels."
    )
    left, right = browser.evaluate(
        "[...document.querySelectorAll('canvas')].map((c) => c.getBoundingClientRect().left)"
    )
    assert right > left + 300
    browser.evaluate("document.querySelector('input[value=differ]').click()")
    browser.painted()
    assert browser.pixel(3, 20, run=0) == browser.pixel(3, 20, run=1) == LEAF
    assert len(set(browser.pixel(30, 20, run=0))) == 1
    assert browser.pixel(39, 0, run=1) == [0, 0, 0]
    assert "the image is pale grey" in browser.text("#colours")
    browser.evaluate("document.querySelector('input[value=mask]').click()")
    browser.painted()
    assert browser.evaluate("$('colours').hidden")


@pytest.mark.parametrize(
    "name, data, said",
    [
        ("notes.txt", b"text", "cannot be read as an image: send JPEG"),
        ("empty.png", b"", "The file is empty"),
        ("cut.png", encoded(photo())[:-40], "truncated or broken"),
        ("large.png", bytes(20_001), "large.png is larger than 0.0191 MiB"),
    ],
)
def test_what_is_refused_is_told_in_a_line_and_the_last_result_stays(
    name, data, said, browser, one, image
):
    browser.open(one.url)
    browser.choose(image)
    (bad := image.with_name(name)).write_bytes(data)
    browser.choose(bad)
    assert said in browser.text("#error") and "\n" not in browser.text("#error")
    assert browser.evaluate("$('error').getAttribute('role')") == "alert"
    assert "a photo.png" in browser.text("#facts")
    browser.choose(image)
    assert browser.evaluate("$('error').hidden")


GIVEN = """(() => {{
  const held = new DataTransfer();
  held.items.add(new File([new Uint8Array({data})], "held.png", {{ type: "image/png" }}));
  const options = {{ {holder}: held, bubbles: true, cancelable: true }};
  document.body.dispatchEvent(new {event}("{name}", options));
}})()"""


@pytest.mark.parametrize(
    "event, name, holder",
    [("DragEvent", "drop", "dataTransfer"), ("ClipboardEvent", "paste", "clipboardData")],
)
def test_images_can_be_dropped_and_pasted(event, name, holder, browser, one):
    browser.open(one.url)
    data = list(encoded(photo()))
    browser.evaluate(GIVEN.format(event=event, name=name, holder=holder, data=data))
    browser.done(after=0)
    assert "held.png: predicted at its own size, 40 × 24" in browser.text("#facts")


def test_the_mask_and_the_view_are_saved_under_the_images_name(browser, one, image, tmp_path):
    browser.open(one.url)
    browser.choose(image)
    saved = tmp_path / "saved"
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(saved))
    for place, name in enumerate(["a photo.png", "a photo_overlay.png"]):
        browser.evaluate(f"document.querySelectorAll('.links button')[{place}].click()")
        while not (saved / name).is_file():
            browser.painted()
    with Image.open(saved / "a photo.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.array(mask), photo().argmax(-1))
    with Image.open(saved / "a photo_overlay.png") as view:
        assert view.size == (40, 24)


def test_a_server_that_is_out_of_reach_is_told(browser, one, image):
    reach = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.open(one.url)
    browser.send("Network.emulateNetworkConditions", offline=True, **reach)
    browser.choose(image)
    browser.send("Network.emulateNetworkConditions", offline=False, **reach)
    told = "The server does not answer: is segjax.serve still running?"
    assert browser.text("#error") == told


@pytest.mark.parametrize("view", ["overlay", "blur"])
def test_nothing_is_wider_than_a_narrow_screen_and_dark_is_dark(view, browser, two, image):
    browser.resize(320, 640, scheme="dark")
    browser.open(two.url)
    browser.choose(image)
    browser.evaluate(f"document.querySelector('input[value={view}]').click()")
    browser.painted()
    assert browser.evaluate("document.documentElement.scrollWidth") == 320
    style = "getComputedStyle(document.body)"
    assert browser.evaluate(f"{style}.backgroundColor") == "rgb(22, 24, 27)"
    assert browser.evaluate(f"{style}.color") == "rgb(231, 229, 224)"


def test_long_names_stay_on_a_narrow_screen(browser, image):
    names = tuple(f"class_{i}_" + "with_a_long_name_without_spaces" * 2 for i in range(3))
    browser.resize(320, 640)
    with serving(brightest("run_" * 20, names)) as server:
        browser.open(server.url)
        browser.choose(image)
        for view in ("overlay", "blur"):
            browser.evaluate(f"document.querySelector('input[value={view}]').click()")
            browser.painted()
            assert browser.evaluate("document.documentElement.scrollWidth") == 320


def test_the_page_is_busy_until_its_image_is_predicted_or_the_next_one_refused(browser, image):
    gate = threading.Event()

    class Slow(Brightest):
        def __call__(self, variables, images):
            assert gate.wait(600)
            return super().__call__(variables, images)

    (large := image.with_name("large.png")).write_bytes(bytes(20_001))
    with serving(brightest(predict=Slow()), upload=20_000) as server:
        browser.open(server.url)
        browser.give(image)
        browser.wait("document.querySelector('main[aria-busy]') !== null")
        said = (
            "Compiling brightest for images of 40 × 24 pixels, the first of this size, to "
            "predict a photo.png …"
        )
        browser.wait(f"$('doing').textContent === {said!r}")
        browser.choose(large)
        assert browser.evaluate("document.querySelector('main[aria-busy]') === null")
        gate.set()
        browser.choose(image)
        assert "a photo.png" in browser.text("#facts") and browser.evaluate("$('error').hidden")


@pytest.mark.parametrize(
    "others, said",
    [
        ([("sky", "background", "leaf")], "Both runs agree on 0.0 % of the pixels."),
        ([("a", "b", "c")], "The runs have no class in common, so they are not compared."),
        (
            [("background", "leaf", "sea"), ("background", "leaf", "sky")],
            "The runs have different classes (in one but not in all: sky; in two but not in "
            "all: sea; in three but not in all: sky). By name, all 3 runs agree on 51.7 % of "
            "the pixels.",
        ),
    ],
    ids=["another order", "nothing in common", "three"],
)
def test_runs_of_other_classes_are_compared_by_name_or_not_at_all(others, said, browser, image):
    names = zip(("two", "three"), others, strict=False)
    with serving(brightest("one"), *(brightest(*each) for each in names)) as server:
        browser.open(server.url)
        browser.choose(image)
        assert browser.text("#agreement") == said
        assert browser.evaluate("$('differ').hidden") == ("not compared" in said)


def test_the_overlay_is_that_of_predict_to_the_pixel(browser, one, image):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    image.write_bytes(encoded(pixels))
    browser.open(one.url)
    browser.choose(image)
    assert browser.text("#opacity-value") == "50 %"
    data = browser.evaluate(
        "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 40, 24).data]"
    )
    found = np.array(data).reshape(24, 40, 4)[..., :3]
    label = pixels.argmax(-1).astype(np.uint8)
    np.testing.assert_array_equal(found, overlay(pixels, label, one.service.runs[0].palette))


def test_an_image_that_is_longer_than_the_side_is_told_with_predicts_option(browser, image):
    with serving(side=20) as server:
        browser.open(server.url)
        browser.choose(image)
        told = browser.text("#facts")
    assert "a photo.png: 40 × 24 pixels, reduced to 20 × 12 by --side 20" in told
    assert "segjax.predict gives the same masks with --side 20" in told


def test_options_that_change_the_masks_are_shown(browser, image):
    run = brightest()
    object.__setattr__(run, "wrappers", (Flip(),))
    object.__setattr__(run, "output_stride", 8)
    with serving(run) as server:
        browser.open(server.url)
        shown = browser.text("#subtitle")
    assert shown == "step 7, 3 classes, predicted with output stride 8, Flip()"


def test_every_control_says_what_it_is(browser, two, image):
    browser.open(two.url)
    browser.choose(image)
    roles = set()
    for view, own in (("overlay", "slider"), ("blur", "checkbox")):
        browser.evaluate(f"document.querySelector('input[value={view}]').click()")
        browser.painted()
        nodes = browser.controls(until=own)
        assert all(node["name"]["value"].strip() for node in nodes), nodes
        roles |= {node["role"]["value"] for node in nodes}
    assert roles >= {"button", "radio", "slider", "checkbox", "image"}
