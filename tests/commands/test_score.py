"""The command that scores two folders of masks: its table, its JSON, and what it refuses."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from segjax import launch, predict, score
from segjax.data.synthetic import Synthetic

TINY = pathlib.Path(__file__).with_name("tiny.py")
TRUTH = ("00011000",) * 2 + ("22222222",) * 2 + ("33333333",) * 2 + ("00444400",) * 2
PREDICTION = (
    *("00111000", "00221000", "22222222", "22222222"),
    *("03333333", "04333334", "00444440", "00444440"),
)


def save(path: pathlib.Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([[int(i) for i in row] for row in rows], np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path) -> list[pathlib.Path]:
    """The worked example as one image in each folder."""
    save(tmp_path / "truth" / "a.png", TRUTH)
    save(tmp_path / "prediction" / "a.png", PREDICTION)
    return [tmp_path / "truth", tmp_path / "prediction"]


@pytest.fixture
def run(capsys):
    """(status, what it printed, what it said on standard error) of the command."""

    def called(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        status = score.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return called


def test_the_worked_8x8_example_gives_its_published_scores(folders, run):
    status, out, err = run(*folders)
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert out.startswith("1 image, 5 classes (up to the largest id in the masks), 64 pixels, ")
    assert lines[2] == ["Class", "IoU", "Accuracy", "Precision", "Dice", "Pixels"]
    assert lines[3] == "0 72.73 % 80.00 % 88.89 % 84.21 % 20".split()
    assert out.splitlines()[-4:] == [
        "mean IoU                 72.66 %",
        "pixel accuracy           85.94 %",
        "mean accuracy            86.00 %",
        "frequency-weighted IoU   75.78 %",
    ]


def test_json_holds_every_score_and_the_matrix(folders, run):
    status, out, _ = run(*folders, "--json")
    scores = json.loads(out)
    assert status == 0 and scores["pixel_accuracy"] == 55 / 64
    assert scores["iou"]["4"] == pytest.approx(8 / 12)
    assert scores["mean_iou"] == pytest.approx(0.72657, abs=1e-5)
    assert scores["confusion"][0] == [16, 1, 1, 0, 2]


def test_names_come_from_a_file_and_absent_classes_are_left_out(folders, run, tmp_path):
    (tmp_path / "names.txt").write_text("sky\nroad\ncar\ntree\nman\nbird\n", encoding="utf-8")
    status, out, _ = run(*folders, "--names", tmp_path / "names.txt")
    assert status == 0 and "  0 sky " in out and "bird" not in out
    assert "1 image, 6 classes, 64" in out and "72.66 %  over 5 of 6 classes" in out
    (tmp_path / "names.txt").write_text("sky\nroad\nsky\n", encoding="utf-8")
    status, _, err = run(*folders, "--names", tmp_path / "names.txt")
    assert status == 2 and "has 'sky' 2 times: keep one line for each class." in err
    status, _, err = run(*folders, "--names", tmp_path / "name.txt")
    assert status == 2 and "is missing, but there is" in err


def test_ids_are_ignored_or_changed_as_options_say(folders, run):
    status, out, _ = run(*folders, "--ignore", 0, "--ignore", "4", "--classes", 4, "--json")
    scores = json.loads(out)
    assert status == 0 and scores["ignored_pixels"] == 28 and scores["pixels"]["3"] == 16
    status, out, _ = run(*folders, "--label-map", "nonzero=1", "--json")
    scores = json.loads(out)
    assert status == 0 and scores["confusion"] == [[16, 4], [2, 42]]


@pytest.mark.parametrize("label_map", ["255=1", "nonzero=1", ">127=1,else=0", "200-255=1"])
def test_black_and_white_masks_are_scored_by_every_form_of_a_label_map(
    label_map, tmp_path, run
):
    mask = np.array([[0, 0, 255, 255], [0, 255, 255, 255]], np.uint8)
    for folder in ("t", "p"):
        (tmp_path / folder).mkdir()
        Image.fromarray(mask).save(tmp_path / folder / "a.png")
    out = run(tmp_path / "t", tmp_path / "p", "--label-map", label_map, "--json")[1]
    assert json.loads(out)["confusion"] == [[3, 0], [0, 5]]


def test_an_only_predicted_class_lowers_one_of_the_two_means(folders, run):
    save(folders[0] / "a.png", [row.replace("4", "3") for row in TRUTH])
    lines = run(*folders)[1].splitlines()
    (both,) = (line for line in lines if line.startswith("mean IoU   "))
    (true,) = (line for line in lines if line.startswith("mean IoU of classes with truth"))
    assert "over" not in both and true.endswith("over 4 of 5 classes")


def test_predictions_without_truth_are_named_and_not_scored(folders, run):
    save(folders[1] / "a_overlay.png", PREDICTION)
    status, out, err = run(*folders)
    assert status == 0 and " 72.66 %" in out
    assert "1 file of " in err and "not scored (a_overlay.png)" in err
    status, out, err = run(folders[0], folders[1] / "{stem}.png")
    assert status == 0 and " 72.66 %" in out
    assert f"not scored ({folders[1] / 'a_overlay.png'})" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label-map", "255:1"), "'255:1' is not ID=CLASS"),
        (("--label-map", ">a=1"), "label_map cannot read '>a'"),
        (("--classes", "3"), "has the ids 3, 4, but the 3 classes have ids 0 to 2"),
        (("--classes", "1"), "must be 2 to 4096, got 1"),
    ],
)
def test_what_cannot_be_scored_is_one_line_and_status_2(folders, run, options, message):
    status, out, err = run(*folders, *options)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, out) == (2, "") and message in line


@pytest.mark.slow
def test_predictions_of_a_run_score_as_its_own_evaluation(run, tmp_path):
    """Written by predict, read back and compared with the masks: the same numbers."""
    workdir, images = tmp_path / "run", tmp_path / "images"
    assert launch.main([str(TINY), "--workdir", str(workdir)]) == 0
    evaluation = json.loads((workdir / "evaluation.json").read_text(encoding="utf-8"))
    data = Synthetic(split="val", size=32, count=3)
    for i in range(len(data)):
        save(tmp_path / "truth" / f"{i}.png", data[i]["label"])
        images.mkdir(exist_ok=True)
        Image.fromarray(data[i]["image"]).save(images / f"{i}.png")
    out = tmp_path / "prediction"
    assert predict.main([str(workdir), str(images), "--out", str(out)]) == 0
    (tmp_path / "names.txt").write_text("\n".join(data.class_names), encoding="utf-8")
    status, printed, _ = run(
        tmp_path / "truth", out, "--names", tmp_path / "names.txt", "--json"
    )
    scores = json.loads(printed)
    assert status == 0
    shared = scores.keys() & evaluation.keys()
    assert {"images", "mean_iou", "iou", "frequency_weighted_iou"} <= shared
    assert {key: scores[key] for key in shared} == {key: evaluation[key] for key in shared}


def test_real_annotations_score_perfectly_against_themselves(real_data, run):
    ade = real_data / "ade20k"
    options = ("--classes", 151, "--ignore", 0, "--json")
    status, out, _ = run(ade / "annotations", ade / "predictions", *options)
    scores = json.loads(out)
    assert status == 0 and scores["mean_iou"] == 1 and scores["classes_with_truth"] == 15


def test_metrics_add_their_scores_to_the_table_and_to_the_json(folders, run):
    names = "dice,precision,recall,mean_iou_over_images,boundary_iou,trimap_iou,boundary_f1"
    options = ("--classes", 5, "--metrics", f"{names},rand_error=3,warping_error=3,bootstrap")
    status, out, err = run(*folders, *options)
    assert status == 0, err
    rows = [line.split("  ")[0] for line in out.splitlines()]
    assert {"Mean Dice", "Mean boundary IoU", "Rand error", "Warping error"} <= {*rows}
    assert out.count("Mean IoU within ") == 6 and "95 % interval of mean IoU" in out
    scores = json.loads(run(*folders, *options, "--json")[1])
    plain = json.loads(run(*folders, "--classes", 5, "--json")[1])
    assert {name: scores[name] for name in plain} == plain
    assert scores["mean_dice"] == pytest.approx(np.mean(list(plain["dice"].values())))
    assert scores["mean_iou_over_images"] == pytest.approx(plain["mean_iou"])  # One image.
    assert scores["trimap_iou"]["32"] == pytest.approx(plain["mean_iou"])  # All of it.
    assert scores["bootstrap_intervals"]["mean_iou"] == [pytest.approx(plain["mean_iou"])] * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--metrics", "dice"),
            "--metrics needs the classes: give --names FILE or --classes N",
        ),
        (
            ("--classes", 5, "--metrics", "boundry_iou"),
            "there is no 'boundry_iou'; near: bound",
        ),
        (
            ("--classes", 5, "--metrics", "dice=1"),
            "only rand_error and warping_error take =CLA",
        ),
        (("--classes", 5, "--metrics", "rand_error"), "such as RandError(segments='4')"),
        (("--classes", 5, "--metrics", "dice,dice"), "both give 'mean_dice'"),
    ],
)
def test_metrics_that_do_not_fit_are_one_line_and_status_2(folders, run, options, said):
    status, out, err = run(*folders, *options)
    assert status == 2 and said in err and err.count("\n") == 1


def test_every_mask_that_cannot_be_scored_is_named_in_a_line(folders, run):
    bad = {"b": b"", "c\nd": b"text", "e": (folders[0] / "a.png").read_bytes()[:60]}
    for name, contents in bad.items():
        save(folders[0] / f"{name}.png", TRUTH)
        (folders[1] / f"{name}.png").write_bytes(contents)
    status, out, err = run(*folders)
    assert (status, out) == (2, "")
    lines = [line for line in err.splitlines() if "cannot be read" in line]
    assert len(lines) == 3 and "c\\nd.png cannot be read" in lines[0]
    assert lines[2].startswith("error: ") and lines[2].endswith("(and 2 more)")
