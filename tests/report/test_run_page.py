import base64
import io
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segjax.report.class_maps import class_map_panels
from segjax.report.curves import running_median, series
from segjax.report.examples import ShownExample, longest_side, score_text
from segjax.report.matrix import confusion_matrix_svg
from segjax.report.run_page import Scores, write_report
from segjax.report.svg import thin
from segjax.tasks.confusion import ConfusionMetric
from segjax.tasks.semantic import Semantic

VOID = {"meta", "img", "link"}
HOSTILE = "<script>alert('x')</script>"
NAMES = ("sky", HOSTILE, "tree & bush")
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
PALETTE[1] = (0x12, 0xAB, 0x00)
CONFUSION = np.array([[900, 100, 0], [30, 70, 0], [0, 0, 0]])
EVALUATION = {
    "step": 300,
    "images": 4,
    "mean_iou": 0.6123,
    "pixel_accuracy": 0.8818,
    "mean_accuracy": 0.8,
    "frequency_weighted_iou": 0.7777,
    "iou": {"sky": 0.873, HOSTILE: 0.35, "tree & bush": None},
}
HISTORY = [
    {"step": s, "loss": 2 / s, "learning_rate": 0.01, "loss/a": 1 / s} for s in range(1, 41)
]
HISTORY += [{"step": 20, "mean_iou": 0.3}, {"step": 40, "mean_iou": 0.5, "pixel_accuracy": 0.8}]


class Page(HTMLParser):
    """What a browser would see: tags with attributes, texts, and whether all tags close."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def shown(name, iou, image, label, prediction) -> ShownExample:
    longest = longest_side(*label.shape)
    panels = class_map_panels(
        image, label, prediction, class_names=NAMES, palette=PALETTE, longest=longest
    )
    return ShownExample(name, score_text(iou, is_share=True), panels)


def example(
    name="a.jpg", *, height=20, width=30, iou: float | None = 0.25, dtype: type = np.uint8
):
    rng = np.random.default_rng(1)
    label = np.zeros((height, width), dtype)
    label[: height // 2] = 1
    label[0] = 255
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return shown(name, iou, image, label, np.zeros((height, width), dtype))


@pytest.fixture
def report(tmp_path):
    def write(**changes):
        of = {"class_names": NAMES, "palette": PALETTE, "confusion": CONFUSION}
        of |= {key: changes.pop(key) for key in tuple(changes) if key in of}
        evaluation = changes.get("evaluation", EVALUATION)
        metric = ConfusionMetric(of["class_names"])
        metric.confusion = of.pop("confusion")
        remarks = {name: metric.remark(name, evaluation) for name in metric.shown}
        arguments = {
            "title": "run",
            "description": "seed = 0",
            "history": HISTORY,
            "evaluation": evaluation,
            "scores": Scores(metric.shown, remarks, metric.convention),
            "sections": Semantic().sections(metric, evaluation, SimpleNamespace(**of)),
        }
        write_report(tmp_path / "report.html", **arguments | changes)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_every_tag_of_a_full_report_closes(report):
    page = report(worst=[example()], best=[example("b.jpg")])
    assert page.open == []
    assert len(page.all("h1")) == 1
    assert len(page.all("svg")) > 4


def test_the_page_asks_the_network_for_nothing(report):
    page = report(worst=[example()])
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "xlink:href")
    ]
    assert len(addresses) == 4
    assert all(address.startswith("data:image/") for address in addresses)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    policy = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_style_sheet_imports_nothing_and_knows_dark_mode(report, tmp_path):
    report()
    style = re.search(r"<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.S)
    assert style is not None
    assert "url(" not in style[1] and "@import" not in style[1]
    assert "prefers-color-scheme: dark" in style[1]
    assert style[1].count("{") == style[1].count("}")


def test_hostile_names_are_shown_not_run(report):
    page = report(
        title=HOSTILE, description=HOSTILE, worst=[example('"><script>alert(1)</script>')]
    )
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) >= 5  # title, h1, table, matrix, description
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert alts[0] == 'Image of "><script>alert(1)</script>'


def test_a_hostile_name_of_a_loss_term_is_shown_not_run(report):
    rows = [{"step": s, "loss": 1.0, "loss/<script>": 1.0, "loss/b": s} for s in (1, 2)]
    page = report(history=rows)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>" in page.texts


def test_headline_numbers_are_percentages_of_the_evaluation(report):
    text = report().text
    assert "Mean IoU 61.23 % Pixel accuracy 88.18 % Mean accuracy 80.00 %" in text
    assert "Frequency-weighted IoU 77.77 % Step 300 Images 4" in text
    assert "Step 300 Images 4" in report(steps=300).text
    assert "Step 300 of 1,000 Images 4" in report(steps=1000).text
    assert "classes absent from truth and prediction are left out" in text


def test_means_over_fewer_classes_say_over_how_many_and_both_conventions_stand_side_by_side(
    report,
):
    counts = {"classes": 3, "classes_in_mean_iou": 2, "classes_with_truth": 1}
    more = {"mean_iou_over_true_classes": 0.654, **counts}
    text = report(evaluation=EVALUATION | more).text
    assert "Mean IoU over 2 of 3 classes 61.23 %" in text
    assert "Mean IoU of true classes over 1 of 3 classes 65.40 %" in text
    assert "Mean accuracy over 1 of 3 classes 80.00 %" in text
    assert "Pixel accuracy 88.18 %" in text
    whole = {"classes": 3, "classes_in_mean_iou": 3, "classes_with_truth": 3}
    assert "Mean IoU 61.23 %" in report(evaluation=EVALUATION | whole).text


def test_an_example_whose_maps_differ_in_size_is_refused():
    label, image = np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(4, 5, 3\) and prediction has shape \(4, 1\)"):
        shown("a", None, image, label, label[:, :1])


@pytest.mark.parametrize(("count", "said"), [(4, True), (1, True), (0, False), (None, False)])
def test_training_images_among_the_evaluated_ones_are_said(report, count, said):
    text = report(evaluation={**EVALUATION, "images_trained_on": count}).text
    assert (f"trained on {count} of these images" in text) == said
    assert ("do not show how well it does on new images" in text) == said


def test_missing_and_non_finite_scores_are_dashes(report):
    text = report(evaluation={"mean_iou": float("nan"), "iou": {}, "step": None}).text
    assert "Mean IoU – Pixel accuracy –" in text
    assert "nan" not in text


def test_a_class_without_iou_is_absent_and_stands_last(report):
    text = report().text
    assert re.search(
        r"sky 87\.3 90\.0 96\.8 90\.9 .*35\.0 70\.0 41\.2 9\.1 tree & bush absent", text
    )


def test_without_counted_pixels_nothing_is_said_to_be_right(report):
    page = report(confusion=np.zeros((3, 3), np.int64), evaluation={"iou": {}})
    assert "No pixel is counted." in page.text and "true class." not in page.text


def test_every_table_has_headers_with_scope_and_scrolls_by_keyboard(report):
    page = report()
    assert {a["scope"] for a in page.all("th")} == {"row", "col"}
    boxes = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert len(boxes) == len(page.all("table")) + 1  # The matrix too.
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in boxes)
    assert all(a["aria-label"] for a in boxes)


def test_every_class_row_has_its_own_colour_and_a_row_header(report):
    page = report()
    swatches = [a["style"] for a in page.all("span") if a.get("class") == "swatch"]
    assert "background:#12ab00" in swatches
    assert sum(a.get("scope") == "row" for a in page.all("th")) == 3 + 2  # classes, confusions


def test_more_than_twelve_classes_stand_in_two_tables_with_all_rows(report):
    names = [f"class {i}" for i in range(13)]
    page = report(
        class_names=names,
        confusion=np.eye(13, dtype=np.int64),
        evaluation={"iou": dict.fromkeys(names, 1.0)},
    )
    assert [a["aria-label"] for a in page.all("table")] == [
        "IoU by class, ranks 1 to 7",
        "IoU by class, ranks 8 to 13",
    ]
    assert all(page.texts.count(name) >= 2 for name in names)
    assert "Every pixel has its true class." in page.text


def test_a_run_without_history_says_so_and_shows_its_scores(report):
    page = report(history=[])
    assert "it was only evaluated" in page.text
    assert not page.all("polyline")
    assert "61.23" in page.text


def test_a_history_of_unusable_values_draws_nothing(report):
    rows = [{"step": 1, "loss": float("nan")}, {"step": 2, "mean_iou": None}, {"loss": 1.0}, {}]
    assert not report(history=rows).all("polyline")


def test_losses_that_are_not_finite_are_counted_and_left_out(report):
    rows = HISTORY + [{"step": 50, "loss": float("inf")}, {"step": 51, "loss": float("nan")}]
    page = report(history=rows)
    assert "2 of 42 values are NaN or infinite and not drawn." in page.text
    assert not any("nan" in a.get("points", "") for a in page.all("polyline"))


def test_one_evaluation_is_a_dot_on_an_axis_of_all_possible_scores(report):
    page = report(history=[{"step": 20, "mean_iou": 1.0}], evaluation={"step": 20, "iou": {}})
    assert len(page.all("circle")) == 1
    assert "Best mean IoU: 100.00 % at step 20." in page.text
    (chart,) = [a["aria-label"] for a in page.all("svg") if "Scores" in a.get("aria-label", "")]
    assert chart == "Scores on the evaluation set at step 20: mean IoU 100 %"
    assert {"0 %", "20 %", "100 %", "0", "15", "20", "step"} <= set(page.texts)
    assert not {"50 %", "150 %", "25"} & set(page.texts)


def test_a_repeated_step_counts_once_with_its_last_value():
    rows = [{"step": 2, "loss": 5.0}, {"step": 1, "loss": 4.0}, {"step": 2, "loss": 3}]
    x, y, lost = series(rows, "loss")
    assert (x.tolist(), y.tolist(), lost) == ([1, 2], [4, 3], 0)


def test_the_running_median_ignores_a_spike_and_keeps_a_line():
    y = np.arange(40.0)
    np.testing.assert_allclose(running_median(y)[2:-2], y[2:-2])
    y[20] = 1e6
    assert running_median(y).max() < 41


def test_long_histories_keep_their_peaks_and_a_bounded_size(report, tmp_path):
    y = np.random.default_rng(2).random(30_000)
    y[12_345] = 9.0
    x, kept = thin(np.arange(30_000.0), y)
    assert len(x) <= 600 and kept.max() == 9.0 and (np.diff(x) > 0).all()
    report(history=[{"step": i, "loss": float(v)} for i, v in enumerate(y)])
    assert (tmp_path / "report.html").stat().st_size < 100_000


def test_one_spike_does_not_flatten_the_loss(report):
    rows = [{"step": s, "loss": 1e6 if s == 50 else 1.0 + s / 200} for s in range(200)]
    page = report(history=rows)
    assert "Spikes above the frame are cut off." in page.text
    assert "1M" not in page.texts and "1.4" in page.texts


def test_cells_are_shares_of_their_true_class():
    page = Page(confusion_matrix_svg(CONFUSION, NAMES, label="matrix"))
    assert "sky → <script>alert('x'…: 10.0 %" in page.texts
    assert {"90", "10", "30", "70"} <= set(page.texts)
    assert len([a for a in page.all("rect") if a["class"] == "right"]) == 2


def test_rows_are_truth_from_the_top_and_columns_predictions_from_the_left():
    confusion = np.array([[0, 5], [0, 5]])
    page = Page(confusion_matrix_svg(confusion, ("a", "b"), label="matrix"))
    wrong = next(a for a in page.all("rect") if a["class"] == "wrong")
    right = next(a for a in page.all("rect") if a["class"] == "right")
    assert wrong["x"] == right["x"] and float(wrong["y"]) < float(right["y"])


def test_beyond_thirty_classes_tables_give_the_ids_that_stand_at_the_matrix(report):
    names = [f"class {i}" for i in range(31)]
    confusion = np.eye(31, dtype=np.int64)
    confusion[3, 7] = 1
    evaluation = {"iou": dict.fromkeys(names, 0.5)}
    page = report(class_names=names, confusion=confusion, evaluation=evaluation)
    assert page.texts.count("3 class 3") == 2 and page.texts.count("7 class 7") == 2
    assert "3 class 3 7 class 7 100.0" in page.text


def test_150_classes_become_one_picture_with_ids_at_its_sides():
    names = [f"class {i}" for i in range(150)]
    page = Page(confusion_matrix_svg(np.eye(150, dtype=np.int64), names, label="matrix"))
    (picture,) = page.all("image")
    pixels = decode(picture["href"])
    assert pixels.shape == (150, 150, 4)
    np.testing.assert_array_equal(pixels[..., 3], 255 * np.eye(150))
    assert "100" in page.texts and "class 3" not in page.texts


def decode(address):
    data = base64.b64decode(address.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(data)))


def test_an_example_shows_four_pictures_with_alt_text_and_its_classes(report):
    page = report(worst=[example("dir/a.jpg", dtype=np.int64)])
    assert [a["alt"] for a in page.all("img")] == [
        f"{title} of dir/a.jpg" for title in ("Image", "Truth", "Prediction", "Errors")
    ]
    assert "mean IoU 25.0 %" in page.text
    legend = page.text.split("Errors")[-1]
    assert "sky" in legend and HOSTILE in legend and "tree" not in legend
    assert "wrong pixels ignored pixels" in legend


def test_small_pictures_are_lossless_and_errors_lie_where_labels_differ(report):
    given = example()
    page = report(best=[given])
    pictures = [decode(a["src"]) for a in page.all("img")]
    np.testing.assert_array_equal(pictures[0], given.panels.given[0].rgb)
    orange = (pictures[3] == (255, 84, 20)).all(axis=-1)
    label = np.zeros((20, 30), np.uint8)
    label[1:10] = 1
    np.testing.assert_array_equal(orange, label == 1)


def test_an_image_without_counted_pixels_has_a_dash_for_its_score(report):
    assert "mean IoU –" in report(worst=[example(iou=None)]).text


@pytest.mark.parametrize(
    ("height", "width", "size"), [(1500, 2000, (300, 400)), (600, 1800, (187, 560))]
)
def test_large_images_are_shown_small(report, height, width, size):
    page = report(worst=[example(height=height, width=width)])
    for attributes in page.all("img"):
        assert decode(attributes["src"]).shape == (*size, 3)
        assert (int(attributes["height"]), int(attributes["width"])) == size


def test_twelve_images_of_noise_in_vocs_size_stay_below_twelve_megabytes(report, tmp_path):
    # Noise is the worst that JPEG can meet: photographs take a sixth of it.
    report(worst=[example(height=375, width=500)] * 12)
    assert (tmp_path / "report.html").stat().st_size < 12e6


def test_twelve_real_images_stay_below_three_megabytes(report, tmp_path, real_data):
    files = sorted((real_data / "VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[:12]
    images = [np.asarray(Image.open(file)) for file in files]
    labels = [np.zeros(image.shape[:2], np.uint8) for image in images]
    report(
        worst=[
            shown("a", 0.5, image, label, label)
            for image, label in zip(images, labels, strict=True)
        ]
    )
    assert len(images) == 12
    assert (tmp_path / "report.html").stat().st_size < 3e6


def test_a_report_replaces_the_old_one_and_leaves_nothing_else(report, tmp_path):
    (tmp_path / "report.html").write_text("old")
    report()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]
    assert "old" != (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"class_names": ("a",)}, "1 class names"), ({"palette": PALETTE[:21]}, r"\(21, 3\)")],
)
def test_what_does_not_fit_together_is_named(report, change, message):
    with pytest.raises(ValueError, match=message):
        report(**change)


def test_speed_and_memory_have_their_own_section_with_units_that_people_read(report):
    row = {"loss": 1.0, "images_per_second": 36.0, "waiting_for_data": 0.02}
    row |= {"model_flops_utilisation": 0.31, "process_memory_bytes": 5_000_000_000}
    hosts = ["node3 (process 3)", "node1 (process 1)", "node3 (process 3)"]
    rows = [
        {"step": s, **row, "slowest_host": host, "slowest_host_ratio": 1.5}
        for s, host in enumerate(hosts, start=1)
    ]
    page = report(history=rows)
    labels = [a["aria-label"] for a in page.all("svg") if "aria-label" in a]
    charts = {label.split(" from")[0]: label for label in labels}
    assert "Speed and memory" in page.texts
    assert charts["Model FLOPs utilisation"].endswith("31 %")
    assert charts["Memory of the process"].endswith("5 GB")
    assert "Most often this is node3 (process 3), in 2 of 3 rows." in page.text
    assert "FLOP/s" not in page.texts and "Device memory" not in page.texts
    assert "Speed and memory" not in report(history=HISTORY).texts
