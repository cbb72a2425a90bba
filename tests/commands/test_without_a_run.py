"""predict, serve and export with an experiment file and weights: no run, no training."""

import argparse
import json
import os
import pathlib
import runpy
import shutil

import jaxtyping
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from segjax import experiment as experiments
from segjax import predict, weights
from segjax.errors import InputError
from segjax.export import __main__ as export
from segjax.network_arguments import add_source
from segjax.page.runs import load_runs
from segjax.predictor_options import asked_sources
from segjax.train import trained
from segjax.train.checkpoint import Checkpoints

HERE = pathlib.Path(__file__).parent
TINY = HERE / "tiny.py"
UNTRAINED = runpy.run_path(str(HERE.parent / "page" / "untrained_run.py"))["untrained"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    """A run's folder, and in it the file `w.safetensors` of what its checkpoint holds."""
    folder = UNTRAINED(tmp_path_factory.mktemp("runs") / "run")
    with Checkpoints(folder, read_only=True) as checkpoints:
        weights.save(folder / "w.safetensors", checkpoints.restore_variables()[1])
    return folder


@pytest.fixture
def photo(tmp_path) -> pathlib.Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(*arguments) -> int:
    return predict.main([str(argument) for argument in arguments])


def test_weights_of_a_file_predict_the_masks_of_the_run_that_they_are_from(workdir, photo):
    by_run, by_file = photo.parent / "by_run", photo.parent / "by_file"
    assert run(workdir, photo, "--out", by_run) == 0
    assert run(TINY, photo, "--out", by_file, "--weights", workdir / "w.safetensors") == 0
    assert (by_file / "photo.png").read_bytes() == (by_run / "photo.png").read_bytes()


def test_the_same_weights_skip_what_is_finished_and_changed_ones_make_it_anew(
    workdir, photo, capsys
):
    file, out = photo.parent / "w.safetensors", photo.parent / "out"
    shutil.copy(workdir / "w.safetensors", file)
    words = (TINY, photo, "--out", out, "--weights", file)
    assert run(*words) == 0
    capsys.readouterr()
    assert run(*words) == 0
    said = capsys.readouterr()
    assert said.out == (f"1 mask of weights w.safetensors in {out}, 1 of them already there\n")
    os.utime(file, ns=(1, 1))
    assert run(*words) == 0
    said = capsys.readouterr()
    assert "already" not in said.out and "all files are made again" in said.err
    assert run(*words, "--set", "normalize.scale=2.0") == 0
    assert "network was" in capsys.readouterr().err


def test_what_is_said_of_weights_leaves_the_json_alone(workdir, photo, capsys, monkeypatch):
    def load(*arguments, note, **options):
        note("w.safetensors: a note")
        return weights.load(*arguments, note=note, **options)

    monkeypatch.setattr(trained, "load_weights", load)
    words = ("--out", photo.parent / "out", "--weights", workdir / "w.safetensors", "--json")
    assert run(TINY, photo, *words) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["counts"]["made"] == 1
    assert "w.safetensors: a note\n" in said.err


def test_weights_for_other_classes_name_the_layers_that_would_be_random(workdir, photo, capsys):
    words = ("--weights", workdir / "w.safetensors", "--set", "model.num_classes=3")
    assert run(TINY, photo, "--out", photo.parent / "out", *words) == 2
    said = capsys.readouterr().err
    assert "does not give all of UNet: classifier would start from random numbers" in said
    assert "6 → 3 classes" in said and not (photo.parent / "out").exists()


@pytest.mark.parametrize(
    "places, options, expected",
    [
        ([TINY], [], "has no trained weights: add --weights FILE_OR_NAME"),
        ([TINY], ["--weights", "w", "--checkpoint", "last"], "takes its variables from"),
        (["RUN"], ["--weights", "w"], "--weights is for an experiment file"),
        (["RUN"], ["--set", "seed=1"], "--set is for an experiment file"),
        (["RUN"], ["--key", "ema"], "--key is for an experiment file"),
        (["nowhere"], [], "There is no nowhere; name a run's folder"),
        ([HERE.parent / "weights" / "tensors.pth"], [], "tensors.pth is no experiment file"),
        ([TINY], ["--weights", "w", "--weights", "x"], "--weights is given 2 times for 1 "),
        ([TINY, TINY], ["--weights", "w"], "has no trained weights"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_the_place_are_refused(places, options, expected, workdir):
    parser = argparse.ArgumentParser()
    add_source(parser, several=True)
    named = [str(workdir) if place == "RUN" else str(place) for place in places]
    with pytest.raises(InputError, match=expected):
        asked_sources(parser.parse_args([*named, *options]))


def test_several_networks_take_their_weights_in_order_beside_runs_with_checkpoints(workdir):
    parser = argparse.ArgumentParser()
    add_source(parser, several=True)
    words = [TINY, workdir, TINY, "--weights", "a", "--weights", "b", "--checkpoint", "last"]
    found = asked_sources(parser.parse_args([str(word) for word in words]))
    assert [source.weights for source in found] == ["a", None, "b"]
    assert [source.checkpoint for source in found] == [None, "last", None]
    assert [source.name for source in found] == ["tiny", "run", "tiny"]


def test_the_page_names_the_weights_and_gives_the_runs_probabilities(workdir):
    parser = argparse.ArgumentParser()
    add_source(parser, several=True)
    words = [str(TINY), str(workdir), "--weights", str(workdir / "w.safetensors")]
    sources = asked_sources(parser.parse_args(words))
    ours, theirs = load_runs([(source, source.experiment()) for source in sources])
    assert (ours.weights, theirs.weights) == ("weights w.safetensors", "step 0")
    image = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
    np.testing.assert_array_equal(ours.probabilities(image), theirs.probabilities(image))


def test_an_export_holds_the_weights_and_says_which(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    file = tmp_path / "m.stablehlo"
    words = [TINY, "--weights", workdir / "w.safetensors", "--out", file, "--platforms", "cpu"]
    assert export.main([str(word) for word in [*words, "--size", "16x16"]]) == 0
    assert f"UNet of weights w.safetensors in {file}" in capsys.readouterr().out
    about = json.loads((tmp_path / "m.stablehlo.json").read_text(encoding="utf-8"))
    assert about["step"] is None and about["weights"] == "weights w.safetensors"
    image = np.random.default_rng(2).integers(0, 256, (1, 16, 16, 3), np.uint8)
    exported = jax_export.deserialize(bytearray(file.read_bytes())).call(image)
    (run_of_file,) = load_runs([_source(workdir / "w.safetensors")])
    np.testing.assert_allclose(exported[0], run_of_file.probabilities(image[0]), atol=1e-5)


def _source(file: pathlib.Path):
    parser = argparse.ArgumentParser()
    add_source(parser)
    (source,) = asked_sources(parser.parse_args([str(TINY), "--weights", str(file)]))
    return source, experiments.load(TINY)
