"""Weights of a network with other classes: all but the classifier comes from the file."""

import functools
import pathlib
import runpy

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from segjax import weights
from segjax.conformity import classifiers
from segjax.crf.layer import CRFAsRNN
from segjax.errors import InputError
from segjax.experiment import IMAGENET
from segjax.models.crf_rnn import CRFRNN
from segjax.ops.dispatch import plain

TABLE = pathlib.Path(__file__).parents[1] / "models" / "small_networks.py"
MODELS = runpy.run_path(str(TABLE))["MODELS"]
CRF = CRFAsRNN(appearance_sxy=4.0)
NETWORKS = {**MODELS, "crf_rnn": CRFRNN(MODELS["unet"], IMAGENET, CRF)}


def with_classes(model, count):
    if isinstance(model, CRFRNN):
        return model.clone(network=model.network.clone(num_classes=count))
    return model.clone(num_classes=count)


@functools.cache
def shapes_of(model):
    """Shape and dtype of all variables by path; each network is traced once."""
    with plain():  # Traces faster.
        return flat(weights.variable_shapes(model))


def flat(variables):
    return flatten_dict(dict(variables), sep="/")


def leaves_of_classifiers(model, paths):
    """Those of the paths that lie in a layer that the model names, and the layers used."""
    by_layer = {
        layer: {path for path in paths if f"{path}/".startswith(f"params/{layer}/")}
        for layer in classifiers(model)
    }
    return set().union(*by_layer.values()), by_layer


@pytest.mark.parametrize("model", NETWORKS.values(), ids=list(NETWORKS))
def test_a_family_names_exactly_the_layers_whose_shapes_depend_on_its_classes(model):
    ours, others = shapes_of(model), shapes_of(with_classes(model, 5))
    found, by_layer = leaves_of_classifiers(model, ours)
    assert found == {path for path in ours if ours[path].shape != others[path].shape}
    assert all(by_layer.values())


@pytest.mark.parametrize("model", NETWORKS.values(), ids=list(NETWORKS))
def test_all_but_the_classifier_of_other_classes_comes_from_the_file(
    model, tmp_path, monkeypatch
):
    shapes = shapes_of(model)
    rng = np.random.default_rng(0)
    saved = {path: rng.normal(size=s.shape).astype(s.dtype) for path, s in shapes.items()}
    path = tmp_path / "a.safetensors"
    weights.save(path, saved)
    other = with_classes(model, 5)
    # What `init` draws is what the family's own tests are about; here it only costs time.
    wanted = shapes_of(other)
    drawn = {name: np.full(leaf.shape, 7, leaf.dtype) for name, leaf in wanted.items()}
    asked = []

    def initialised(model, channels, seed, names):
        asked.append(seed)
        return {name: drawn[name] for name in names}

    monkeypatch.setattr(weights, "_initialised", initialised)
    monkeypatch.setattr(
        weights, "variable_shapes", lambda *_, **__: unflatten_dict(wanted, sep="/")
    )
    said = []
    found = flat(weights.load(path, other, seed=3, note=said.append))
    fresh, _ = leaves_of_classifiers(other, wanted)
    assert found.keys() == wanted.keys() and asked == [3]
    for name, array in found.items():
        source = drawn if name in fresh else saved
        np.testing.assert_array_equal(array, source[name], err_msg=name)
    layers = {name.rpartition("/")[0].removeprefix("params/") for name in fresh}
    assert {
        line.partition(": ")[2].partition(" re-initialised from seed 3: ")[0] for line in said
    } == layers
    assert len(said) == len(layers)


def test_u2nets_heads_for_other_classes_are_drawn_and_nothing_else_is(tmp_path):
    model = MODELS["u2net"]
    zeros = {path: np.zeros(s.shape, s.dtype) for path, s in shapes_of(model).items()}
    weights.save(tmp_path / "a.safetensors", zeros)
    other = model.clone(num_classes=5)
    with plain():
        found = flat(weights.load(tmp_path / "a.safetensors", other, note=lambda _: None))
    kernels = {f"params/{layer}/kernel" for layer in ("outconv", "side1", "side2")}
    assert {path for path, array in found.items() if np.asarray(array).any()} == kernels


def test_a_classifier_of_the_same_classes_but_other_features_is_refused(tmp_path):
    model = MODELS["unet"]
    wrong = {p: np.zeros(s.shape, s.dtype) for p, s in shapes_of(model).items()}
    wrong["params/classifier/kernel"] = np.zeros((1, 1, 9, 2), np.float32)
    weights.save(tmp_path / "a.safetensors", wrong)
    with pytest.raises(InputError, match="1 of another shape: params/classifier/kernel is"):
        weights.load(tmp_path / "a.safetensors", model, note=lambda _: None)
