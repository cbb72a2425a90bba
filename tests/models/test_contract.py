"""What every model promises, one small variant of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.unet import UNet
from segjax.types import AXIS

RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8, output_stride=16)
MODELS = {
    "deeplab": DeepLabV3(RESNET, num_classes=3, rates=(1, 2), features=16, auxiliary=True),
    "unet": UNet(num_classes=3, depth=2, features=4, dropout=0.5),
    "unet_bilinear_batch_norm": UNet(
        num_classes=3, depth=2, features=4, bilinear=True, batch_norm=True
    ),
}
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 33, 47, 3)), jnp.float32)


def _init(model, size=(33, 47)):
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False),
        jnp.zeros((1, *size, 3)),
    )


def _variables(model):
    """Returns variables of no fresh network, without compiling `init`."""
    rng = np.random.default_rng(0)

    def leaf(path, shape):
        if path[-1].key == "kernel":
            scale = np.sqrt(2 / np.prod(shape.shape[:3]))
            return jnp.asarray(rng.normal(0, scale, shape.shape), jnp.float32)
        return jnp.asarray(rng.uniform(0.5, 1.0, shape.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, _init(model)[1])


@pytest.fixture(scope="module", params=list(MODELS))
def evaluated(request):
    """A model, its variables, and its logits of IMAGE."""
    model = MODELS[request.param]
    variables = _variables(model)
    return model, variables, _logits(model, variables)


def _logits(model, variables):
    return jax.jit(lambda v: model.apply(v, IMAGE, train=False))(variables)


@pytest.mark.parametrize("size", [(33, 47), (17, 17), (64, 32), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_logits_have_the_size_of_the_image_and_are_float32(model, size):
    logits, _ = _init(model, size)
    assert (logits.shape, logits.dtype) == ((1, *size, 3), jnp.float32)


def test_logits_are_finite_and_differ_from_pixel_to_pixel(evaluated):
    logits = evaluated[2]
    assert np.isfinite(logits).all()
    assert (np.std(logits, axis=(1, 2)) > 1e-3).all()


def test_an_images_logits_do_not_depend_on_its_neighbours_in_the_batch(evaluated):
    model, variables, logits = evaluated
    swapped = jax.jit(lambda v: model.apply(v, IMAGE[::-1], train=False))(variables)
    np.testing.assert_allclose(swapped[::-1], logits, atol=1e-5 * np.abs(logits).max())


def test_bfloat16_logits_are_float32_and_close(evaluated):
    model, variables, logits = evaluated
    if isinstance(model, DeepLabV3):
        half = model.clone(backbone=model.backbone.clone(dtype=jnp.bfloat16))
    else:
        half = model.clone(dtype=jnp.bfloat16)
    found = _logits(half, variables)
    assert found.dtype == jnp.float32
    assert (found != logits).any()
    np.testing.assert_allclose(found, logits, atol=0.05 * np.abs(logits).max())
    assert jax.tree.map(jnp.shape, _init(half)[1]) == jax.tree.map(jnp.shape, variables)


def test_a_gradient_reaches_every_parameter(evaluated):
    model, variables, _ = evaluated

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
    found = gradient(variables["params"], rest, IMAGE[None])
    dead = [path for path, leaf in jax.tree.leaves_with_path(found) if not np.abs(leaf).max()]
    assert not dead
