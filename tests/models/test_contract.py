"""What every model promises, one small variant of each."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.conformity import label_stride, missing
from segjax.contracts import AXIS, Classifier, Model
from segjax.models.segnet import SegNet, SegNetBasic
from segjax.ops.dispatch import plain

SMALL = runpy.run_path(str(pathlib.Path(__file__).with_name("small_networks.py")))
MODELS, _init, _variables = SMALL["MODELS"], SMALL["shapes"], SMALL["variables_of"]
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 33, 47, 3)), jnp.float32)


@pytest.fixture(scope="module", params=list(MODELS))
def evaluated(request):
    """A model, its variables, and its logits of IMAGE."""
    model = MODELS[request.param]
    variables = _variables(model)
    return model, variables, _evaluate(model)(variables, IMAGE)


@functools.cache
def _evaluate(model):
    """Returns (variables, images) → logits, compiled once; no key, so no dropout."""
    return jax.jit(lambda v, x: model.apply(v, x, train=False))


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_it_says_its_number_of_classes_and_which_layers_are_for_them(model):
    assert not missing(model, Model) and not missing(model, Classifier)
    assert model.num_classes == 3 and model.classifiers


@pytest.mark.parametrize("size", [(33, 47), (17, 17), (64, 32), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_logits_have_the_size_of_the_image_and_are_float32(model, size):
    logits, _ = _init(model, size)
    stride = label_stride(model)
    height, width = (-(-side // stride) for side in size)
    assert (logits.shape, logits.dtype) == ((1, height, width, 3), jnp.float32)


def test_logits_are_finite_and_differ_from_pixel_to_pixel(evaluated):
    logits = evaluated[2]
    assert np.isfinite(logits).all()
    assert (np.std(logits, axis=(1, 2)) > 1e-3).all()


def test_an_images_logits_do_not_depend_on_its_neighbours_in_the_batch(evaluated):
    model, variables, logits = evaluated
    swapped = _evaluate(model)(variables, IMAGE[::-1])
    np.testing.assert_allclose(swapped[::-1], logits, atol=1e-5 * np.abs(logits).max())


@pytest.mark.slow_but("lraspp", "fcn8s", "segnet_basic", "unet")
def test_bfloat16_logits_are_float32_and_close(evaluated):
    model, variables, logits = evaluated
    if hasattr(model, "backbone"):
        half = model.clone(backbone=model.backbone.clone(dtype=jnp.bfloat16))
    else:
        half = model.clone(dtype=jnp.bfloat16)
    found = _evaluate(half)(variables, IMAGE)
    assert found.dtype == jnp.float32
    assert (found != logits).any()
    close = np.abs(found - logits) <= 0.05 * np.abs(logits).max()
    # Where values nearly tie, SegNet's winners change places with their neighbours.
    assert close.mean() >= (0.9 if isinstance(model, (SegNet, SegNetBasic)) else 1.0)
    assert jax.tree.map(jnp.shape, _init(half)[1]) == jax.tree.map(jnp.shape, variables)


def _gradient(model, variables):
    """Returns the gradient of a training step, whose loss sees every head, by parameter."""

    def loss(params, rest, x):
        logits, new = model.apply(
            {"params": params, **rest},
            x,
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": jax.random.key(0)},
        )
        heads = [logits, *jax.tree.leaves(new.get("auxiliary", {}))]
        return sum(jnp.sin(head).sum() for head in heads)

    rest = {k: v for k, v in variables.items() if k != "params"}
    gradient = jax.pmap(jax.grad(loss), axis_name=AXIS, in_axes=(None, None, 0))
    return gradient(variables["params"], rest, IMAGE[None])


@pytest.mark.slow_but("lraspp", "fcn8s", "segnet_basic", "unet")
def test_a_gradient_reaches_every_parameter(evaluated):
    found = _gradient(*evaluated[:2])
    dead = [path for path, leaf in jax.tree.leaves_with_path(found) if not np.abs(leaf).max()]
    assert not dead


DENSER = {name: model for name, model in MODELS.items() if hasattr(model, "at_output_stride")}


@pytest.mark.parametrize("model", DENSER.values(), ids=list(DENSER))
def test_variables_of_output_stride_16_evaluate_at_8(model):
    dense = model.at_output_stride(8)
    assert dense.at_output_stride(16) == model.at_output_stride(16)
    with plain():  # Traces faster.
        (logits, variables), size = _init(model), {16: (3, 3), 8: (5, 6)}
        assert _init(dense) == (logits, variables)
        for network, output_stride in ((model, 16), (dense, 8)):
            backbone = lambda v, network=network: network.backbone.apply(
                {k: tree["backbone"] for k, tree in v.items()}, IMAGE, train=False
            )
            c5 = jax.eval_shape(backbone, variables)["c5"]
            assert c5.shape[1:3] == size[output_stride]


def _answer(model):
    return lambda v: model.apply(v, IMAGE[:1], train=False)


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_recomputing_changes_no_name_and_is_in_the_gradient(model):
    anew = model.clone(remat=True)
    with plain():  # Traces faster.
        result = _init(anew)
        assert result == _init(model)
        loss = lambda v: jnp.sin(_answer(anew)(v)).sum()
        text = str(jax.make_jaxpr(jax.grad(loss))(result[1]))
    assert "differentiated=True" in text


@pytest.mark.slow_but("unet")
@pytest.mark.parametrize("name", ["fc_densenet", "segnet", "unet"])
def test_recomputing_changes_neither_gradients_nor_dropout(name):
    model, variables = MODELS[name], _variables(MODELS[name])
    with plain():  # Compiles faster.
        kept, anew = (_gradient(m, variables) for m in (model, model.clone(remat=True)))
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(kept))
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(anew), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6 * largest)
