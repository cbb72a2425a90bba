"""A network and its CRF as one model: trained in one step, evaluated with more rounds."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax import losses
from segjax.crf.layer import CRFAsRNN
from segjax.errors import InputError
from segjax.evaluate.compiled import predictor
from segjax.experiment import CAFFE, IMAGENET, SIGNED, UNIT, load
from segjax.models.crf_rnn import CRFRNN, denormalized
from segjax.models.unet import UNet
from segjax.parallel.data import replicate
from segjax.parallel.sharing import over_devices
from segjax.tasks import dense
from segjax.train.plan import make_plan
from segjax.train.step import init_state, make_train_step

NETWORK = UNet(num_classes=3, depth=1, features=4, batch_norm=True)
CRF = CRFAsRNN(iterations=2, appearance_sxy=8.0, appearance_srgb=40.0, capacity=1024)
MODEL = CRFRNN(NETWORK, IMAGENET, crf=CRF, evaluation_iterations=3)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 12, 14, 3)).astype(np.uint8)
LABELS = np.repeat(RNG.integers(0, 3, (4, 6, 14)), 2, axis=1).astype(np.uint8)


@pytest.fixture(scope="module")
def variables():
    init = jax.jit(lambda x: MODEL.init(jax.random.key(0), x, train=False))
    return init(IMAGENET(jnp.asarray(IMAGES[:1])))


@pytest.mark.parametrize("normalize", [UNIT, SIGNED, IMAGENET, CAFFE])
def test_every_8_bit_value_is_found_again_behind_a_normalisation(normalize):
    values = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 7)], -1)
    image = jnp.asarray(values[None, None].astype(np.uint8))
    np.testing.assert_array_equal(denormalized(normalize(image), normalize), image)


def test_the_networks_variables_keep_their_names_beside_the_crfs(variables):
    own = NETWORK.init(jax.random.key(0), jnp.zeros((1, 12, 14, 3)), train=False)
    params = dict(variables["params"])
    assert set(params.pop("crf")) == {"smoothness_weight", "appearance_weight", "compatibility"}
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, own["params"])
    assert jax.tree.structure(variables["batch_stats"]) == jax.tree.structure(
        own["batch_stats"]
    )


def test_outside_training_it_is_the_layer_with_more_rounds_on_the_networks_scores(variables):
    images = IMAGES[:2]
    params = dict(variables["params"])
    crf = params.pop("crf")

    @jax.jit
    def by_hand(images):
        rest = {"batch_stats": variables["batch_stats"]}
        logits = NETWORK.apply({"params": params, **rest}, IMAGENET(images), train=False)
        return jax.nn.softmax(CRF.clone(iterations=3).apply({"params": crf}, logits, images))

    found = predictor(MODEL, IMAGENET)(variables, images)
    np.testing.assert_allclose(found, by_hand(images), atol=1e-6)


def test_steps_train_the_network_and_the_crf_together(variables):
    optimizer = optax.sgd(0.1)
    objective = dense.objective(MODEL, losses.softmax_cross_entropy, normalize=IMAGENET)
    step = make_train_step(objective, optimizer)
    run = over_devices(step)
    state = replicate(init_state(variables, optimizer))
    before, found = jax.tree.map(np.asarray, variables["params"]), []
    for number in range(6):
        batch = {"image": IMAGES, "label": LABELS, "step": np.full(4, number, np.int32)}
        state, measured = run(state, batch)
        assert measured["finite"]
        found.append(float(measured["loss"]))
    assert found[-1] < 0.9 * found[0]
    moved = jax.tree.map(lambda old, new: np.abs(new - old).max(), before, state.params)
    # A bias before batch norm moves nothing.
    still = {jax.tree_util.keystr(p) for p, v in jax.tree.leaves_with_path(moved) if v < 1e-6}
    assert all("bias" in path and "conv" in path for path in still), still


def test_scores_of_another_size_than_the_image_are_refused():
    valid = CRFRNN(UNet(num_classes=3, depth=1, features=4, valid=True), IMAGENET, crf=CRF)
    with pytest.raises(ValueError, match="Scores"):
        jax.eval_shape(
            lambda x: valid.init(jax.random.key(0), x, train=False), jnp.zeros((1, 22, 22, 3))
        )


def test_a_network_that_undoes_another_normalisation_is_refused_before_work(tmp_path):
    tiny = load(pathlib.Path(__file__).parents[1] / "commands" / "tiny.py")
    model = CRFRNN(tiny.model, CAFFE, crf=CRF)
    experiment = dataclasses.replace(tiny, model=model)
    assert model.num_classes == 6
    with pytest.raises(InputError, match="model.normalize=.* give both the same"):
        make_plan(experiment)
    make_plan(dataclasses.replace(experiment, normalize=CAFFE))
