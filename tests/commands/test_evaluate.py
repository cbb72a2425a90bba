"""Evaluating alone: with wrappers, as a table, and of weights that no run has trained."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax import launch, predict
from segjax.evaluate.compiled import predictor
from segjax.evaluate.wrappers import Flip
from segjax.experiment import describe, load, override
from segjax.train.checkpoint import Checkpoints
from segjax.train.table import evaluation_stages
from segjax.train.workdir import open_run

TINY = pathlib.Path(__file__).with_name("tiny.py")
WRAPPERS = "segjax.evaluate.wrappers"
FLIP, SCALES = f"{WRAPPERS}.Flip()", f"{WRAPPERS}.MultiScale((0.5,1.0))"
CANVASES = "segjax.evaluate.windows"
WINDOWS = f"{CANVASES}.SlidingWindow(20,12)"


def scores_of(workdir: pathlib.Path) -> dict:
    return json.loads((workdir / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    settings = ("steps=8", "checkpoint_every=8", f"evaluation.predictor={FLIP}")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert launch.main([str(TINY), "--workdir", str(workdir), *arguments]) == 0
    return workdir


@pytest.fixture
def finished(trained_once, tmp_path_factory) -> pathlib.Path:
    """A copy of the run: evaluating changes it, and tests may come in any order."""
    return pathlib.Path(shutil.copytree(trained_once, tmp_path_factory.mktemp("copy") / "run"))


def evaluate(run, workdir, *arguments):
    return run(TINY, "--workdir", workdir, "--set", "steps=8", "--evaluate", *arguments)


def test_the_wrappers_decide_the_scores_while_training_and_afterwards(finished, run):
    trained = scores_of(finished)
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert trained["mean_iou"] in [row.get("mean_iou") for row in rows]
    assert evaluate(run, finished)[0] == 0
    plain = scores_of(finished)
    assert plain["mean_iou"] != trained["mean_iou"] and plain["step"] == trained["step"] == 8
    status, _, error = evaluate(run, finished, "--set", f"evaluation.predictor={FLIP}")
    assert (status, error) == (0, "") and scores_of(finished) == trained


def test_a_table_has_a_row_for_each_wrapper_and_ends_with_the_evaluation(finished, run):
    chosen = f"evaluation.predictor={FLIP},{WINDOWS}"
    status, out, _ = evaluate(run, finished, "--table", "--set", chosen)
    rows = json.loads((finished / "evaluations.json").read_text())
    names = ["whole image", "+ Flip", "+ SlidingWindow"]
    assert status == 0 and [row["name"] for row in rows] == names
    assert rows[2].items() >= scores_of(finished).items()
    assert [len(row["predictor"]) for row in rows] == [0, 1, 2]
    assert rows[2]["output_stride"] is None
    assert rows[2]["predictor"][1].startswith("SlidingWindow(size=20, stride=12")
    printed = [line for line in out.splitlines() if line.startswith(tuple(names))]
    for row, line in zip(rows, printed, strict=True):
        numbers = [f"{row[score]:.4f}" for score in ("mean_iou", "pixel_accuracy")]
        assert line.split()[-2:] == numbers


def test_a_runs_masks_are_predicted_with_its_wrappers(finished, tmp_path):
    assert len(open_run(finished).evaluation.wrappers) == 1
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert predict.main([str(finished), str(tmp_path / "a.png"), "--out", str(out)]) == 0
    experiment = open_run(finished)
    with Checkpoints(finished, read_only=True) as checkpoints:
        _, variables = checkpoints.restore_variables()
    wrapped = predictor(experiment.model, experiment.normalize, wrappers=(Flip(),))
    with Image.open(out / "a.png") as mask:
        np.testing.assert_array_equal(
            np.array(mask), wrapped.classes(variables, pixels[None])[0]
        )


def test_how_a_run_is_evaluated_is_no_part_of_its_default_folder(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(
        TINY, "--evaluate", "--set", f"evaluation.predictor={FLIP}", "--set", "seed=1"
    )
    folder = error.split("/checkpoints")[0].rsplit("/", 1)[1]
    assert status == 2 and "holds no checkpoint" in error
    _, _, plain = run(TINY, "--evaluate", "--set", "seed=1")
    assert f"/{folder}/checkpoints" in plain


def test_weights_that_no_run_has_trained_are_evaluated_if_one_says_so(finished, tmp_path, run):
    weights = f"init=segjax.weights.Pretrained('{finished / 'model.safetensors'}')"
    workdir = tmp_path / "imported"
    given = (TINY, "--workdir", workdir, "--set", weights, "--evaluate")
    status, _, error = run(*given)
    assert status == 2 and "or evaluate the weights that it starts from" in error
    assert "--checkpoint init" in error and not workdir.exists()
    status, out, _ = run(*given, "--checkpoint", "init")
    assert status == 0 and "step 0, 3 images" in out
    assert evaluate(run, finished)[0] == 0
    trained, imported = scores_of(finished), scores_of(workdir)
    assert {**imported, "step": 8} == trained
    assert open_run(workdir).init is not None and (workdir / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table"], "--table needs --evaluate"),
        (["--checkpoint", "init"], "--checkpoint init needs --evaluate"),
        (["--evaluate", "--checkpoint", "init"], "tiny has init=None"),
        (["--set", f"evaluation.predictor={WRAPPERS}.Flip"], "Flip is a class; write Flip()"),
        (["--set", f"evaluation.predictor={WRAPPERS}.Flipp()"], "near: Flip"),
        (["--set", "evaluation.predictor=flip"], "expected"),
        (
            ["--set", f"evaluation.predictor={CANVASES}.SlidingWindow(20,30)"],
            "stride=30 leaves gaps between windows of size=20",
        ),
        (["--set", f"evaluation.predictor={WRAPPERS}.MultiScale(())"], "scales=() must be"),
        (
            ["--set", f"evaluation.predictor={FLIP},{CANVASES}.OverlapTile(8)"],
            "make it the first wrapper",
        ),
        (
            ["--set", f"evaluation.predictor={CANVASES}.OverlapTile(8)"],
            "use SlidingWindow instead",
        ),
        (
            ["--set", f"evaluation.predictor={CANVASES}.SlidingWindow(400, memory=3)"],
            "memory=3 MiB cannot hold one window of 400² pixels and 6 classes; set memory=4",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_work_in_one_line(
    arguments, message, tmp_path, monkeypatch, run
):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(TINY, *arguments, "--workdir", tmp_path / "run")
    assert (status, message in error) == (2, True), error
    assert error.count("\n") == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrappers", "message"),
    [
        (f"{FLIP},{CANVASES}.SlidingWindow(400,memory=3)", "memory=3 MiB cannot hold"),
        (f"{FLIP},{CANVASES}.OverlapTile(8)", "make it the first wrapper"),
    ],
)
def test_a_table_whose_last_row_cannot_be_scored_costs_nothing(
    wrappers, message, finished, tmp_path, run
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    before = {path: path.read_bytes() for path in workdir.glob("*.*")}
    chosen = f"evaluation.predictor={wrappers}"
    status, out, error = evaluate(run, workdir, "--table", "--set", chosen)
    assert status == 2 and message in error
    assert out.splitlines()[1].startswith("images") and "step" not in out
    assert {path: path.read_bytes() for path in workdir.glob("*.*")} == before


def test_a_table_that_breaks_off_has_the_rows_that_were_scored(
    finished, tmp_path, monkeypatch, run
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    fail = lambda *_: (_ for _ in ()).throw(MemoryError("of the windows"))
    monkeypatch.setattr("segjax.evaluate.windowed.Windowed.classes", fail)
    chosen = f"evaluation.predictor={FLIP},{WINDOWS}"
    assert evaluate(run, workdir, "--table", "--set", chosen)[0] == 1
    rows = json.loads((workdir / "evaluations.json").read_text())
    assert [row["name"] for row in rows] == ["whole image", "+ Flip"]


def test_the_output_stride_has_a_row_of_its_own_where_it_is_another():
    backbone = "segjax.backbones.resnet.ResNet18(output_stride=16)"
    dense = f"segjax.models.deeplab_v3.DeepLabV3({backbone}, 6, rates=(1,))"
    experiment = override(load(TINY), f"model={dense}")
    built = evaluation_stages(override(experiment, "evaluation.output_stride=8"))
    assert [name for name, _ in built] == ["whole image", "+ output stride 8"]
    assert [e.evaluation.output_stride for _, e in built] == [None, 8]
    assert len(evaluation_stages(override(experiment, "evaluation.output_stride=16"))) == 1


def test_stages_change_one_thing_each_and_describe_shows_the_wrappers():
    experiment = override(load(TINY), f"evaluation.predictor={SCALES},{FLIP}")
    built = evaluation_stages(experiment)
    assert [name for name, _ in built] == ["whole image", "+ MultiScale", "+ Flip"]
    assert built[-1][1] == experiment and built[0][1] == load(TINY)
    lines = describe(experiment).splitlines()
    assert "evaluation.predictor.0.scales = (0.5, 1.0)" in lines
    assert "evaluation.predictor.1 = segjax.evaluate.wrappers.Flip()" in lines
    again = override(experiment, "evaluation.predictor.0.combine=max")
    assert again.evaluation.wrappers[0].combine == "max"
    alone = override(load(TINY), f"evaluation.predictor={SCALES}")
    assert [name for name, _ in evaluation_stages(alone)] == ["whole image", "+ MultiScale"]
