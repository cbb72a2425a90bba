"""What the launcher refuses before it works: exit status, one line, and nothing written."""

import os
import pathlib
import subprocess
import sys

import pytest

from segjax import launch
from segjax.train.lock import LOCK, locked

TINY = pathlib.Path(__file__).with_name("tiny.py")
PATIENCE = 1200
"""Seconds after which a process hangs: many times what it takes on a busy machine."""


def test_describe_prints_and_writes_nothing(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(TINY, "--describe", "--set", "steps=7")
    assert status == 0 and "steps = 7\n" in out and "model = segjax.models.unet.UNet\n" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [[], ["--evaluate", "--checkpoint", "init"]])
def test_a_folder_in_use_is_refused_and_left_as_it_is(mode, tmp_path, run):
    with locked(tmp_path):
        status, _, error = run(TINY, "--workdir", tmp_path, *mode)
        assert status == 75 and f"in use by process {os.getpid()} on host" in error
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        assert run(TINY, "--workdir", tmp_path, "--describe")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "There is no experiment file nowhere.py"),
        ([TINY, "--set", "stepz=3"], "near: steps"),
        ([TINY, "--set", "steps=x"], "expected int, got 'x'"),
        (
            [TINY, "--set", "batch_size=5"],
            "batch_size=5 is not divisible by the 4 devices; use 4 or 8",
        ),
        ([TINY, "--set", "batch_size=3"], "by the 4 devices; use 4,"),
        ([TINY, "--data", "/nowhere"], "no dataset of tiny has a directory"),
        ([TINY, "--set", "train_data=segjax.data.folder.Folder()"], "class_names"),
        (
            [TINY, "--set", "model.num_classes=3"],
            "model.num_classes=3, but eval_data has 6 classes; set model.num_classes=6",
        ),
        (
            [TINY, "--describe", "--set", "model.num_classes=3"],
            "model.num_classes=3, but eval_data has 6 classes; set model.num_classes=6",
        ),
        (
            [TINY, "--describe", "--set", "accumulate=3"],
            "by accumulate=3; use batch_size=3 or 6, or accumulate=2 or 4",
        ),
        ([TINY, "--seeds", "2", "--together", "--plan"], "leave it out with --plan"),
        ([TINY, "--tune", "--plan"], "a plan is for the default forms of convolutions"),
        ([TINY, "--tune", "--evaluate"], "it is for training, and --evaluate does not train"),
        ([TINY, "--tune", "--seeds", "2", "--together"], "one of --tune and --together out"),
        ([TINY, "--profile", "1:2", "--verify"], "--verify does not train"),
        ([TINY, "--set", "evaluation.output_stride=8"], "UNet has no output stride"),
        ([TINY, "--set", "init=segjax.weights.Pretrained(timm/resnet101)"], "--set init=None"),
        (
            [TINY, "--set", "init=segjax.weights.Pretrained(a.safetensors)"],
            "no weights file a.saf",
        ),
        ([TINY, "--set", "transforms=()", "--set", "train_data.size=10"], "size >= 16"),
        ([TINY, "--set", "model.valid=True", "--set", "model.depth=4"], "must be 188 + 16k"),
        ([TINY, "--set", "optimizer.multipliers=(('enc', 0.1),)"], "'enc' fits no parameter"),
        ([TINY, "--set", "normalize=segjax.experiment.Normalize((1.0, 2.0))"], "3 channel(s)"),
        ([TINY, "--set", "ema=1"], "ema=1 must lie between 0 and 1"),
        ([TINY, "--set", "evaluation.batch_size=0"], "batch_size=0 must be at least 1"),
        ([TINY, "--set", "model.features=0"], "division"),
        (
            [TINY, "--set", "init=segjax.weights.Pretrained(/a/b.safetensors)"],
            "Quote the strings in a call",
        ),
        ([TINY, "--set", "init=b.safetensors"], "expected segjax.experiment.Initial | None"),
        ([TINY, "--evaluate"], "holds no checkpoint; train the run first"),
        (
            [TINY, "--set", "optimizer.schedule.warmup_steps=12"],
            "optimizer.schedule.warmup_steps=12 must be at least 0 and below steps=12",
        ),
        ([TINY, "--set", f"seed={2**32}"], "must be below 2**32"),
    ],
)
def test_wrong_input_ends_with_status_2_and_one_line_and_writes_nothing(
    arguments, message, tmp_path, monkeypatch, run
):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(*arguments, "--workdir", tmp_path / "run")
    assert (status, message in error) == (2, True), error
    assert error.count("\n") == 0 and error.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_a_workdir_that_is_a_file_is_refused(tmp_path, run):
    (tmp_path / "file").write_text("mine")
    status, _, error = run(TINY, "--workdir", tmp_path / "file")
    assert status == 2 and "is a file; name a folder" in error
    assert (tmp_path / "file").read_text() == "mine"


def test_an_experiment_that_raises_shows_its_traceback_and_file(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("def broken():\n    return 1 / 0\n\n\nbroken()\n")
    status = launch.main([str(path)])
    error = capsys.readouterr().err
    assert status == 1
    assert "in broken" in error and "ZeroDivisionError" in error and f"{path} raised" in error


def test_a_file_without_an_experiment_is_said(tmp_path, run):
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n")
    assert run(path)[0] == 2
    assert "must define either `experiment" in run(path)[2]


def test_wrong_types_in_the_file_are_found_before_work(tmp_path, run):
    path = tmp_path / "typed.py"
    path.write_text(TINY.read_text().replace("Poly(0.05)", "Poly(0.05), momentum='much'"))
    status, _, error = run(path)
    assert status == 2 and "optimizer.momentum: expected float, got 'much'" in error


def test_describe_says_what_a_backbone_lacks(tmp_path, run):
    path = tmp_path / "own.py"
    own = (
        "import flax.linen as nn\n"
        "from segjax.models.fcn import FCN\n\n\n"
        "class Own(nn.Module):\n"
        "    output_stride: int = 32\n\n\n"
    )
    text = TINY.read_text(encoding="utf-8")
    start, end = text.index("UNet(num"), text.index("    train_data")
    path.write_text(own + text[:start] + "FCN(Own(), 6),\n" + text[end:], encoding="utf-8")
    status, out, error = run(path, "--describe")
    assert (status, out) == (2, "") and error == (
        "error: model.backbone: Own has no dtype, __call__; write the dtype it computes in, as "
        "a field dtype: Any = jnp.float32; def __call__(self, image, *, train)."
    )


def test_an_absent_platform_is_said(tmp_path):
    command = [
        sys.executable,
        "-m",
        "segjax.launch",
        str(TINY),
        "--workdir",
        str(tmp_path / "x"),
    ]
    result = subprocess.run(
        command,
        env={**os.environ, "JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 2
    assert "error: JAX_PLATFORMS=cuda asks for a device that is not there" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()
