"""Where a weights file is looked for; nothing here goes to the network."""

import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.errors import EntryNotFoundError

from segjax import weights
from segjax.backbones.resnet import ResNet
from segjax.errors import InputError
from segjax.pretrained.find import find_weights

FOLDER = pathlib.Path(__file__).parent
STATE = runpy.run_path(str(FOLDER / "state_dicts.py"))
MODEL = ResNet(stages=(1, 1, 1, 1), width=8)
NAME = "timm/resnet50.tv_in1k"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub; whoever asks for a file is told that there is no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    asked = []

    def ask(url, *, timeout):
        asked.append(url)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", ask)
    return asked


def in_hub(tmp_path, file):
    """The place of a file in the hub's cache, as the hub's library lays it out."""
    repository = (
        tmp_path / "hub" / file_download.repo_folder_name(repo_id=NAME, repo_type="model")
    )
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot / file


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_in_the_hubs_cache_needs_no_network(file, hub, tmp_path):
    state = STATE["small"]("resnet50")
    STATE["write"](in_hub(tmp_path, file), state)
    found = weights.Pretrained(NAME).load(MODEL, note=lambda _: None)
    kernel = found["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["conv1.weight"])
    assert hub == []


def test_a_file_placed_in_our_cache_comes_before_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path))
    STATE["write"](in_hub(tmp_path, "model.safetensors"), {"wrong": np.zeros(1, np.float32)})
    place = tmp_path / "weights" / f"{NAME}.pth"
    place.parent.mkdir(parents=True)
    STATE["write"](place, STATE["small"]("resnet50"))
    assert weights.Pretrained(NAME).load(MODEL, note=lambda _: None)


def test_without_network_the_message_says_which_file_to_place_where(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path))
    place = tmp_path / "weights" / f"{NAME}.safetensors"
    with pytest.raises(InputError) as error:
        weights.load(NAME, MODEL)
    assert f"place them as {place} (or .npz, .pth, .pt, .bin, .ckpt, .pth.tar)" in str(
        error.value
    )
    assert "huggingface.co does not give them (ConnectionError: no network)" in str(error.value)
    assert f"On the hub it is {NAME}/model.safetensors" in str(error.value)
    assert [url.rpartition(NAME)[2] for url in hub] == ["/resolve/main/model.safetensors"]


def test_a_repository_without_safetensors_has_an_older_file(hub, tmp_path, monkeypatch):
    old = STATE["write"](tmp_path / "pytorch_model.bin", STATE["small"]("resnet50"))
    present = {"pytorch_model.bin": old}

    def ask(url, *, timeout):
        if url.rpartition("/")[2] not in present:
            raise EntryNotFoundError("none")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", ask)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda name, file: present[file])
    assert weights.load(NAME, MODEL, note=lambda _: None)
    present.clear()
    with pytest.raises(InputError, match="has neither model.safetensors nor pytorch_model.bin"):
        weights.load(NAME, MODEL)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.pth", "There is no weights file nowhere.pth"),
        ("plain", "place them as .*plain"),
    ],
)
def test_what_is_no_name_for_the_hub_is_not_asked_for(name, message, hub):
    with pytest.raises(InputError, match=message):
        weights.load(name, MODEL)
    assert hub == []


NAMES = ("A.PTH", "a.ckpt", "a.pth.tar", "epoch=3-step=9.ckpt", "checkpoint", "a.SAFETENSORS")


@pytest.mark.parametrize("kind", [".safetensors", ".npz", ".pth"])
@pytest.mark.parametrize("name", NAMES)
def test_a_files_bytes_say_of_which_kind_it_is_and_not_its_name(kind, name, tmp_path):
    state = STATE["small"]("resnet50")
    written = pathlib.Path(STATE["write"](tmp_path / f"b{kind}", state))
    found = weights.load(written.rename(tmp_path / name), MODEL, note=lambda _: None)
    kernel = found["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["conv1.weight"])


@pytest.mark.parametrize("suffix", [".PTH", ".pth.tar", ".ckpt", ".SafeTensors"])
def test_a_name_finds_a_file_in_our_cache_by_any_usual_suffix(
    suffix, hub, tmp_path, monkeypatch
):
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path))
    place = tmp_path / "weights" / f"{NAME}{suffix}"
    place.parent.mkdir(parents=True)
    place.touch()
    assert find_weights(NAME) == place and hub == []


def test_a_path_without_a_file_is_never_asked_of_the_hub_and_the_nearest_is_named(
    hub, tmp_path
):
    (tmp_path / "fcn_best.PTH").touch()
    for name in ("fcn_best.pth", "fcn_best.pth.tar", "fcn-best.ckpt"):
        with pytest.raises(InputError, match=r"fcn.best\.\S+ \(near: fcn_best.PTH\); check"):
            find_weights(str(tmp_path / name))
    for name in ("./runs/model", "../a/b", "~/a", "a/model.h5", "a/model.ONNX"):
        with pytest.raises(InputError, match="There is no weights file"):
            find_weights(name)
    assert hub == []


def test_an_address_is_called_one(hub):
    with pytest.raises(InputError, match="models/a.pth is an address; download the file and"):
        find_weights("https://example.org/models/a.pth")
    assert hub == []


def test_a_folder_is_refused_with_the_file_in_it_that_may_be_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "voc").mkdir(parents=True)
    (tmp_path / "runs" / "voc" / "model.safetensors").touch()
    with pytest.raises(
        InputError, match=r"runs/voc is a folder; .*runs/voc/model.safetensors\."
    ):
        find_weights("runs/voc")


def test_a_tensorflow_checkpoint_is_called_what_it_is(tmp_path):
    (tmp_path / "model.ckpt-30.index").touch()
    with pytest.raises(
        InputError, match="model.ckpt-30 is a TensorFlow checkpoint, which segjax"
    ):
        find_weights(str(tmp_path / "model.ckpt-30"))


def test_importing_and_constructing_load_no_library_of_the_hub():
    code = (
        "import sys; from segjax.weights import Pretrained; Pretrained('timm/a'); "
        "sys.exit(any(name.startswith(('huggingface_hub', 'torch')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
