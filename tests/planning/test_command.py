"""`launch --plan`: what it prints, what it writes, and what it leaves alone."""

import json
import pathlib

import pytest

from segjax import launch
from segjax.planning import requirements as module
from segjax.planning.probe import StepTime
from segjax.train.lock import locked

SMALL = pathlib.Path(__file__).with_name("small.py")


@pytest.fixture
def plan(capsys, tmp_path):
    """Plans an experiment file; returns the status, what it printed and its errors."""

    def run(*arguments, file=SMALL):
        capsys.readouterr()
        command = [file, "--plan", "--workdir", tmp_path / "run", *arguments]
        status = launch.main([str(argument) for argument in command])
        captured = capsys.readouterr()
        errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        return status, captured.out, errors

    return run


@pytest.fixture
def quick(monkeypatch):
    """Takes no step: the times are made up."""

    def times(found):
        found.step_time = StepTime(0.5, 0.8, 0.25, 10, None)

    monkeypatch.setattr(module, "_probe", times)


@pytest.fixture
def no_search(monkeypatch):
    """Looks for no largest batch."""
    monkeypatch.setattr(module, "find_largest", lambda found, limit: None)


def test_the_plan_is_printed_and_written_beside_a_run_that_goes_on(plan, quick, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "metrics.jsonl").write_text("kept", encoding="utf-8")
    with locked(workdir):
        before = {path.name for path in workdir.iterdir()}
        status, out, errors = plan("--memory", "0.5", "--price", "3")
        assert {path.name for path in workdir.iterdir()} == before | {"plan.json"}
    assert (status, errors) == (0, [])
    assert out.startswith("small: Small with 278 parameters on 4 cpu devices; 100 steps of 8 ")
    hours = json.loads((workdir / "plan.json").read_text(encoding="utf-8"))["hours"]
    lines = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    told = {name: text.strip() for name, text in lines.items()}
    assert told["limit"] == "512.0 MiB, given by --memory"
    assert told["fits"] == "yes"
    assert told["a step"] == (
        "0.8 s, 10 images a second; 0.5 s with data at hand; waiting for data 25% "
        "(10 steps timed)"
    )
    assert told["cost"] == f"{hours * 12:.2f}: 4 devices at 3 an hour each"
    assert (workdir / "metrics.jsonl").read_text(encoding="utf-8") == "kept"


def test_the_record_has_the_numbers_of_the_text(plan, quick, tmp_path):
    _, out, _ = plan("--memory", "0.5")
    record = json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))
    assert record["parameters"] == 278 and record["fits"] is True
    assert f"{record['largest_batch']['batch_size']:,} images: peak" in out
    peaks = record["largest_batch"]["peaks"]
    fitting = record["largest_batch"]["at_once_on_each_device"]
    assert peaks[str(fitting)] <= 2**29 < peaks[str(fitting + 1)]
    assert record["step_time"]["whole"] == 0.8 and record["cost"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "batch_size=6"],
            "batch_size=6 is not divisible by the 4 devices; use 4 or 8",
        ),
        (["--set", "model.num_classes=3"], "set model.num_classes=6"),
        (["--set", "stepz=6"], "near: steps"),
    ],
)
def test_a_wrong_experiment_is_the_usual_line(arguments, message, plan, tmp_path):
    status, out, (error,) = plan(*arguments)
    assert status == 2 and message in error and out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "--memory", "0"], "'0' is not a number above 0"),
        (["--plan", "--price", "cheap"], "'cheap' is not a number above 0"),
        (["--plan", "--evaluate"], "not allowed with argument"),
    ],
)
def test_wrong_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        launch.main([str(SMALL), *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--memory", "--price"])
def test_options_of_a_plan_need_it(option, capsys):
    assert launch.main([str(SMALL), option, "2"]) == 2
    assert f"{option} needs --plan; add it." in capsys.readouterr().err


@pytest.mark.slow
def test_of_a_list_every_variant_is_planned_once_and_summed_up(
    plan, quick, no_search, tmp_path
):
    file = tmp_path / "list.py"
    file.write_text(
        "import dataclasses\n"
        "from segjax.experiment import load\n"
        f"one = load({str(SMALL)!r})\n"
        "longer = dataclasses.replace(one, name='longer', steps=300)\n"
        "experiments = [one, dataclasses.replace(one, seed=1), longer]\n",
        encoding="utf-8",
    )
    status, out, _ = plan("--memory", "0.5", file=file)
    assert status == 0
    assert out.count("small: Small with") == 1 and out.count("longer: Small with") == 1
    rows = [line.split() for line in out.splitlines()[-3:]]
    assert rows[0][:3] == ["small", "2", "278"] and rows[1][:3] == ["longer", "1", "278"]
    total = float(rows[0][-1]) + float(rows[1][-1])
    assert float(rows[2][-1]) == pytest.approx(total, rel=0.02)
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("plan.json"))
    assert written == [
        "run/longer/seed0/plan.json",
        "run/small/seed0/plan.json",
        "run/small/seed1/plan.json",
    ]


def test_a_folder_that_cannot_be_written_costs_no_plan(plan, quick, no_search, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("segjax.planning.command.write_text", refuse)
    status, out, (error,) = plan("--memory", "0.5")
    assert status == 1 and "whole run" in out
    assert "plan.json cannot be written (Permission denied); the plan is above." in error
