"""VGG16 and the networks on it return what PyTorch returns for the same weights."""

import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.vgg import CEIL, DEEPLAB, VGG, VGG16
from segjax.models.deeplab import DeepLabV1, DeepLabV2
from segjax.models.dilation import BASIC, Dilation
from segjax.models.fcn import FCN8s, FCN8sAtOnce, FCN16s, FCN32s

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_vgg.py"))
IMAGE = jnp.asarray(MAKER["image"]())
WIDTH, HIDDEN, CLASSES = MAKER["WIDTH"], MAKER["HIDDEN"], MAKER["CLASSES"]
ONE_EACH = (1, 1, 1, 1, 1)
FILL = runpy.run_path(str(FOLDER.parent / "fill.py"))
# Where torchvision keeps the convolutions among `features`.
FEATURES = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
VGG_OF_TORCHVISION = [(r"conv(\d)_(\d)", lambda m: str(FEATURES[int(m[1])][int(m[2]) - 1]))]
OF_CAFFE = [(r"^backbone\.", "")]


def _filled(model, names):
    """Returns the model's variables, each made from the name that the other side gives it."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))

    def name_of(path):
        module = ".".join(path[:-1])
        for pattern, name in names:
            module = re.sub(pattern, name, module)
        return FILL["dotted"]((module, path[-1]))

    return FILL["by_name"](shapes, name_of)


def _assert_golden(found):
    """Compares {"network/name": array} with what the file has of them."""
    with np.load(FOLDER / "golden_vgg.npz") as golden:
        for key, array in found.items():
            expected = golden[key]
            if array.shape != expected.shape:
                array = MAKER["sample"](key.split("/")[1], array)
            assert array.shape == expected.shape
            error = np.abs(array - expected).max() / np.abs(expected).max()
            assert error < 1e-4, (key, error)
            assert np.std(expected) > 1e-3


def _returned(model, names, *modules):
    """Returns the model's answer and those of its modules of the given names."""
    apply = lambda v: model.apply(
        v,
        IMAGE,
        train=False,
        capture_intermediates=lambda module, _: module.name in modules,
        mutable=["intermediates"],
    )
    answer, captured = jax.jit(apply)(_filled(model, names))
    inner = captured.get("intermediates", {})
    return answer, {name: inner[name]["__call__"][0] for name in modules}


def test_vgg16_returns_what_torchvision_returns():
    features, _ = _returned(VGG16(), VGG_OF_TORCHVISION)
    _assert_golden({f"vgg16/{k}": v for k, v in features.items()})


@pytest.mark.slow_but("8s")
@pytest.mark.parametrize(
    "name, network",
    [("32s", FCN32s), ("16s", FCN16s), ("8s", FCN8s), ("atonce", FCN8sAtOnce)],
    ids=["32s", "16s", "8s", "atonce"],
)
def test_fcn_on_vgg16_returns_what_its_prototxt_does(name, network):
    backbone = VGG(stages=ONE_EACH, width=WIDTH, pool=CEIL)
    model = network(backbone, num_classes=CLASSES, features=HIDDEN)
    logits, inner = _returned(model, OF_CAFFE, "score_fr")
    _assert_golden({"fcn/score_fr": inner["score_fr"], f"fcn/{name}": logits})


DENSE = VGG(stages=ONE_EACH, width=WIDTH, output_stride=8, pool=DEEPLAB)
V1 = DeepLabV1(DENSE, num_classes=CLASSES, features=HIDDEN)


@pytest.mark.slow_but("msc-options3")
@pytest.mark.parametrize(
    "name, options",
    [
        ("scores", {}),
        ("4x4", {"kernel_size": 4, "rate": 4}),
        ("average_pool", {"average_pool": True}),
        ("msc", {"multi_scale": True}),
    ],
)
def test_deeplab_v1_returns_what_its_prototxt_does(name, options):
    scores, inner = _returned(V1.clone(**options), OF_CAFFE, "backbone")
    maps = {f"v1/{k}": inner["backbone"][k] for k in ("c3", "c4", "c5")}
    _assert_golden({**maps, f"v1/{name}": scores})


def test_deeplab_v2_on_vgg16_returns_what_its_prototxt_does():
    model = DeepLabV2(DENSE, num_classes=CLASSES, hidden=HIDDEN)
    _assert_golden({"v2/aspp": _returned(model, OF_CAFFE)[0]})


def test_deeplab_v2_at_several_scales_returns_the_largest_scores():
    model = DeepLabV2(DENSE, num_classes=CLASSES, scales=(0.5, 0.75, 1.0))
    _assert_golden({"v2/fused": _returned(model, OF_CAFFE)[0]})


def test_the_dilated_network_returns_what_its_published_code_does():
    model = Dilation(num_classes=CLASSES, context=BASIC, width=WIDTH, features=HIDDEN)
    scores, inner = _returned(model, OF_CAFFE, "final")
    _assert_golden({"dilation/front": inner["final"], "dilation/context": scores})
