"""What every model promises, one small variant of each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.backbones.vgg import CEIL, DEEPLAB, VGG
from segjax.layers.up import bilinear
from segjax.models.deeplab import DeepLabV1, DeepLabV2
from segjax.models.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from segjax.models.deeplab_v3_cascade import DeepLabV3Cascade
from segjax.models.dilation import BASIC, Dilation
from segjax.models.duc import DUC
from segjax.models.fc_densenet import FCDenseNet
from segjax.models.fcn import FCN, FCN8s
from segjax.models.lraspp import LRASPP
from segjax.models.pspnet import PSPNet
from segjax.models.refinenet import RefineNet
from segjax.models.segnet import SegNet, SegNetBasic
from segjax.models.u2net import U2Net
from segjax.models.unet import EncoderUNet, UNet
from segjax.ops.forms import plain
from segjax.types import AXIS

RESNET = ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8, output_stride=16)
VGG4 = VGG(stages=(1, 1, 1, 1, 1), width=4, output_stride=8, pool=DEEPLAB)
MODELS = {
    "deeplab": DeepLabV3(RESNET, num_classes=3, rates=(1, 2), features=16, auxiliary=True),
    "deeplab_plus": DeepLabV3Plus(RESNET, 3, rates=(1,), features=8, separable=False),
    "deeplab_cascade": DeepLabV3Cascade(RESNET, num_classes=3, copies=2),
    "lraspp": LRASPP(RESNET, num_classes=3, features=16),
    "pspnet": PSPNet(RESNET.clone(uniform_dilation=True), num_classes=3, auxiliary=True),
    "duc": DUC(RESNET.clone(rates=((4, (2,)),)), num_classes=3, cell=4, rates=(1, 2)),
    "refinenet": RefineNet(RESNET.clone(output_stride=32), num_classes=3, features=8, pools=1),
    "fc_densenet": FCDenseNet(num_classes=3, layers=(1, 2, 1), growth=4, features=6),
    "segnet": SegNet(num_classes=3, stages=((4, 4), (8,))),
    "fcn8s": FCN8s(VGG4.clone(output_stride=32, pool=CEIL), num_classes=3, features=16),
    "deeplab_v1_msc": DeepLabV1(VGG4, num_classes=3, rate=2, features=16, multi_scale=True),
    "deeplab_v2": DeepLabV2(VGG4, 3, rates=(1, 2), hidden=8, scales=(0.5, 1.0)),
    "fcn_resnet": FCN(RESNET, num_classes=3, auxiliary=True),
    "segnet_basic": SegNetBasic(num_classes=3, depth=2, features=4),
    "u2net": U2Net(num_classes=3, encoder=((3, 2, 4), (3, 2, 4)), decoder=((3, 2, 4),)),
    "encoder_unet": EncoderUNet(RESNET, num_classes=3, features=(8, 8, 4, 4, 4)),
    "dilation": Dilation(num_classes=3, context=BASIC, width=4, features=16),
    "unet": UNet(num_classes=3, depth=2, features=4, dropout=0.5),
    "unet_bilinear_batch_norm": UNet(
        num_classes=3, depth=2, features=4, up=bilinear, batch_norm=True
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
    return model, variables, _evaluate(model)(variables, IMAGE)


@functools.cache
def _evaluate(model):
    """Returns (variables, images) → logits, compiled once; no key, so no dropout."""
    return jax.jit(lambda v, x: model.apply(v, x, train=False))


@pytest.mark.parametrize("size", [(33, 47), (17, 17), (64, 32), (2, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_logits_have_the_size_of_the_image_and_are_float32(model, size):
    logits, _ = _init(model, size)
    stride = getattr(model, "label_stride", 1)
    height, width = (-(-side // stride) for side in size)
    assert (logits.shape, logits.dtype) == ((1, height, width, 3), jnp.float32)


def test_logits_are_finite_and_differ_from_pixel_to_pixel(evaluated):
    logits = evaluated[2]
    assert np.isfinite(logits).all()
    assert (np.std(logits, axis=(1, 2)) > 1e-3).all()


def test_evaluation_repeats_itself_to_the_bit(evaluated):
    model, variables, logits = evaluated
    np.testing.assert_array_equal(_evaluate(model)(variables, IMAGE), logits)


def test_an_images_logits_do_not_depend_on_its_neighbours_in_the_batch(evaluated):
    model, variables, logits = evaluated
    swapped = _evaluate(model)(variables, IMAGE[::-1])
    np.testing.assert_allclose(swapped[::-1], logits, atol=1e-5 * np.abs(logits).max())


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


@pytest.mark.parametrize("name", ["fc_densenet", "segnet", "unet"])
def test_recomputing_changes_neither_gradients_nor_dropout(name):
    model, variables = MODELS[name], _variables(MODELS[name])
    with plain():  # Compiles faster.
        kept, anew = (_gradient(m, variables) for m in (model, model.clone(remat=True)))
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(kept))
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(anew), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6 * largest)
