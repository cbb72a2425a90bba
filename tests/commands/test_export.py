"""A run's network as a file: the same numbers without segjax, and what is refused."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jaxtyping
import numpy as np
import pytest
from PIL import Image

from segjax import launch
from segjax.export import __main__ as export

TINY = pathlib.Path(__file__).with_name("tiny.py")
BLOCKED = "import sys; sys.modules['segjax'] = sys.modules['flax'] = None\n"

PLAIN = """
import sys, jax, numpy
from segjax.evaluate.predictors import WholeImage
from segjax.ops.dispatch import plain
from segjax.train.checkpoint import Checkpoints
from segjax.train.workdir import open_run
run = open_run(__import__("pathlib").Path(sys.argv[1]))
with Checkpoints(__import__("pathlib").Path(sys.argv[1]), read_only=True) as checkpoints:
    _, variables = checkpoints.restore_variables()
predict = WholeImage(run.model, run.normalize)
with plain():
    found = jax.jit(lambda x: predict(variables, x))(numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], found)
"""

OTHER_IMAGES = """

import dataclasses
from segjax.errors import InputError

class Other(Synthetic):
    def prepare(self):
        if self.seed == 1:
            raise InputError("there is no folder away.")

    def __getitem__(self, index):
        example = super().__getitem__(index)
        return {{**example, "image": example["image"].astype("{dtype}")}}

experiment = dataclasses.replace(experiment, eval_data=Other("val", size=32, seed={seed}))
"""

PARTICULAR = """

import dataclasses
from segjax.experiment import Normalize

class Particular(Normalize):
    def __call__(self, image):
        if {refuses}:
            raise ValueError("one line\\nand another")
        return super().__call__(image)

experiment = dataclasses.replace(experiment, normalize=Particular())
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    settings = ("steps=4", "checkpoint_every=4", "model.features=8")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert launch.main([str(TINY), "--workdir", str(workdir), *arguments]) == 0
    return workdir


@pytest.fixture(scope="module")
def in_plain_form(finished) -> np.ndarray:
    """What the network itself answers for photo.jpg in the run's parent folder."""
    folder = finished.parent
    pixels = np.random.default_rng(0).integers(0, 256, (41, 50, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.jpg")
    with Image.open(folder / "photo.jpg") as photo:
        np.save(folder / "image.npy", np.array(photo)[None])
    program(PLAIN, finished, folder / "image.npy", folder / "plain.npy")
    return np.load(folder / "plain.npy")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch) -> None:
    """Tests write into their own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch) -> None:
    """The suite's check of shapes knows integers only; an export's batch is `b`."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def run(capsys, *arguments) -> tuple[int, str, str]:
    capsys.readouterr()
    status = export.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def program(code: str, *arguments) -> None:
    """Runs a fresh Python, without the suite's settings of XLA."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def printed(out: str) -> str:
    """The program at the end of what the command prints."""
    return out.split("without segjax:\n\n")[1]


def changed(finished: pathlib.Path, code: str) -> pathlib.Path:
    """A copy of the run whose experiment ends in `code`."""
    copy = pathlib.Path(shutil.copytree(finished, "changed"))
    with open(copy / "experiment.py", "a") as file:
        file.write(code)
    return copy


def answer(folder: pathlib.Path, out: str) -> np.ndarray:
    """What the printed program makes of the folder's photo, where segjax cannot be imported."""
    shutil.copy(folder / "photo.jpg", "photo.jpg")
    program(BLOCKED + printed(out) + "numpy.save('found.npy', probabilities)")
    return np.load("found.npy")


def test_the_printed_lines_give_the_same_bits_where_segjax_cannot_be_imported(
    finished, in_plain_form, capsys
):
    arguments = ("--out", "m.stablehlo", "--size", "41x50", "--no-fold")
    status, out, _ = run(capsys, finished, *arguments)
    assert status == 0 and len(printed(out).splitlines()) <= 10
    np.testing.assert_array_equal(answer(finished.parent, out), in_plain_form)


def test_folded_and_for_any_size_it_agrees_up_to_rounding(finished, in_plain_form, capsys):
    status, out, _ = run(capsys, finished, "--out", "m.stablehlo")
    assert status == 0
    found = answer(finished.parent, out)
    np.testing.assert_allclose(found, in_plain_form, atol=1e-5)
    assert (found != in_plain_form).any()


def test_as_onnx_it_agrees_up_to_rounding(finished, in_plain_form, capsys):
    for needed in ("onnx", "onnxruntime"):
        pytest.importorskip(needed, reason="onnx and onnxruntime are an extra")
    status, out, _ = run(capsys, finished, "--out", "m.onnx", "--size", "41x50")
    assert status == 0
    np.testing.assert_allclose(answer(finished.parent, out), in_plain_form, atol=1e-5)
    assert json.loads(pathlib.Path("m.onnx.json").read_text())["input"]["shape"][0] == 1


def test_onnx_is_asked_for_by_name_where_it_is_missing(finished, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, error = run(capsys, finished, "--out", "m.onnx", "--size", "24x24")
    assert status == 2 and "m.onnx needs onnx; pip install 'segjax[onnx]'" in error


def test_the_file_takes_any_batch_and_beside_it_stands_what_it_means(finished, capsys):
    arguments = ("--out", "m.stablehlo", "--output", "classes", "--size", "24x16")
    status, out, _ = run(capsys, finished, *arguments, "--platforms", "cpu")
    assert status == 0
    Image.new("RGB", (30, 30)).save("photo.jpg")
    batches = (
        "for n in (1, 3):\n"
        "    found = run(numpy.zeros((n, 24, 16, 3), numpy.uint8))\n"
        "    assert found.shape == (n, 24, 16) and found.dtype == numpy.uint8\n"
    )
    program(BLOCKED + printed(out) + batches)
    about = json.loads(pathlib.Path("m.stablehlo.json").read_text())
    assert about["input"] == {"shape": ["b", 24, 16, 3], "dtype": "uint8"}
    assert about["output"] == {"name": "classes", "shape": ["b", 24, 16], "dtype": "uint8"}
    assert about["class_names"][:2] == ["background", "disk"] and about["step"] == 4
    assert len(about["palette"]) == len(about["class_names"])
    assert about["platforms"] == ["cpu"] and about["folded_norms"]
    size = pathlib.Path("m.stablehlo").stat().st_size
    assert 4 * about["parameters"] < size < 4 * about["parameters"] + 40_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "m.pb"], "m.pb: known suffixes are .stablehlo .onnx"),
        (["--out", "m.onnx"], "m.onnx needs one size; give --size HxW"),
        (["--out", "m.onnx", "--platforms", "cpu"], "is for .stablehlo; leave it out"),
        (["--out", "none/m.stablehlo"], "there is no folder none; make it first"),
        (["--out", "there.stablehlo"], "there.stablehlo is there already; remove it"),
        (["--out", "m.stablehlo", "--size", "0x5"], "--size 0x5: give HEIGHTxWIDTH"),
        (["--out", "m.stablehlo", "--size", "513"], "--size 513: give HEIGHTxWIDTH"),
        (["--out", "m.stablehlo", "--platforms", "cpu,npu"], "'npu' is none of cpu, cuda"),
        (["--out", "m.stablehlo", "--checkpoint", "7"], "holds steps 4; name one of them"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    arguments, message, finished, capsys
):
    pathlib.Path("there.stablehlo").write_text("kept")
    before = sorted(pathlib.Path().iterdir())
    status, _, error = run(capsys, finished, *arguments)
    assert (status, message in error, error.count("\n")) == (2, True, 1), error
    assert sorted(pathlib.Path().iterdir()) == before


@pytest.mark.parametrize(
    ("refuses", "size", "message"),
    [
        (
            "image.shape[0] > 8",
            "24x24",
            r"24x24: .* for any batch \(.*\); NAME.onnx is for one",
        ),
        ("image.shape[1] % 8 != 1", "24x24", r"24x24: one line$"),
        ("image.shape[1] % 8 != 1", "any", r"any: one line; give --size HxW.$"),
        ("image.shape[1] > 32", "any", r"any: .* for any size \(.*\); give --size HxW.$"),
    ],
)
def test_what_the_run_cannot_take_is_one_line_about_the_size_that_was_given(
    refuses, size, message, finished, capsys
):
    workdir = changed(finished, PARTICULAR.format(refuses=refuses))
    status, _, error = run(capsys, workdir, "--out", "m.stablehlo", "--size", size)
    assert (status, error.count("\n")) == (2, 1), error
    assert re.search(f"error: --size {message}", error.strip())
    assert not pathlib.Path("m.stablehlo").exists()


def test_a_run_that_takes_sides_of_8n_and_1_is_written_at_such_a_size(finished, capsys):
    workdir = changed(finished, PARTICULAR.format(refuses="image.shape[1] % 8 != 1"))
    status, _, error = run(capsys, workdir, "--out", "m.stablehlo", "--size", "25x18")
    assert status == 0, error


@pytest.mark.parametrize(
    ("dtype", "seed", "message"),
    [
        ("float32", 0, "eval_data=Other gives float32 images, but the file is for uint8: let"),
        ("uint16", 0, "eval_data=Other gives uint16 images"),
        ("uint8", 1, "looks at one image of eval_data, for its type: there is no folder away."),
        ("uint8", 0, None),
    ],
)
def test_images_of_another_type_than_the_files_are_refused(
    dtype, seed, message, finished, capsys
):
    workdir = changed(finished, OTHER_IMAGES.format(dtype=dtype, seed=seed))
    arguments = ("--out", "m.stablehlo", "--size", "24x24", "--platforms", "cpu")
    status, _, error = run(capsys, workdir, *arguments)
    assert status == (2 if message else 0) and (message or "") in error
    assert pathlib.Path("m.stablehlo").exists() == (message is None)


def test_a_folder_without_a_run_or_a_checkpoint_is_refused(finished, capsys):
    status, _, error = run(capsys, ".", "--out", "m.stablehlo")
    assert status == 2 and "is not the folder of a run" in error
    empty = pathlib.Path("empty")
    empty.mkdir()
    for name in ("experiment.py", "experiment.txt"):
        (empty / name).write_bytes((finished / name).read_bytes())
    status, _, error = run(capsys, empty, "--out", "m.stablehlo")
    assert status == 2 and "holds no checkpoint; train the run first" in error
