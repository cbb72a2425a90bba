"""A state dict is found wherever a training script put it, and beside whatever it put there."""

import argparse
import collections
import datetime
import functools
import os
import pathlib
import runpy

import jax
import numpy as np
import pytest

from segjax import weights
from segjax.backbones.resnet import ResNet
from segjax.errors import InputError
from segjax.experiment import load, override
from segjax.pretrained.files import read_arrays

FOLDER = pathlib.Path(__file__).parent
STATE = runpy.run_path(str(FOLDER / "state_dicts.py"))
LIKE = runpy.run_path(str(FOLDER / "torch_like.py"))
MODEL = ResNet(stages=(1, 1, 1, 1), width=8)
TINY = FOLDER.parent / "commands" / "tiny.py"


@functools.cache
def state():
    found = STATE["small"]("resnet50")
    return {name: array for name, array in found.items() if not name.startswith("fc.")}


def tensors(shift=0):
    return LIKE["tensors"]({n: a + a.dtype.type(shift) for n, a in state().items()})


def loaded(folder, value, *, key=None, **options):
    """The first bias, and the lines that were said; the file is called a.ckpt."""
    path = folder / "a.ckpt"
    path.write_bytes(LIKE["saved"](value, **options))
    said = []
    found = weights.load(path, MODEL, key=key, note=said.append)
    return found["params"]["bn1"]["bias"], said


FIRST = state()["bn1.bias"]


class Hostile:
    """Unpickled the usual way it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_whatever_lies_beside_a_state_dict_is_passed_over_and_not_run(
    protocol, legacy, tmp_path
):
    folder = tmp_path / "made"
    moment = LIKE["Tensor"](np.ones(3, np.float32))
    beside = {
        "args": argparse.Namespace(rate=0.1, out=pathlib.PurePosixPath("runs")),
        "hostile": Hostile(folder),
        "when": datetime.datetime(2020, 1, 1),
        "score": np.float64(0.5),
        "scores": np.arange(4),
        "random": np.random.RandomState(0).get_state(),
        "optimizer": {"state": {0: {"exp_avg": moment}}, "param_groups": [{"params": [0]}]},
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "seen": {1, 2},
        "large": 2**90,
        "config": LIKE["foreign"]("Config", parent=None, inner={"a": 1}),
        "step": functools.partial(int, "3"),
    }
    bias, said = loaded(
        tmp_path, {**beside, "state_dict": tensors()}, protocol=protocol, legacy=legacy
    )
    np.testing.assert_array_equal(bias, FIRST)
    assert said == ["a.ckpt: state dict taken from 'state_dict'"]
    assert not folder.exists()


PLACES = {
    "checkpoint.state_dict": lambda: {"checkpoint": {"state_dict": tensors()}, "epoch": 3},
    "model_state": lambda: {"model_state": tensors()},
    "net": lambda: {"net": tensors(), "acc": 91.2},
    "a.b.c": lambda: {"a": {"b": {"c": tensors()}}},
    "0": lambda: (tensors(), {"step": 3}),
    "args.model": lambda: {"args": argparse.Namespace(model=tensors())},
    "ema.shadow": lambda: {"ema": LIKE["foreign"]("Average", shadow=tensors(), decay=0.9)},
    "model": lambda: {"model": LIKE["module"](state()), "epoch": 1},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_state_dict_is_found_at_any_depth_and_its_keys_are_said(place, tmp_path):
    bias, said = loaded(tmp_path, PLACES[place]())
    np.testing.assert_array_equal(bias, FIRST)
    assert said == [f"a.ckpt: state dict taken from {place!r}"]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_network_that_was_saved_whole_counts_as_its_state_dict(legacy, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(LIKE["saved"](LIKE["module"](state()), legacy=legacy))
    found = read_arrays(path).arrays
    # What is not persistent is no part of a state dict.
    assert found.keys() == state().keys()
    for name, array in state().items():
        np.testing.assert_array_equal(found[name], array)


def test_of_model_and_average_the_usual_is_taken_it_is_said_and_the_other_can_be(tmp_path):
    both = {"model_ema": tensors(1), "model": tensors(), "epoch": 3}
    bias, said = loaded(tmp_path, both)
    np.testing.assert_array_equal(bias, FIRST)
    assert said == [
        "a.ckpt: state dict taken from 'model'; the file has others under 'model_ema': to "
        "choose one, set key='model_ema'"
    ]
    bias, said = loaded(tmp_path, both, key="model_ema")
    np.testing.assert_array_equal(bias, FIRST + 1)
    assert said == ["a.ckpt: state dict taken from 'model_ema'"]
    nested = {"checkpoint": both}
    for key in ("model_ema", "checkpoint.model_ema"):
        np.testing.assert_array_equal(loaded(tmp_path, nested, key=key)[0], FIRST + 1)
    assert weights.Pretrained(str(tmp_path / "a.ckpt"), key="model").key == "model"


ONE = np.ones(1, np.float32)
CONTAINERS = {
    "alone": lambda: {"module": tensors(1)},
    "deep": lambda: {"a": {"b": tensors(1)}},
    "beside a tensor": lambda: {"module": tensors(1), "updates": LIKE["Tensor"](ONE)},
    "beside moments": lambda: {"module": tensors(1), "opt": {"avg": LIKE["Tensor"](ONE)}},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_key_of_a_container_takes_the_one_network_in_it(container, tmp_path):
    both = {"model": tensors(), "model_ema": CONTAINERS[container]()}
    bias, said = loaded(tmp_path, both, key="model_ema")
    np.testing.assert_array_equal(bias, FIRST + 1)
    assert said[0].startswith("a.ckpt: state dict taken from 'model_ema.")


def test_a_key_of_a_container_of_two_networks_says_which_there_are(tmp_path):
    both = {"model": tensors(), "ema": {"fast": tensors(), "slow": tensors(1)}}
    said = "2 state dicts under key='ema': choose one of 'ema.fast', 'ema.slow'"
    with pytest.raises(InputError, match=said):
        loaded(tmp_path, both, key="ema")


def test_an_experiment_sets_the_key_by_name():
    begun = override(load(TINY), "init=segjax.weights.Pretrained('a.ckpt')")
    assert begun.init.key is None
    assert override(begun, "init.key=model_ema").init.key == "model_ema"


def test_where_no_key_is_the_usual_one_it_must_be_chosen(tmp_path):
    both = {"student": tensors(), "teacher": tensors(1)}
    with pytest.raises(InputError) as error:
        loaded(tmp_path, both)
    assert "a.ckpt holds 2 networks, under 'student', 'teacher'; choose one with key=" in str(
        error.value
    )
    np.testing.assert_array_equal(loaded(tmp_path, both, key="teacher")[0], FIRST + 1)
    with pytest.raises(
        InputError, match=r"nothing under key='x'; it has 'student', 'teacher'\."
    ):
        loaded(tmp_path, both, key="x")
    with pytest.raises(
        InputError, match="2 state dicts under key='w': choose one of 'student.w', 'teacher.w'"
    ):
        loaded(tmp_path, {name: {"w": t} for name, t in both.items()}, key="w")


def test_a_key_and_a_wrappers_prefix_go_together(tmp_path):
    wrapped = lambda shift: {f"module.{name}": t for name, t in tensors(shift).items()}
    both = {"state_dict": wrapped(0), "state_dict_ema": wrapped(1)}
    bias, said = loaded(tmp_path, both, key="state_dict_ema")
    np.testing.assert_array_equal(bias, FIRST + 1)
    assert len(said) == 2 and "the prefix 'module.' is removed" in said[1]


def test_a_checkpoint_of_an_optimizer_alone_has_no_known_layout(tmp_path):
    moments = {0: {"exp_avg": LIKE["Tensor"](np.ones(3, np.float32))}}
    with pytest.raises(InputError, match="no layout that segjax knows: its arrays are exp_avg"):
        loaded(tmp_path, {"optimizer": {"state": moments}})
    with pytest.raises(InputError, match="no state dict, but an object of argparse.Namespace"):
        loaded(tmp_path, argparse.Namespace(a=1))


def test_one_state_dict_under_two_keys_and_a_circle_are_no_obstacle(tmp_path):
    shared = tensors()
    circle = {"state_dict": shared, "best": shared}
    circle["self"] = circle
    bias, said = loaded(tmp_path, circle, key="best")
    np.testing.assert_array_equal(bias, FIRST)
    assert len(said) == 1
    jax.tree.map(np.testing.assert_array_equal, bias, loaded(tmp_path, circle)[0])
