"""Runs on wrong data: the example and the cause are named, and no step taken is lost."""

import json
import pathlib

import pytest

from segjax import launch
from segjax.train import plan
from segjax.train.coverage import Coverage

FAULTY = pathlib.Path(__file__).with_name("faulty.py")


def run(capsys, workdir: pathlib.Path, *settings: str, evaluate: bool = False):
    """(status, the error's line) of the command in this process."""
    arguments = [str(FAULTY), "--workdir", str(workdir), *(["--evaluate"] if evaluate else [])]
    capsys.readouterr()
    status = launch.main(arguments + [part for s in settings for part in ("--set", s)])
    lines = capsys.readouterr().err.splitlines()
    return status, "\n".join(
        lines[i] for i, line in enumerate(lines) if line.startswith("error")
    )


def saved_steps(workdir: pathlib.Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").glob("[0-9]*"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("-1", "has the label ids [-1], but the 3 classes have ids 0 to 2 (and 255 = ignored)"),
        ("7", "has the label ids [7], but the 3 classes"),
        ("4294967296", "has the label ids [4294967296]"),
        ("floats", "label must be class ids (integers), got float64"),
        ("h w 1", "label has shape (8, 8, 1), the image (8, 8, 3)"),
        ("1 h w", "give label[0]"),
        ("one-hot", "give label.argmax(-1)"),
        ("nan", "has 1 image value(s) that are not finite, the first nan at row 3, column 4"),
        ("inf", "the first inf at row 3"),
    ],
)
@pytest.mark.parametrize("field", ["train_data", "eval_data"])
def test_a_fault_of_the_first_examples_is_found_before_work_starts(
    field, fault, message, tmp_path, capsys
):
    status, error = run(capsys, tmp_path / "run", f"{field}.fault={fault!r}")
    assert (status, message in error) == (2, True), error
    assert error.startswith("error: Example 'scan ") and error.count("\n") == 0
    assert "workdir" not in error and "learning rate" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.outputs=5", "Pixels predicts 5 classes, but eval_data has 3"),
        ("model.outputs=1", "1 class; the softmax over one class is always 1"),
        (
            "loss=segjax.losses.ClassWeightedCrossEntropy((1.0, -1.0, 1.0))",
            "at least 0, got -1.0",
        ),
    ],
)
def test_numbers_of_classes_that_disagree_are_found_before_work_starts(
    setting, message, tmp_path, capsys
):
    status, error = run(capsys, tmp_path / "run", setting)
    assert (status, message in error) == (2, True), error
    assert not (tmp_path / "run").exists()


def test_a_single_class_is_refused_with_the_remedy(tmp_path, capsys):
    one = [f"{field}.class_names=('road',)" for field in ("train_data", "eval_data")]
    status, error = run(capsys, tmp_path / "run", *one)
    assert (
        status == 2 and "has one class, 'road', so every pixel would be of this class" in error
    )
    assert "('background', 'road')" in error


def test_a_later_example_stops_the_run_by_its_name_and_costs_no_step(tmp_path, capsys):
    # Scan 7 is in the second batch, of which the first step knows nothing.
    workdir = tmp_path / "run"
    for fault, message in (("nan", "not finite, the first nan"), ("-1", "label ids [-1]")):
        settings = (f"train_data.fault={fault}", "train_data.at=7")
        status, error = run(capsys, workdir / fault, *settings)
        assert status == 1 and "Example 'scan 7'" in error and message in error, error
        assert "learning rate" not in error and "--workdir" not in error
        assert saved_steps(workdir / fault) == ["1"]
        assert error.endswith(
            "step 1 is saved. Fix it, and the same command resumes from there."
        )


def test_an_error_of_the_datasets_own_costs_no_step_either(tmp_path, monkeypatch, capfd):
    # Before step 0 all is well; the disk fails later.
    monkeypatch.setattr(plan, "data_coverage", lambda *_: Coverage("", (), None))
    settings = ("train_data.fault='unreadable'", "train_data.at=7")
    arguments = [str(FAULTY), "--workdir", str(tmp_path / "run")]
    status = launch.main(arguments + [part for s in settings for part in ("--set", s)])
    said = capfd.readouterr().err
    assert status == 1 and "OSError: the disk of scan 7 is gone" in said and "Traceback" in said
    assert "The state of step 1 is saved." in said
    assert saved_steps(tmp_path / "run") == ["1"]


def test_values_that_the_normalisation_makes_infinite_are_named_not_the_rate(tmp_path, capsys):
    workdir = tmp_path / "run"
    status, error = run(capsys, workdir, "train_data.fault=3e38")
    assert status == 1 and "not finite at step 1" in error, error
    assert "Example 'scan " in error and "3e+38, which normalize=" in error
    assert "learning rate" not in error and "workdir" not in error
    # Nothing was trained: what mends the data may go on in the same folder.
    assert not saved_steps(workdir)
    status, error = run(capsys, workdir)
    assert (status, error) == (0, "")
    assert json.loads((workdir / "evaluation.json").read_text())["step"] == 4
    # Now something is.
    status, error = run(capsys, workdir, "train_data.fault=nan")
    assert status == 2 and "belongs to another experiment" in error


def test_a_rate_that_is_too_high_is_still_blamed_where_the_data_are_sound(tmp_path, capsys):
    status, error = run(capsys, tmp_path / "run", "optimizer.schedule.rate=1e38")
    assert status == 1 and "Lower the learning rate" in error and "Example" not in error


def test_all_of_the_evaluation_is_looked_at(tmp_path, capsys):
    # Before step 0 only a part of a large dataset is read, which leaves out scan 2.
    workdir, settings = tmp_path / "run", ("eval_data.fault=7", "eval_data.count=260")
    status, error = run(capsys, workdir, *settings, "eval_data.at=2")
    assert status == 1 and "Example 'scan 2' has the label ids [7]" in error
    assert saved_steps(workdir) == ["4"]
    status, error = run(capsys, workdir, *settings, "eval_data.at=2", evaluate=True)
    assert status == 2 and "Example 'scan 2' has the label ids [7]" in error
    status, error = run(capsys, workdir)
    assert (status, error) == (0, "")


@pytest.mark.parametrize(
    "settings", [("eval_data.at=6",), ("train_data.at=7", "transforms=()")]
)
def test_what_no_transform_can_mend_is_found_before_step_0_in_any_example(
    settings, tmp_path, capsys
):
    field = settings[0].partition(".")[0]
    status, error = run(capsys, tmp_path / "run", f"{field}.fault=7", *settings)
    assert status == 2 and "has the label ids [7]" in error
    assert not (tmp_path / "run").exists()
