"""Names and sources with umlauts, in locales that have none and in files of other encodings."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segjax import experiment as experiments
from segjax.train.workdir import claim, open_run

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SOURCE = """\
from segjax import losses
from segjax.data.folder import Folder
from segjax.experiment import Evaluation, Experiment
from segjax.models.unet import UNet
from segjax.train.optimizer import SGD, Poly

data = Folder(directory="größe", class_names=("Straße", "Bäume"))
experiment = Experiment(
    name="prüfung",
    model=UNet(num_classes=2, depth=1, features=2),
    train_data=data,
    eval_data=data,
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.05)),
    batch_size=4,
    steps=1,
    evaluation=Evaluation(examples=1),
)
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> pathlib.Path:
    """übung.py and a folder größe of two images; the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "übung.py").write_text(SOURCE, encoding="utf-8")
    label = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2
    for name in ("blüte", "naïve"):
        for folder, pixels in (("images", np.dstack([label * 99] * 3)), ("masks", label)):
            (tmp_path / "größe" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "größe" / folder / f"{name}.png")
    return tmp_path


def run(module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"segjax.{module}", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True)


@pytest.mark.slow
def test_a_run_in_a_locale_without_umlauts_is_that_of_any_other(here):
    ran = run("launch", "übung.py", "--workdir", "läufe/erster", **ASCII)
    assert ran.returncode == 0, ran.stderr
    workdir = here / "läufe" / "erster"
    assert rb"report: l\xe4ufe/erster/report.html" in ran.stdout
    assert open_run(workdir).train_data.class_names == ("Straße", "Bäume")
    evaluation = json.loads((workdir / "evaluation.json").read_text(encoding="utf-8"))
    assert set(evaluation["iou"]) == {"Straße", "Bäume"}
    assert "Bäume" in (workdir / "report.html").read_text(encoding="utf-8")
    ran = run("predict", str(workdir), "größe/images", "--out", "grün", "--areas", **ASCII)
    assert ran.returncode == 0, ran.stderr
    assert (here / "grün" / "blüte.png").is_file()
    areas = (here / "grün" / "areas.csv").read_text(encoding="utf-8")
    assert "blüte.png,Bäume," in areas


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-8"])
def test_an_experiment_in_the_encoding_that_it_declares_is_copied_as_it_is(here, encoding):
    declared = f"# -*- coding: {encoding} -*-\r\n" if encoding == "latin-1" else ""
    contents = (declared + SOURCE).encode(encoding)
    path = here / "anders.py"
    path.write_bytes(contents)
    experiment = experiments.load(path)
    claim(here / "run", experiment, path, contents)
    assert (here / "run" / "experiment.py").read_bytes() == contents
    assert open_run(here / "run") == experiment


def test_a_workdir_whose_name_is_no_text_is_refused_before_work(here):
    ran = run("launch", "übung.py", "--workdir", "l\udce4ufe", LC_ALL="C.UTF-8")
    assert ran.returncode == 2 and ran.stderr.count(b"\n") == 1
    assert rb"l\udce4ufe is not valid UTF-8; choose another name." in ran.stderr


def test_a_description_that_another_locale_wrote_can_be_read(here):
    path = here / "übung.py"
    claim(here / "run", experiments.load(path), path, path.read_bytes())
    described = here / "run" / "experiment.txt"
    # The versions that wrote in the locale's encoding wrote no checksum.
    text, *_ = described.read_text(encoding="utf-8").partition("# crc32: ")
    described.write_bytes(text.encode("latin-1"))
    assert open_run(here / "run").name == "prüfung"
