"""Variables as files: what was saved comes back, and what does not fit is named."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from segjax import weights
from segjax.errors import InputError
from segjax.experiment import load
from segjax.models.unet import UNet
from segjax.train.plan import make_plan

MODEL = UNet(num_classes=2, depth=1, features=2, batch_norm=True)


def variables_of(model):
    rng = np.random.default_rng(0)
    draw = lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype)
    return jax.tree.map(draw, dict(weights.variable_shapes(model)))


def test_saved_variables_come_back_bit_for_bit(tmp_path):
    saved = variables_of(MODEL)
    weights.save(tmp_path / "a.safetensors", saved, description="a run")
    found = weights.load(str(tmp_path / "a.safetensors"), MODEL)
    jax.tree.map(np.testing.assert_array_equal, saved, found)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_name_is_looked_up_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path))
    folder = tmp_path / "weights" / "mine"
    folder.mkdir(parents=True)
    weights.save(folder / "small.safetensors", variables_of(MODEL))
    assert weights.Pretrained("mine/small").load(MODEL)
    with pytest.raises(InputError, match=r"place them as .*mine/other.safetensors .*init=None"):
        weights.Pretrained("mine/other").load(MODEL)


def test_what_belongs_to_another_network_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    weights.save(path, variables_of(MODEL))
    with pytest.raises(
        InputError, match=r"batch_stats/\S+ is \(\d+,\) in the file, \(\d+,\) in the model"
    ):
        weights.load(str(path), MODEL.clone(features=3))
    with pytest.raises(InputError, match="is for another network"):
        weights.load(str(path), MODEL, channels=1)


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="There is no weights file"):
        weights.load(str(path), MODEL)
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match="as weights: its content is not of safetensors"):
        weights.load(str(path), MODEL)


def test_weights_that_are_not_there_are_missed_before_any_data_are_read(tmp_path):
    experiment = load(pathlib.Path(__file__).parents[1] / "experiments" / "unet_camvid.py")
    source = str(tmp_path / "none.safetensors")
    changes = {"init": weights.Pretrained(source)}
    for field in ("train_data", "eval_data"):
        data = getattr(experiment, field)
        changes[field] = dataclasses.replace(data, directory="/nowhere")
    with pytest.raises(InputError, match="none.safetensors"):
        make_plan(dataclasses.replace(experiment, **changes))
    with pytest.raises(InputError, match="CamVid does not know where its files are"):
        make_plan(dataclasses.replace(experiment, init=None))
