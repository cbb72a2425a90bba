"""Grids and seeds from the command line: shared out, resumed, and compared on one page."""

import json
import pathlib
import shutil

import pytest

from segjax.train.predictions import PREDICTIONS

TINY = pathlib.Path(__file__).with_name("tiny.py")
SHORT = ("--set", "steps=2", "--set", "checkpoint_every=2", "--set", "eval_data.count=2")
GRID = ("--grid", "model.features=2,3", "--seeds", "2")


def folders(root: pathlib.Path) -> list[str]:
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob(PREDICTIONS))


def variants(root: pathlib.Path) -> dict[str, dict]:
    found = json.loads((root / "comparison.json").read_text())["variants"]
    return {variant["name"]: variant for variant in found}


def test_describe_lists_the_variants_of_a_grid_and_writes_nothing(run, tmp_path):
    status, printed, _ = run(TINY, "--workdir", tmp_path / "x", *GRID, "--describe")
    assert status == 0 and not (tmp_path / "x").exists()
    lines = printed.splitlines()
    assert lines[:3] == [
        "# 4 runs of 2 variants:",
        "# features_2, seeds 0, 1",
        "#     model.features = 2",
    ]
    assert "model.features = 2" in lines and "model.features = 3" not in lines


def test_one_run_of_one_variant_is_said_in_the_singular(run):
    _, printed, _ = run(TINY, "--grid", "model.features=2", "--describe")
    assert printed.startswith("# 1 run of 1 variant:\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "model.featurs=1,2"], "--grid model.featurs: UNet has no field"),
        (["--seeds", "0"], "--seeds 0: the number of seeds"),
        ([*GRID, "--share", "4/4"], "--share 4/4: shares are counted from 0"),
        (["--share", "0/2"], "--share is for the runs of a list, a grid or several seeds"),
        (["--by-host"], "--by-host is for the runs"),
        ([*GRID, "--set", "model.features=4"], "--set changes this field too"),
        ([*GRID, "--grid", "batch_size=3"], "features_2-batch_size_3: batch_size=3 is not"),
    ],
)
def test_what_cannot_be_carried_out_is_said_before_anything_is_written(
    run, tmp_path, options, message
):
    root = tmp_path / "runs"
    status, _, error = run(TINY, "--workdir", root, *options)
    assert status == 2 and message in error and not root.exists()


@pytest.mark.slow
def test_shares_of_a_grid_complete_it_and_a_larger_grid_adds_its_own(
    run, tmp_path, monkeypatch
):
    root = tmp_path / "runs"
    command = (TINY, "--workdir", root, *SHORT)
    status, printed, _ = run(*command, *GRID, "--share", "1/2")
    assert status == 0 and folders(root) == ["features_2/seed1", "features_3/seed1"]
    assert "(2 of 4 runs are missing)" in printed
    assert variants(root)["features_3"]["missing"] == [0]

    # An array's task has its share by itself.
    for name, value in (("ID", 5), ("MIN", 5), ("COUNT", 2), ("STEP", 1)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", f"{value}")
    status, printed, _ = run(*command, *GRID)
    assert status == 0 and "SLURM array task 5: 2 of 4 runs" in printed
    assert len(folders(root)) == 4 and "missing" not in printed
    assert printed.count("train_data  eval_data") == 1  # The table of equal data.
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")

    status, printed, _ = run(*command, "--grid", "model.features=3,4", "--seeds", "2")
    assert status == 0 and printed.count("already complete") == 2
    assert list(variants(root)) == ["features_3", "features_4"] and len(folders(root)) == 6
    assert "but not compared: features_2." in (root / "comparison.html").read_text()


@pytest.mark.slow
def test_a_run_that_failed_is_listed_tried_again_last_and_forgotten(run, tmp_path, capsys):
    root = tmp_path / "runs"
    grid = ("--grid", "optimizer.schedule.rate=1e30,0.05", "--workdir", root)
    status, printed, error = run(TINY, *SHORT, *grid)
    assert status == 1 and folders(root) == ["rate_0.05/seed0"]
    assert "1 of 2 runs failed, see above: " in error and "rate_1e30/seed0" in error
    assert "not finite" in (root / "rate_1e30/seed0/failure.txt").read_text()
    assert variants(root)["rate_1e30"]["failed"] == [0]

    shutil.rmtree(root / "rate_0.05")
    shutil.rmtree(root / "rate_1e30/seed0/checkpoints", ignore_errors=True)
    status, printed, _ = run(TINY, *SHORT, *grid)
    assert status == 1 and printed.index("rate_0.05: ") < printed.index("rate_1e30: ")
