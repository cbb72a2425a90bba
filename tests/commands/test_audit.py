"""`launch --audit`: exit status, what is printed, and the files that it writes."""

import json
import pathlib
import runpy

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NEAR = runpy.run_path(str(ROOT / "tests/audit/faulty_folder.py"))
EXPERIMENT = f"""
import dataclasses
from segjax import losses
from segjax.class_weights import MedianFrequency
from segjax.data.folder import Folder
from segjax.experiment import load
names = {NEAR["NAMES"]!r}
experiment = dataclasses.replace(
    load({str(ROOT / "experiments/quickstart.py")!r}),
    name="audited",
    train_data=Folder("train", class_names=names),
    eval_data=Folder("val", class_names=names),
    loss=losses.ClassWeightedCrossEntropy(weights=MedianFrequency()),
)
"""


@pytest.fixture
def audit(run, tmp_path):
    """(status, what is printed, the error's line) of an audit of the folder `tmp_path/data`."""
    (tmp_path / "e.py").write_text(EXPERIMENT, encoding="utf-8")
    workdir = tmp_path / "run"
    data = tmp_path / "data"
    return lambda: run(tmp_path / "e.py", "--audit", "--data", data, "--workdir", workdir)


def test_errors_end_with_status_1_after_all_is_written(audit, tmp_path):
    NEAR["faulty"](tmp_path / "data")
    status, printed, error = audit()
    assert (status, error) == (1, "error: the audit found 7 errors: mend them first.")
    assert "label id 7" in printed and "weights from train_data" in printed
    folder = tmp_path / "run/audit"
    assert json.loads((folder / "audit.json").read_text(encoding="utf-8"))["errors"] == 7
    page = (folder / "audit.html").read_text(encoding="utf-8")
    assert "strange.png" in page and page.startswith("<!doctype html>")
    assert f"{folder / 'audit.html'}" in printed
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"audit"}


def test_warnings_alone_end_with_status_0_and_a_second_time_is_the_same(audit, tmp_path):
    NEAR["sound"](tmp_path / "data")
    NEAR["sound"](tmp_path / "data", "val", 2, first=50)
    NEAR["save"](tmp_path / "data", "val", "c", NEAR["picture"](9), NEAR["mask"]() * 0 + 1)
    status, printed, error = audit()
    assert (status, error) == (0, "")
    assert "0 errors and 1 warning" in printed
    files = sorted((tmp_path / "run/audit").iterdir())
    contents = [path.read_bytes() for path in files]
    assert audit() == (0, printed, "")
    assert [path.read_bytes() for path in files] == contents


def test_without_data_the_arguments_are_wrong(audit, tmp_path):
    status, printed, error = audit()
    assert status == 2 and "is not a folder" in error and error.count("\n") == 0
    assert "train_data: " in error and "eval_data: " in error
    assert not (tmp_path / "run").exists()


def test_broken_images_alone_end_with_status_1_and_one_error_is_it(audit, tmp_path):
    for split in ("train", "val"):
        NEAR["sound"](tmp_path / "data", split, 1)
        (tmp_path / f"data/images/{split}/000.png").write_bytes(b"broken")
    status, _, error = audit()
    assert (status, error) == (1, "error: the audit found 2 errors: mend them first.")
    NEAR["save"](tmp_path / "data", "val", "000", NEAR["picture"](0))
    status, _, error = audit()
    assert (status, error) == (1, "error: the audit found 1 error: mend it first.")


def test_a_dataset_that_draws_itself_is_audited_by_its_examples(run, tmp_path):
    experiment = ROOT / "experiments/quickstart.py"
    settings = ("--set", "train_data.size=32", "--set", "eval_data.size=32")
    status, printed, _ = run(experiment, "--audit", "--workdir", tmp_path, *settings)
    assert status == 0
    assert "200 of 1,048,576" in printed and "0 errors and" in printed
    kept = json.loads((tmp_path / "audit/audit.json").read_text(encoding="utf-8"))
    assert kept["datasets"]["train_data"]["complete"] is False
    assert kept["datasets"]["eval_data"]["read"] == 64


def test_an_example_that_cannot_be_used_is_a_finding(run, tmp_path):
    faulty = ROOT / "tests/commands/faulty.py"
    arguments = ("--audit", "--workdir", tmp_path, "--set", "train_data.fault='7'")
    status, printed, error = run(faulty, *arguments)
    assert status == 1 and "has the label ids [7]" in printed, error
