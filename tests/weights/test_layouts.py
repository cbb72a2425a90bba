"""Every tensor of a published checkpoint has its place in the network, and the right values."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import weights
from segjax.backbones.densenet import DenseNet, DenseNet121
from segjax.backbones.mobilenet_v3 import MobileNetV3Large, MobileNetV3Small
from segjax.backbones.resnet import ResNet18, ResNet50
from segjax.backbones.vgg import CEIL, VGG, VGG16
from segjax.backbones.xception import Xception65, Xception71
from segjax.errors import InputError
from segjax.models.deeplab import DeepLabV1
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.fcn import FCN, FCN32s
from segjax.models.lraspp import LRASPP
from segjax.pretrained.layouts import translate

FOLDER = pathlib.Path(__file__).parent
STATE = runpy.run_path(str(FOLDER / "state_dicts.py"))
FILL = runpy.run_path(str(FOLDER.parent / "fill.py"))
GOLDEN = runpy.run_path(str(FOLDER.parent / "models" / "make_golden_torchvision.py"))
RATES = (12, 24, 36)
DENSE, LIGHT = ResNet50(output_stride=8), MobileNetV3Large(output_stride=16)

# The entries of the state dict, num_batches_tracked included, as torchvision has them.
TORCHVISION = {
    "resnet50": (ResNet50(), 320),
    "vgg16": (VGG16(), 32),
    "vgg16_bn": (VGG16(batch_norm=True), 97),
    "densenet121": (DenseNet121(), 727),
    "mobilenet_v3_large": (MobileNetV3Large(), 312),
    "mobilenet_v3_small": (MobileNetV3Small(), 244),
    "deeplabv3_resnet50": (DeepLabV3(DENSE, 21, RATES, auxiliary=True), 370),
    "fcn_resnet50": (FCN(DENSE, 21, auxiliary=True), 334),
    "deeplabv3_mobilenet_v3_large": (
        DeepLabV3(LIGHT, 21, RATES, auxiliary=True, auxiliary_feature="c3"),
        360,
    ),
    "lraspp_mobilenet_v3_large": (LRASPP(LIGHT, 21), 319),
}


@functools.cache
def wanted_by(model):
    return weights.flat_shapes(weights.variable_shapes(model))


def placed(shapes, model=None):
    """The checkpoint of tensors of such shapes, and the shapes that the model wants."""
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    wanted = wanted_by(model) if model else {}
    return translate(arrays, wanted), wanted


def shapes_of(checkpoint):
    return {path: array.shape for path, array in checkpoint.arrays.items()}


@pytest.mark.parametrize("network", TORCHVISION)
def test_every_tensor_of_torchvisions_networks_has_its_place_and_shape(network):
    model, entries = TORCHVISION[network]
    shapes = STATE["names"](network)
    assert len(shapes) == entries
    checkpoint, wanted = placed(shapes, model)
    assert shapes_of(checkpoint) == wanted
    counters = [name for name in shapes if name.endswith("num_batches_tracked")]
    used = [*checkpoint.names.values(), *checkpoint.left_out, *counters]
    assert sorted(used) == sorted(shapes) and not checkpoint.unknown
    assert {n.split(".")[0] for n in checkpoint.left_out} <= {"fc", "classifier"}


def test_a_published_checkpoint_computes_what_torchvision_computes(tmp_path):
    shapes = {n: s for n, s in STATE["names"]("resnet18").items() if s}
    state = {name: FILL["fill"](name, shape) for name, shape in shapes.items()}
    path = STATE["write"](tmp_path / "resnet18.npz", state)
    variables = weights.load(path, ResNet18(), note=lambda _: None)
    x = jnp.asarray(GOLDEN["image"]("resnet18"))
    features = jax.jit(lambda v: ResNet18().apply(v, x, train=False))(variables)
    with np.load(FOLDER.parent / "models" / "golden_resnet18.npz") as golden:
        for name in ("c2", "c3", "c4", "c5"):
            expected = golden[name]
            found = GOLDEN["sample"](name, features[name])
            np.testing.assert_allclose(
                found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0
            )


def test_the_names_of_densenets_first_files_have_a_dot_more():
    model = DenseNet(layers=(1, 1, 1, 1), growth=8, width=16)
    kept = {n: s for n, s in STATE["names"]("densenet121").items() if "num_batches" not in n}
    new = {n: s for n, s in kept.items() if "layer" not in n or "layer1." in n}
    old = {n: s for n, s in new.items()}
    for word in ("norm", "conv"):
        for i in "12":
            old = {n.replace(f".{word}{i}.", f".{word}.{i}."): s for n, s in old.items()}
    assert len(old.keys() - new.keys()) == 4 * (2 * 4 + 2)
    found, wanted = placed(old, model)
    assert found.arrays.keys() == wanted.keys()
    # The place does not depend on the spelling, and of two spellings one is unexpected.
    again, _ = placed(new, model)
    assert [*shapes_of(found).items()] == [*shapes_of(again).items()]
    assert set(placed(new | old, model)[0].unknown) == old.keys() - new.keys()


TIMM_NAMES = runpy.run_path(str(FOLDER / "timm_names.py"))
WIDE = (128, 256, 256, 728, 728)
LARGE, SMALL = (TIMM_NAMES["mobilenet_v3"](size) for size in ("large", "small"))
XCEPTION = functools.partial(TIMM_NAMES["xception"], (128, 256, 728))

# Shapes; parameters as published, with a classifier of 1000 classes, less 1,618,344 for each
# middle unit of Xception that is left out for speed.
TIMM = {
    "MobileNetV3 large": (LARGE, MobileNetV3Large(), 5_483_032),
    "MobileNetV3 small": (SMALL, MobileNetV3Small(), 2_542_856),
    "Xception-65": (XCEPTION(2), Xception65(middle_units=2), 39_916_312 - 14 * 1_618_344),
    "Xception-71": (
        TIMM_NAMES["xception"](WIDE, 1),
        Xception71(middle_units=1),
        42_338_736 - 15 * 1_618_344,
    ),
}


@pytest.mark.parametrize("network", TIMM)
def test_every_tensor_of_timms_networks_has_its_place_and_shape(network):
    shapes, model, parameters = TIMM[network]
    learned = {n: s for n, s in shapes.items() if n.endswith(("weight", "bias"))}
    assert sum(int(np.prod(shape)) for shape in learned.values()) == parameters
    checkpoint, wanted = placed(shapes, model)
    assert shapes_of(checkpoint) == wanted
    assert not checkpoint.unknown
    assert ("epsilon" in "".join(checkpoint.remarks)) == ("MobileNet" in network)
    left_out = {name.rpartition(".")[0] for name in checkpoint.left_out}
    assert left_out in ({"conv_head", "classifier"}, {"head.fc"})


def test_blocks_are_placed_by_name_not_by_shape():
    names = {v: k for k, v in placed(LARGE)[0].names.items()}
    # The ninth and tenth block are of equal shape: blocks.3.2 and blocks.3.3.
    assert names["blocks.3.2.conv_dw.weight"] == "params/features_9/depthwise/conv/kernel"
    assert names["blocks.3.3.bn3.running_var"] == "batch_stats/features_10/project/norm/var"
    names = {v: k for k, v in placed(XCEPTION(16))[0].names.items()}
    path = "middle_flow_block1_unit_16/separable_conv3/depthwise/norm"
    assert names["blocks.18.stack.conv3.bn_dw.bias"] == f"params/{path}/bias"
    path = "exit_flow_block1_unit_1/shortcut/norm"
    assert names["blocks.19.shortcut.bn.bias"] == f"params/{path}/bias"


def vgg_state(*, timm):
    """A VGG16 of width 1 with fully connected layers of 16 outputs."""
    shapes = STATE["names"]("vgg16")
    narrow = {n: tuple(k if k == 3 else k // 64 or k for k in s) for n, s in shapes.items()}
    narrow |= {"classifier.0.weight": (16, 8 * 49), "classifier.0.bias": (16,)}
    narrow |= {"classifier.3.weight": (16, 16), "classifier.3.bias": (16,)}
    state = {n: STATE["fill"](n, s) for n, s in narrow.items()}
    if not timm:
        return state
    fc6, fc7 = state["classifier.0.weight"], state["classifier.3.weight"]
    state |= {"classifier.0.weight": fc6.reshape(16, 8, 7, 7)}
    state |= {"classifier.3.weight": fc7.reshape(16, 16, 1, 1)}
    theirs = (("classifier.0", "pre_logits.fc1"), ("classifier.3", "pre_logits.fc2"))
    for ours, name in (*theirs, ("classifier.6", "head.fc")):
        state = {n.replace(ours, name): a for n, a in state.items()}
    return state


@pytest.mark.parametrize("timm", [False, True])
def test_vggs_fully_connected_layers_become_fcns_convolutions(timm, tmp_path):
    state = vgg_state(timm=timm)
    path = STATE["write"](tmp_path / "vgg16.npz", state)
    model = FCN32s(VGG(width=1, pool=CEIL), 4, features=16)
    said = []
    params = weights.load(path, model, note=said.append)["params"]
    image = np.random.default_rng(0).normal(size=(8, 7, 7)).astype(np.float32)
    fc6 = np.einsum("chw,hwco->o", image, params["fc6"]["kernel"]) + params["fc6"]["bias"]
    plain = vgg_state(timm=False)
    linear = plain["classifier.0.weight"] @ image.reshape(-1) + plain["classifier.0.bias"]
    np.testing.assert_allclose(fc6, linear, rtol=1e-4)
    np.testing.assert_array_equal(params["fc7"]["kernel"][0, 0], plain["classifier.3.weight"].T)
    assert "(VGG); initialised from seed 0: score_fr" in said[-1]


def test_deeplab_v1_takes_every_fourth_filter_and_third_tap(tmp_path):
    state = vgg_state(timm=False)
    path = STATE["write"](tmp_path / "vgg16.npz", state)
    model = DeepLabV1(VGG(width=1, output_stride=8), 4, features=4)
    params = weights.load(path, model, note=lambda _: None)["params"]
    fc6 = state["classifier.0.weight"].reshape(16, 8, 7, 7)[::4, :, ::3, ::3]
    np.testing.assert_array_equal(params["fc6"]["kernel"], fc6.transpose(2, 3, 1, 0))
    fc7 = state["classifier.3.weight"][::4, ::4]
    np.testing.assert_array_equal(params["fc7"]["kernel"][0, 0], fc7.T)
    with pytest.raises(InputError, match="classifier.0 does not fit fc6: Cannot keep 3×3 taps"):
        weights.load(path, model.clone(features=5))
