"""The kit for a few minutes of an accelerator: rows that survive, tables, settings that fit."""

import json
import pathlib
import sys
import types

import pytest

from segjax import experiment as experiments

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
ALL = types.SimpleNamespace(smoke=False, torch=None, only="")
MACHINE = {"card": "H100", "devices": 1, "jax": "0.11.2", "python": "3.12.3", "tiny": False}


@pytest.fixture
def kit(monkeypatch):
    """Imports a script of `benchmarks`; the scripts find each other as they do when run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    yield lambda name: __import__(name)
    for name in names & set(sys.modules):
        monkeypatch.delitem(sys.modules, name)


def test_a_cut_off_line_loses_one_row_and_the_next_row_starts_its_own_line(kit, tmp_path):
    Rows, read = kit("accelerator_rows").Rows, kit("accelerator_rows").read
    file = tmp_path / "new" / "rows.jsonl"
    rows = Rows(file)
    rows.write("speed", "a", {"ms": 1.0})
    rows.write("speed", "b", {"ms": 2.0})
    file.write_bytes(file.read_bytes()[:-9])
    again = Rows(file)
    assert ("speed", "a") in again and ("speed", "b") not in again
    again.write("speed", "c", {"ms": 3.0})
    assert [row["name"] for row in read(file)] == ["a", "c"]


def test_rows_of_earlier_sessions_count_as_done_and_stay_in_their_own_files(kit, tmp_path):
    Rows = kit("accelerator_rows").Rows
    earlier, now = tmp_path / "earlier.jsonl", tmp_path / "now.jsonl"
    Rows(earlier).write("smoke", "unet", {"ok": True})
    rows = Rows(now, done=[earlier])
    assert ("smoke", "unet") in rows and ("speed", "unet") not in rows
    assert rows.find("smoke", "unet")["ok"] and now.read_text() == ""


def test_the_command_measures_only_what_is_missing_and_ends_when_time_is_over(
    kit, tmp_path, monkeypatch, capsys
):
    command, measured = kit("accelerator"), []

    def run(left, options, rows, clock):
        for name in left:
            if clock.left > 0:
                measured.append(name)
                yield name, {"ms": 1.0}

    stage = types.SimpleNamespace(names=lambda options: ["a", "b", "c"], run=run)
    monkeypatch.setitem(sys.modules, "accelerator_speed", stage)
    monkeypatch.setattr(command, "complete_path", lambda: None)
    monkeypatch.setattr(command, "torch_interpreter", lambda given: None)
    monkeypatch.setattr(command, "describe_machine", lambda options: MACHINE)
    out = tmp_path / "rows.jsonl"
    arguments = ["accelerator.py", "--out", str(out), "--stage", "speed"]
    kit("accelerator_rows").Rows(out).write("speed", "b", MACHINE)
    monkeypatch.setattr(sys, "argv", [*arguments, "--minutes", "0"])
    assert command.main() == 0 and measured == []
    assert "rows not measured yet: speed 2" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", arguments)
    assert command.main() == 0 and measured == ["a", "c"]
    assert "rows not measured yet: none" in capsys.readouterr().out
    assert [json.loads(line)["name"] for line in out.read_text().splitlines()] == list("bac")


def test_what_was_out_of_memory_on_every_side_is_not_tried_with_twice_the_batch(kit, tmp_path):
    speed, Rows = kit("accelerator_speed"), kit("accelerator_rows").Rows
    rows, full = Rows(tmp_path / "rows.jsonl"), {"error": "out of memory"}
    name = "training, U-Net 64 … 1024, bf16, 513 × 513, batch 32"
    case = speed._cases(False)[name]
    assert not speed._is_hopeless(name, case, rows)
    half = name.replace("32", "16")
    rows.write("speed", half, {"segjax": {"seconds": 1.0}, "torch eager": full})
    assert not speed._is_hopeless(name, case, rows)
    rows = Rows(tmp_path / "others.jsonl")
    rows.write("speed", half, {"segjax": full, "torch eager": full, "torch compiled": full})
    assert speed._is_hopeless(name, case, rows)


SIDE = {"seconds": 0.1, "images_per_second": 160.0, "memory_bytes": 2**31, "compile_s": 31.0}
ROWS = [
    ("smoke", "unet", {"ok": True}),
    ("smoke", "duc", {"ok": False, "error": "XlaRuntimeError: INTERNAL"}),
    ("smoke", "exported program", {"ok": True, "error": 2e-7}),
    ("speed", "peak bf16", {"size": 8192, "tflops": {"segjax": 700.0, "torch": 750.0}}),
    ("speed", "training, U-Net, bf16, 513 × 513, batch 16", {"segjax": SIDE}),
    ("operations", "1×1, value", {"torch": {"ms": 2.0}, "segjax": {"ms": 1.0}}),
    ("operations", "3×3, value", {"torch": {"error": "out of memory"}, "tiles": {"ms": 3.0}}),
    ("train", "ISBI 2012, U-Net", {"error": "error: no space left"}),
]


def test_every_kind_of_row_becomes_a_line_of_its_stages_table(kit):
    def row(stage, name, values):
        values = dict(values)
        if name == "unet":
            close = {"scores": 2e-6, "gradients": 3e-6, "two_steps_equal": True}
            values |= {"f32": close, "bf16": close | {"two_steps_equal": False}}
        if name.startswith("training"):
            values["segjax"] = SIDE | {"tflops": 75.0}
            eager = SIDE | {"images_per_second": 80.0, "torch_over_segjax": 2.0}
            values |= {"torch eager": eager, "torch compiled": {"error": "out of memory"}}
        return {"stage": stage, "name": name, **values, **MACHINE}

    scores = {"mean_iou": 0.5, "pixel_accuracy": None}
    trained = {"steps": 900, "images_per_second": 210.4, "train_s": 90.0, "val": scores}
    rows = [row(*given) for given in ROWS] + [row("train", "CamVid, U-Net", trained)]
    text = "\n".join(kit("accelerator_tables").tables(rows))
    lines = text.splitlines()
    for expected in (
        "| unet | yes | 2.0e-06 | 3.0e-06 | yes | 2.0e-06 | 3.0e-06 | no |",
        "| duc | NO | XlaRuntimeError: INTERNAL |  |  |  |  |  |",
        "| exported program | yes | 2.0e-07 |  |  |  |  |  |",
        "Matrix product of 8192²: segjax 700 TFLOP/s, torch 750 TFLOP/s (bf16).",
        "| training, U-Net, bf16, 513 × 513, batch 16 | 80.0, 2.0 | out of memory | 160.0, 2.0 "
        "| 2.00 | – | 10.0% | 31 |",
        "| 1×1, value | segjax | 2.000 | 1.000 |  |",
        "| 3×3, value | tiles | out of memory |  | 3.000 |",
        "| ISBI 2012, U-Net | error: no space left |  |  |  |  |  |  |",
        "| CamVid, U-Net | 900 | 210 | 1.5 | 0.5000 | – | – | – |",
    ):
        assert expected in lines, text
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


@pytest.mark.parametrize("stage", ["smoke", "speed", "operations", "train"])
def test_no_two_rows_of_a_stage_share_a_name(kit, stage):
    names = kit(f"accelerator_{stage}").names(ALL)
    assert len(set(names)) == len(names) > 5


def test_the_families_of_the_smoke_stage_are_all_small_networks(kit):
    stage = kit("accelerator_smoke")
    assert sorted(stage.FAMILIES) == sorted(stage.small()["MODELS"])


def test_settings_of_the_train_stage_fit_their_experiments(kit):
    stage = kit("accelerator_train")
    changed = ("steps=400", "evaluation.every=200", "checkpoint_every=200")
    for name, (file, settings) in stage.NETWORKS.items():
        experiment = experiments.load(stage.EXPERIMENTS / f"{file}.py")
        for setting in (*settings, *changed, *stage.TINY.get(name, ())):
            experiment = experiments.override(experiment, setting)
        assert experiments.checked(experiment, name).steps == 400


def test_a_side_that_does_not_answer_in_time_or_ends_is_told_apart(kit, tmp_path, monkeypatch):
    sides = kit("sides")
    monkeypatch.setattr(sides, "HERE", tmp_path)
    (tmp_path / "echo.py").write_text(
        "import sys, time, json\n"
        "for line in sys.stdin:\n"
        "    case = json.loads(line)\n"
        "    if case.get('hang'): time.sleep(600)\n"
        "    if case.get('end'): sys.exit()\n"
        "    print(json.dumps(case), flush=True)\n"
    )
    side = sides.Side(sys.executable, "echo.py")
    assert side.ask(run=3) == {"run": 3}
    with pytest.raises(sides.SideError, match="out of memory"):
        side.ask(error="out of memory")
    with pytest.raises(sides.SideTimeout):
        side.ask(0.2, hang=True)
    side.kill()
    side = sides.Side(sys.executable, "echo.py")
    with pytest.raises(sides.SideError, match="echo.py ended"):
        side.ask(end=True)
    side.kill()
