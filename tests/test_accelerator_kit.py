"""The kit for a few minutes of an accelerator: rows that survive, tables, settings that fit."""

import json
import pathlib
import sys
import types

import numpy as np
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
        del sys.modules[name]


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


def test_rows_of_earlier_files_count_as_done_for_the_same_card_and_settings(kit, tmp_path):
    Rows = kit("accelerator_rows").Rows
    earlier, now = tmp_path / "earlier.jsonl", tmp_path / "now.jsonl"
    Rows(earlier, machine=MACHINE).write("smoke", "unet", {"ok": True})
    rows = Rows(now, done=[earlier], machine=MACHINE | {"jax": "0.12.0"})
    assert ("smoke", "unet") in rows and ("speed", "unet") not in rows
    assert rows.find("smoke", "unet")["ok"] and now.read_text() == ""
    for other in ({"card": "H200"}, {"tiny": True}):
        assert ("smoke", "unet") not in Rows(now, done=[earlier], machine=MACHINE | other)


@pytest.mark.parametrize(
    ("values", "settled"),
    [
        ({"ms": 1.0}, True),
        ({"ok": False, "difference": 2e-7}, True),
        ({"error": "dsb2018 is not in data: pack it first"}, False),
        ({"segjax": {"ms": 1.0}, "torch": {"error": "torch_side.py gave no answer"}}, False),
        ({"segjax": {"ms": 1.0}, "torch": {"error": "out of memory"}}, True),
        ({"skipped": "a smaller batch was out of memory on every side"}, True),
    ],
)
def test_what_failed_is_measured_again_but_not_what_was_too_large(
    kit, tmp_path, values, settled
):
    rows = kit("accelerator_rows").Rows(tmp_path / "rows.jsonl")
    rows.write("speed", "a", values)
    assert (("speed", "a") in rows) == settled


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
    monkeypatch.setattr(command, "complete_path", lambda work: None)
    monkeypatch.setattr(command, "torch_interpreter", lambda given: None)
    monkeypatch.setattr(command, "describe_machine", lambda smoke: MACHINE)
    out = tmp_path / "rows.jsonl"
    arguments = ["accelerator.py", "--out", str(out), "--stage", "speed"]
    kit("accelerator_rows").Rows(out, machine=MACHINE).write("speed", "b", {})
    monkeypatch.setattr(sys, "argv", [*arguments, "--minutes", "0"])
    assert command.main() == 0 and measured == []
    assert "rows not measured yet: speed 2" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", arguments)
    assert command.main() == 0 and measured == ["a", "c"]
    assert "rows not measured yet: none" in capsys.readouterr().out
    assert [json.loads(line)["name"] for line in out.read_text().splitlines()] == list("bac")


def test_a_stage_that_fails_leaves_its_rows_and_the_stages_behind_it(
    kit, tmp_path, monkeypatch, capsys
):
    command = kit("accelerator")

    def run(left, options, rows, clock):
        yield "a", {"ms": 1.0}
        raise KeyError("broken")

    stage = types.SimpleNamespace(names=lambda options: ["a", "b"], run=run)
    monkeypatch.setitem(sys.modules, "accelerator_speed", stage)
    rows = kit("accelerator_rows").Rows(tmp_path / "rows.jsonl")
    command.run_stage("speed", ALL, rows, kit("accelerator_rows").Clock(60))
    assert ("speed", "a") in rows and ("speed", "b") not in rows
    printed = capsys.readouterr()
    assert "speed has ended early" in printed.out and "KeyError: 'broken'" in printed.err


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_what_was_out_of_memory_on_every_side_is_not_tried_with_a_larger_batch(
    kit, tmp_path, kind
):
    speed, Rows = kit("accelerator_speed"), kit("accelerator_rows").Rows
    rows, full = Rows(tmp_path / "rows.jsonl"), {"error": "out of memory"}
    cases = speed._cases(False)
    name = f"{kind}, U-Net 64 … 1024, bf16, 513 × 513, batch 64"
    smaller = name.replace("64", "16").replace("U-Net 16", "U-Net 64")
    assert not speed._is_hopeless(cases[name], cases, rows)
    rows.write("speed", smaller, {"segjax": {"seconds": 1.0}, "torch eager": full})
    assert not speed._is_hopeless(cases[name], cases, rows)
    rows = Rows(tmp_path / "others.jsonl")
    rows.write("speed", smaller, {side: full for side in speed.SIDES})
    assert speed._is_hopeless(cases[name], cases, rows)
    assert not speed._is_hopeless(cases[smaller], cases, rows)


class FakeSide:
    """A side that answers from a table; `{"run": …}` takes as many seconds as it says."""

    def __init__(self, answers, seconds):
        self.answers, self.seconds, self.killed = answers, seconds, False

    def ask(self, patience, **message):
        answer = self.seconds if "run" in message else self.answers(message)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self):
        self.killed = True


def fake_sides(kit, monkeypatch, *, segjax, torch):
    """Sides whose processes are fakes; each is made anew after it was ended."""
    module, made = kit("accelerator_sides"), []

    def start(python, script, environment):
        side = FakeSide(*(torch if script.startswith("torch") else segjax))
        made.append((script, side))
        return side

    monkeypatch.setattr(module, "Side", start)
    return module.Sides("python", kit("accelerator_rows").Clock(100)), made


def test_a_side_that_fails_costs_its_own_answer_and_no_other(kit, monkeypatch):
    hang = kit("sides").SideTimeout("torch_side.py gave no answer in 150 s.")
    ours = {"parameters": 7, "forward_flops": 1e12}
    theirs = lambda message: hang if message.get("compile") else {"parameters": 7}
    sides, made = fake_sides(
        kit, monkeypatch, segjax=(lambda message: dict(ours), 0.5), torch=(theirs, 1.0)
    )
    case = {"kind": "training", "model": "unet", "image": [8, 65, 65, 3]}
    row = kit("accelerator_speed")._compare(sides, case)
    assert row["torch compiled"]["error"].endswith("no answer in 150 s.")
    assert row["torch eager"]["torch_over_segjax"] == 2.0 and row["parameters_equal"]
    assert row["segjax"]["images_per_second"] == 16.0 and row["segjax"]["tflops"] == 6.0
    assert [name for name, side in made if side.killed] == ["torch_side.py"]


def test_a_clock_that_ends_during_a_peers_turn_keeps_what_segjax_measured(kit, monkeypatch):
    over, hang = kit("accelerator_rows").TimeOver, kit("sides").SideTimeout("no answer")
    sides, _ = fake_sides(
        kit,
        monkeypatch,
        segjax=(lambda message: {"parameters": 7}, 0.5),
        torch=(lambda message: hang, 1.0),
    )
    ask = sides.ask

    def end(name, **message):
        if name == "torch":
            raise over
        return ask(name, **message)

    monkeypatch.setattr(sides, "ask", end)
    case = {"kind": "training", "model": "unet", "image": [8, 65, 65, 3]}
    row = kit("accelerator_speed")._compare(sides, case)
    assert row["segjax"]["images_per_second"] == 16.0
    assert row["torch eager"] == row["torch compiled"] == {"error": "the time was over"}
    assert not kit("accelerator_rows").is_settled(row)


def test_memory_that_ends_keeps_the_process_and_other_errors_do_not(kit, monkeypatch):
    error = kit("sides").SideError
    for text, killed in (("out of memory", False), ("an illegal memory access", True)):
        failing = (lambda message, text=text: error(text), 1.0)
        sides, made = fake_sides(kit, monkeypatch, segjax=failing, torch=(dict, 1.0))
        assert sides.prepare("segjax", kind="training") == {"error": text}
        assert made[0][1].killed == killed


def test_operations_of_one_image_are_two_for_each_multiply_add(kit):
    flops = kit("segjax_side").flops("small_unet", 21, 32, 32)
    assert flops == kit("segjax_side").flops("small_unet", 21, 64, 32) / 2 > 1e6


def test_every_form_that_an_operation_is_asked_for_is_one_of_the_sides(kit):
    operations, asked = kit("accelerator_operations"), {}
    for tiny in (False, True):
        cases = operations._cases(tiny).values()
        asked[tiny] = {form for case in cases for form in case["forms"]}
    known = set(kit("segjax_side").FORMS) | {"gather", "separable"}
    assert asked[False] | asked[True] <= known
    assert {"tiles", "by_taps", "depthwise", "gather"} <= asked[False]
    assert "as_on_cpu" in asked[True] - asked[False]


SIDE = {"seconds": 0.1, "images_per_second": 160.0, "memory_bytes": 2**31, "compile_s": 31.0}
ROWS = [
    ("smoke", "unet", {"ok": True}),
    ("smoke", "duc", {"ok": False, "error": "XlaRuntimeError: INTERNAL"}),
    ("smoke", "exported program", {"ok": True, "difference": 2e-7}),
    ("speed", "peak bf16", {"size": 8192, "tflops": {"segjax": 700.0, "torch": 750.0}}),
    ("speed", "training, U-Net, bf16, 513 × 513, batch 16", {"segjax": SIDE}),
    ("operations", "1×1, value", {"torch": {"ms": 2.0}, "segjax": {"ms": 1.0}}),
    ("operations", "3×3, value", {"torch": {"error": "out of memory"}, "tiles": {"ms": 3.0}}),
    ("train", "ISBI 2012, U-Net", {"error": "error: no space left"}),
]


def test_rectangles_of_both_sides_lie_in_the_image_and_masks_are_their_pixels(kit):
    batch = kit("segjax_detection").batch([2, 32, 48, 3], 5)
    boxes = batch["boxes"]
    assert boxes.shape == (2, 20, 4) and (boxes[..., 2:] > boxes[..., :2]).all()
    assert (boxes >= 0).all() and (boxes[..., 2:] <= (48, 32)).all()
    areas = np.unpackbits(batch["masks"], axis=-1).sum((2, 3))
    sides = boxes[..., 2:] - boxes[..., :2]
    np.testing.assert_array_equal(areas, sides.prod(-1))


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
    trained = {"steps": 900, "images_per_second": 210.4, "launch_s": 90.0, "val": scores}
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


def test_gradients_that_are_wrong_or_not_finite_are_outside_the_bounds(kit):
    smoke, rng = kit("accelerator_smoke"), np.random.default_rng(0)
    scores = rng.normal(size=(2, 4, 4, 3))
    gradients = [rng.normal(size=(3, 3)), 1e-3 * rng.normal(size=(5,))]
    right = {"finite": True, "loss": 1.0, "gradients": gradients, "statistics": []}
    verdict = lambda found, step, dtype: smoke.is_close(
        smoke.compared(found, scores, step, right, right), dtype, ties=False
    )
    for dtype in ("f32", "bf16"):
        assert verdict(scores, right, dtype)
        assert not verdict(scores * 1.3, right, dtype)
        assert not verdict(scores, right | {"gradients": [2 * g for g in gradients]}, dtype)
        assert not verdict(scores, right | {"finite": False}, dtype)
        assert not verdict(np.full_like(scores, np.nan), right, dtype)
    # The small array alone is wrong: seen in float32, and no noise of bfloat16.
    assert not verdict(scores, right | {"gradients": [gradients[0], 2 * gradients[1]]}, "f32")
    other = right | {"gradients": [gradients[0], np.nextafter(gradients[1], 1)]}
    assert not smoke.compared(scores, scores, right, other, right)["two_steps_equal"]
    assert smoke.compared(scores, scores, right, right, right)["two_steps_equal"]


def test_settings_of_the_train_stage_fit_their_experiments(kit):
    stage = kit("accelerator_train")
    changed = ("steps=400", "evaluation.every=200", "checkpoint_every=200")
    for name, (file, settings) in stage.NETWORKS.items():
        experiment = experiments.load(stage.EXPERIMENTS / f"{file}.py")
        for setting in (*settings, *changed, *stage.TINY.get(name, ())):
            experiment = experiments.override(experiment, setting)
        assert experiments.checked(experiment, name).steps == 400


@pytest.fixture
def trained(kit, tmp_path, monkeypatch):
    """The stage train without its processes: (run, what was launched, results by launch)."""
    stage, launched, outcomes = kit("accelerator_train"), [], []

    def launch(file, data, settings, work, clock, *more):
        launched.append((work, settings, more))
        if outcomes and (error := outcomes.pop(0)):
            raise error
        work.mkdir(parents=True, exist_ok=True)
        score = 0.25 if more else 0.75
        scores = dict.fromkeys(stage.SCORES, score)
        (work / "evaluation.json").write_text(json.dumps(scores))
        (work / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
        (work / "report.html").write_text("report")

    def speed(command, **_):
        said = json.dumps({"step_s": 0.1, "batch_size": 8, "images_per_second": 80.0})
        return types.SimpleNamespace(returncode=0, stdout=f"note\n{said}\n", stderr="")

    monkeypatch.setattr(stage, "_launch", launch)
    monkeypatch.setattr(stage.subprocess, "run", speed)
    (tmp_path / "data" / "camvid").mkdir(parents=True)
    options = types.SimpleNamespace(
        smoke=False,
        data=tmp_path / "data",
        out=tmp_path / "rows.jsonl",
        work=tmp_path / "work",
        minutes_each=2.0,
    )

    def run(name="CamVid, U-Net", seconds=600, **changed):
        vars(options).update(changed)
        clock = kit("accelerator_rows").Clock(seconds)
        return dict(stage.run([name], options, None, clock))

    return types.SimpleNamespace(run=run, launched=launched, outcomes=outcomes, stage=stage)


def test_val_and_test_are_scored_apart_and_the_report_lies_beside_the_rows(trained, tmp_path):
    (row,) = trained.run().values()
    assert (row["val"]["mean_iou"], row["test"]["mean_iou"]) == (0.75, 0.25)
    assert 440 < row["steps"] <= 450 and row["images_per_second"] == 80.0
    assert sorted(p.name for p in tmp_path.glob("*.*")) == ["CamVid_U_Net.html"]


@pytest.mark.parametrize("place", [0, 1])
def test_a_run_that_the_clock_ends_gives_no_row_and_the_same_plan_goes_on(trained, place):
    trained.outcomes += [None] * place + [trained.stage.TimeOver()]
    assert trained.run() == {}
    (row,) = trained.run().values()
    assert row["test"]["mean_iou"] == 0.25
    assert len({work for work, _, _ in trained.launched}) == 1


def test_no_plan_is_made_where_no_step_fits_and_tiny_ones_are_not_taken_for_real(trained):
    assert trained.run(seconds=60) == {} and not trained.launched
    (tiny,) = trained.run("CamVid, DeepLab v3+ ResNet-18", smoke=True).values()
    (real,) = trained.run("CamVid, DeepLab v3+ ResNet-18", smoke=False).values()
    assert tiny["steps"] == 4 and real["steps"] > 100


def test_a_launch_that_fails_is_an_error_of_its_row(trained):
    trained.outcomes.append(RuntimeError("error: no space left"))
    (row,) = trained.run().values()
    assert row == {"error": "RuntimeError: error: no space left"}
    (row,) = trained.run("ISBI 2012, U-Net").values()
    assert "isbi2012 is not in data" in row["error"]


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
