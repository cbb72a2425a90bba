"""A list of experiments in one command: all run, none twice, and one page compares them."""

import dataclasses
import json
import pathlib
import shutil
import statistics

import pytest

from segjax import experiment as experiments
from segjax import launch, predict
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError, RunError
from segjax.train.ablation_results import write_ablation_results
from segjax.train.failures import record_failure
from segjax.train.predictions import forget_predictions, is_finished
from segjax.train.run import runs_of_file
from segjax.train.variants import check_variants

TINY = pathlib.Path(__file__).with_name("tiny.py")
SOURCE = '''"""A list of experiments: two variants, one of them with two seeds."""

import dataclasses

from tiny import experiment as tiny

from segjax.scores.overlap import Dice

SCORED = dataclasses.replace(tiny.evaluation, metrics=(Dice(),))
SHORT = dataclasses.replace(tiny, steps=4, checkpoint_every=2, ema=None, evaluation=SCORED)
WIDE = SHORT.model.clone(features=5)

experiments = [
    dataclasses.replace(SHORT, name="narrow", seed=0),
    dataclasses.replace(SHORT, name="narrow", seed=1),
    dataclasses.replace(SHORT, name="wide", model=WIDE),
]
'''
FOLDERS = ("narrow/seed0", "narrow/seed1", "wide/seed0")


def _written(folder: pathlib.Path, source: str) -> pathlib.Path:
    """Returns an experiment file beside the one that it imports."""
    shutil.copy(TINY, folder)
    path = folder / "tiny_list.py"
    path.write_text(source)
    return path


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> pathlib.Path:
    return _written(tmp_path_factory.mktemp("experiments"), SOURCE)


@pytest.fixture(scope="module")
def compared(tmp_path_factory, listed) -> pathlib.Path:
    root = tmp_path_factory.mktemp("runs") / "list"
    assert launch.main([str(listed), "--workdir", str(root)]) == 0
    return root


def _scores(root, folder):
    return json.loads((root / folder / "evaluation.json").read_text())


def test_every_experiment_of_the_list_leaves_a_run_of_its_own(compared):
    for folder in FOLDERS:
        assert (compared / folder / "report.html").is_file()
        assert _scores(compared, folder)["images"] == 3
    assert len({_scores(compared, folder)["mean_iou"] for folder in FOLDERS}) == 3


def test_the_table_has_mean_and_deviation_over_seeds_and_the_fields_that_differ(compared):
    variants = json.loads((compared / "comparison.json").read_text())["variants"]
    narrow, wide = variants
    values = [_scores(compared, folder)["mean_iou"] for folder in FOLDERS[:2]]
    assert narrow["seeds"] == [0, 1] and narrow["mean_iou"]["values"] == values
    assert narrow["mean_iou"]["mean"] == pytest.approx(statistics.fmean(values))
    assert narrow["mean_iou"]["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert wide["mean_iou"]["std"] is None
    assert (narrow["fields"], wide["fields"]) == (
        {"model.features": "4"},
        {"model.features": "5"},
    )


def test_the_scores_of_metrics_are_columns_of_the_comparison(compared):
    narrow = json.loads((compared / "comparison.json").read_text())["variants"][0]["mean_dice"]
    assert narrow["values"] == [
        _scores(compared, folder)["mean_dice"] for folder in FOLDERS[:2]
    ]
    page = (compared / "comparison.html").read_text()
    assert '<th scope="col">Mean Dice %</th>' in page
    assert f"{100 * narrow['mean']:.2f} ± {100 * narrow['std']:.2f}" in page


def test_the_page_shows_scores_curves_and_each_variants_predictions(compared):
    page = (compared / "comparison.html").read_text()
    narrow = json.loads((compared / "comparison.json").read_text())["variants"][0]["mean_iou"]
    assert f"{100 * narrow['mean']:.2f} ± {100 * narrow['std']:.2f}" in page
    assert page.count("<img") == 4  # One image: itself, its truth, two variants.
    assert 'alt="wide of val_0000000"' in page and "Mean IoU on the evaluation set" in page


def test_a_second_launch_trains_nothing_and_completes_what_is_missing(
    compared, listed, tmp_path, capsys
):
    root = tmp_path / "list"
    shutil.copytree(compared, root)
    shutil.rmtree(root / "wide")
    capsys.readouterr()
    assert launch.main([str(listed), "--workdir", str(root)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("already complete") == 2
    assert "wide: " in printed and "parameters" in printed
    assert _scores(root, "wide/seed0") == _scores(compared, "wide/seed0")


def test_predict_takes_the_run_of_a_list(compared, tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 18)).save(tmp_path / "a.png")
    run = compared / "wide/seed0"
    out = tmp_path / "out"
    assert predict.main([str(run), str(tmp_path / "a.png"), "--out", str(out)]) == 0
    with Image.open(out / "a.png") as mask:
        assert mask.size == (20, 18)


def test_a_run_that_failed_or_is_missing_is_counted_and_the_others_are_compared(
    compared, listed, tmp_path
):
    root = tmp_path / "list"
    shutil.copytree(compared, root)
    (root / "narrow/seed1/predictions.npz").unlink()
    runs = runs_of_file(listed, workdir=root)
    assert [run.workdir for run in runs] == [root / folder for folder in FOLDERS]
    narrow = write_ablation_results(root, runs)["variants"][0]
    assert (narrow["seeds"], narrow["failed"], narrow["missing"]) == ([0], [], [1])
    assert "1 (1 missing)" in (root / "comparison.html").read_text()
    record_failure(root / "narrow/seed1", RunError("the disk is full\nTraceback"))
    narrow = write_ablation_results(root, runs)["variants"][0]
    assert (narrow["failed"], narrow["missing"]) == ([1], [])
    page = (root / "comparison.html").read_text()
    assert "1 (1 failed)" in page and ">the disk is full</td>" in page


@pytest.mark.slow
def test_a_failing_run_does_not_stop_the_next_and_the_status_is_1(tmp_path, capsys):
    hot = "optimizer=dataclasses.replace(SHORT.optimizer, schedule=Constant(1e30))"
    source = SOURCE.replace('name="narrow", seed=1', f'name="hot", {hot}')
    source = source.replace(
        "from tiny", "from segjax.train.optimizer import Constant\nfrom tiny"
    )
    path = _written(tmp_path, source + "experiments = experiments[1:]\n")
    assert launch.main([str(path), "--workdir", str(tmp_path / "runs")]) == 1
    assert "1 of 2 runs failed" in capsys.readouterr().err
    variants = json.loads((tmp_path / "runs/comparison.json").read_text())["variants"]
    assert [(v["name"], v["seeds"], v["failed"]) for v in variants] == [
        ("hot", [], [0]),
        ("wide", [0], []),
    ]


def test_scores_of_another_evaluation_are_not_taken_for_this_ones(compared, listed, tmp_path):
    root = tmp_path / "list"
    shutil.copytree(compared, root)
    workdir, experiment = root / "wide/seed0", experiments.load_all(listed)[0][2]
    assert is_finished(workdir, experiment)
    smaller = dataclasses.replace(experiment.evaluation, batch_size=1)
    changed = dataclasses.replace(experiment, evaluation=smaller)
    assert not is_finished(workdir, changed)
    forget_predictions(workdir)
    assert not is_finished(workdir, experiment)


@pytest.mark.slow
def test_evaluate_scores_every_run_again_with_the_checkpoint_that_is_named(
    compared, listed, tmp_path
):
    root = tmp_path / "list"
    shutil.copytree(compared, root)
    options = ["--workdir", str(root), "--evaluate", "--checkpoint", "last"]
    assert launch.main([str(listed), *options]) == 0
    variants = json.loads((root / "comparison.json").read_text())["variants"]
    assert [variant["steps"] for variant in variants] == [[4, 4], [4]]


def test_a_checkpoint_that_no_run_has_changes_nothing(compared, listed, tmp_path, capsys):
    root = tmp_path / "list"
    shutil.copytree(compared, root)
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    options = ["--workdir", str(root), "--evaluate", "--checkpoint", "999"]
    assert launch.main([str(listed), *options]) == 2
    assert "--checkpoint 999: " in capsys.readouterr().err
    after = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    assert after == before


def test_seeds_are_not_set_from_outside(listed, tmp_path, capsys):
    options = ["--workdir", str(tmp_path / "runs"), "--set", "seed=3"]
    assert launch.main([str(listed), *options]) == 2
    assert "are identified by name and seed" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_variants_that_cannot_be_told_apart_are_an_error_that_names_them(listed):
    first, _, wide = experiments.load_all(listed)[0]
    with pytest.raises(InputError, match="two experiments are named 'narrow' with seed 0"):
        check_variants([first, first], "x.py")
    clash = dataclasses.replace(wide, name="narrow", seed=3)
    with pytest.raises(InputError, match="differ in more than the seed .model.features = 5"):
        check_variants([first, clash], "x.py")
    with pytest.raises(InputError, match="the name '../y' cannot be a folder name"):
        check_variants([first, dataclasses.replace(wide, name="../y")], "x.py")
    larger = dataclasses.replace(wide.eval_data, size=48)
    with pytest.raises(InputError, match="other images than 'narrow' .eval_data.size = 48"):
        check_variants([first, dataclasses.replace(wide, eval_data=larger)], "x.py")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("experiment = experiments[0]", "must define either"),
        ("experiments = []", "must define either"),
        ("experiments += [1]", r"experiments\[3\] is of type int; it must be Experiment"),
    ],
)
def test_a_file_with_both_none_or_something_else_is_an_error(tmp_path, line, message):
    path = _written(tmp_path, f"{SOURCE}\n{line}\n")
    with pytest.raises(InputError, match=message):
        experiments.load_all(path)


def test_what_takes_one_experiment_refuses_a_list(listed):
    with pytest.raises(InputError, match="a list of 3 experiments, which only segjax.launch"):
        experiments.load(listed)


@pytest.mark.parametrize(
    "names", [("disk", "background"), ("background",), ("background", "ring")], ids=str
)
def test_variants_of_other_classes_or_in_another_order_are_not_compared(names, listed):
    class Named(Synthetic):
        class_names = ("background", "disk")

    class Other(Synthetic):
        class_names = names

    Other.__qualname__ = Named.__qualname__
    first, *_, wide = experiments.load_all(listed)[0]
    first = dataclasses.replace(first, eval_data=Named("val", size=32, count=3))
    wide = dataclasses.replace(wide, eval_data=Other("val", size=32, count=3))
    with pytest.raises(
        InputError, match="'wide' are of the classes .*'narrow' are of .* backg"
    ):
        check_variants([first, wide], "x.py")
