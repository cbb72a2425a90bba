"""Every command with a task of one's own, on data without classes."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax import launch, predict, serve
from segjax.export import __main__ as export

LIST = pathlib.Path(__file__).with_name("means.py")
ONE = "experiment = experiment_of(0)\ndel experiments\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> pathlib.Path:
    """The list's file with one experiment of it."""
    path = tmp_path_factory.mktemp("one") / "one_means.py"
    path.write_text(LIST.read_text(encoding="utf-8") + "\n" + ONE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(file) -> pathlib.Path:
    workdir = file.parent / "run"
    assert launch.main([str(file), "--workdir", str(workdir)]) == 0
    return workdir


def test_a_primary_score_is_logged_and_scores_of_numpy_are_written_plainly(finished):
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert evaluation["rows"] == 3 and evaluation["spread"] == [evaluation["error"], None]
    rows = [json.loads(row) for row in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "error" in row] == [2, 4]
    page = (finished / "report.html").read_text()
    assert "Error &lt; all" in page and "Error < all" not in page


def test_a_table_has_the_primary_score(file, finished, capsys):
    words = [
        "--evaluate",
        "--table",
        "--set",
        "evaluation.predictor=segjax.evaluate.wrappers.Flip()",
    ]
    assert launch.main([str(file), "--workdir", str(finished), *words]) == 0
    assert "error" in capsys.readouterr().out.splitlines()[-5]


def test_an_ablation_is_compared_by_the_primary_score_and_done_once(tmp_path, capsys):
    words = [str(LIST), "--workdir", str(tmp_path / "all")]
    assert launch.main(words) == 0
    (variant,) = json.loads((tmp_path / "all/comparison.json").read_text())["variants"]
    assert len(variant["error"]["values"]) == 2 and variant["error"]["std"] is not None
    assert "Error &lt; all" in (tmp_path / "all/comparison.html").read_text()
    capsys.readouterr()
    assert launch.main(words) == 0
    assert capsys.readouterr().out.count("already complete") == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", "shows 'error', which its scores() lack; they have mistake."),
        ("step", "calls a score 'step'; give it another name."),
    ],
)
def test_a_metric_that_errs_is_told_in_a_line_and_costs_no_step(
    file, tmp_path, fault, said, capsys
):
    words = [str(file), "--workdir", str(tmp_path / "run"), "--set", f"task.fault={fault}"]
    assert launch.main(words) == 1
    assert said in capsys.readouterr().err
    assert (tmp_path / "run/checkpoints/2").is_dir()


def test_an_infinite_score_is_none(file, tmp_path, capsys):
    words = [str(file), "--workdir", str(tmp_path / "run"), "--set", "task.fault=infinite"]
    assert launch.main(words) == 0
    assert "no score is defined" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["error"] is None


def test_predict_writes_the_tasks_own_files(finished, tmp_path):
    image = np.random.default_rng(9).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert predict.main([str(finished), str(tmp_path / "a.png"), "--out", str(out)]) == 0
    assert np.load(out / "a.npy").shape == (5, 7, 1)


def test_serve_says_that_it_has_nothing_to_paint(finished, capsys):
    assert serve.main([str(finished), "--port", "0"]) == 2
    assert "serve draws classes, but task=Means has none" in capsys.readouterr().err


def test_an_export_of_classes_that_a_task_lacks_says_so_and_not_that_a_size_is_wrong(
    finished, tmp_path, capsys
):
    words = [str(finished), "--out", str(tmp_path / "m.stablehlo"), "--output", "classes"]
    assert export.main(words) == 2
    error = capsys.readouterr().err
    assert error == "error: --output classes: task=Means has none; leave it out.\n"


def test_an_export_holds_the_maps_of_the_task(file, tmp_path):
    run = tmp_path / "run"
    words = ["--set", "model.num_classes=2", "--set", "steps=2"]
    assert launch.main([str(file), "--workdir", str(run), *words]) == 0
    out = tmp_path / "maps.stablehlo"
    assert (
        export.main([str(run), "--out", str(out), "--size", "8x8", "--platforms", "cpu"]) == 0
    )
    from jax import export as exported

    maps = exported.deserialize(bytearray(out.read_bytes())).call(
        np.zeros((1, 8, 8, 3), np.uint8)
    )
    assert maps.shape == (1, 8, 8, 2)
    # Of a black image the bias is left; a softmax would add up to one.
    assert not np.allclose(np.asarray(maps).sum(-1), 1)
    assert json.loads((tmp_path / "maps.stablehlo.json").read_text())["class_names"] == []
    shutil.rmtree(run)
