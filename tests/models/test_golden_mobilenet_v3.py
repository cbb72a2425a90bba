"""Activations of torchvision's MobileNetV3 networks, stage by stage, for the same weights."""

import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from flax.core import FrozenDict

from segjax.backbones.mobilenet_v3 import MobileNetV3Large, MobileNetV3Small
from segjax.layers.head import FCNHead
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.lraspp import LRASPP
from segjax.ops.dispatch import plain

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_mobilenet_v3.py"))
FILL = runpy.run_path(str(FOLDER.parent / "fill.py"))
IMAGE = jnp.asarray(MAKER["image"]())
PARTS = ("expand", "depthwise", "squeeze_excite", "project")
ASPP = r"^aspp\.(convs_\d|project)\.(conv|norm)$"
HEAD = r"^(auxiliary_head\.conv|cbr|head)\.(conv|norm)$"
HEADS = {"auxiliary_head.conv": "aux_classifier.{}", "cbr": "classifier.cbr.{}"}
CLASSIFIERS = {
    "classifier": "classifier.4",
    "auxiliary_head.classifier": "aux_classifier.4",
    "scale": "classifier.scale.1",
    "low_classifier": "classifier.low_classifier",
    "high_classifier": "classifier.high_classifier",
}


def _torchvisions(path, parts):
    """Returns the name in torchvision of a Flax path; `parts` are those that its block has."""
    *modules, leaf = path
    module, leaf = ".".join(modules), FILL["LEAVES"].get(leaf, leaf)
    place = ("conv", "norm").index(modules[-1]) if modules[-1] in ("conv", "norm") else None
    if module in CLASSIFIERS:
        return f"{CLASSIFIERS[module]}.{leaf}"
    if match := re.match(HEAD, module):
        index = 1 + place if match[1] == "head" else place
        return f"{HEADS.get(match[1], 'classifier.{}').format(index)}.{leaf}"
    if match := re.match(ASPP, module):
        pooling = match[1] == "convs_4"
        return f"classifier.0.{match[1].replace('_', '.')}.{place + pooling}.{leaf}"
    layer = re.search(r"features_(\d+)", module)
    prefix = f"backbone.{layer[1]}" if module.startswith("backbone") else layer[1]
    if not (part := next((p for p in PARTS if p in modules), None)):
        return f"{prefix}.{place}.{leaf}"
    index = [p for p in PARTS if p in parts].index(part)
    return f"{prefix}.block.{index}.{modules[-1] if place is None else place}.{leaf}"


def _filled(model):
    """Returns the model's variables, each made from its torchvision name."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))
    paths = [path[1:] for path in traverse_util.flatten_dict(shapes)]

    def name_of(path):
        depth = next((i for i, key in enumerate(path) if key.startswith("features_")), 0) + 1
        parts = {other[depth] for other in paths if other[:depth] == path[:depth]}
        return _torchvisions(path, parts)

    return FILL["by_name"](shapes, name_of)


def _apply(model, variables, names=()):
    """Returns the result and those of the named submodules."""
    apply = lambda v: model.apply(
        v,
        IMAGE,
        train=False,
        capture_intermediates=lambda module, _: module.name in names,
        mutable=["intermediates"],
    )
    with plain():  # Compiles faster.
        result, captured = jax.jit(apply)(variables)
    inner = captured.get("intermediates", {})
    return result, {k: inner[k]["__call__"][0] for k in names}


class _Given(nn.Module):
    """The backbone's features, not computed once more."""

    features: FrozenDict
    dtype: type = jnp.float32

    def __call__(self, image, *, train):
        return self.features


@pytest.fixture(scope="module")
def found():
    """Our answers by the golden file's names."""
    backbone = MobileNetV3Large(output_stride=16)
    lraspp, small = LRASPP(backbone, num_classes=21), MobileNetV3Small()
    deeplab = DeepLabV3(
        backbone,
        num_classes=21,
        rates=(12, 24, 36),
        auxiliary=True,
        auxiliary_feature="c3",
    )
    out, inner = _apply(lraspp, _filled(lraspp), ["backbone"])
    arrays = {"lraspp/out": out, **_prefixed("lraspp", inner["backbone"])}
    deeplab = deeplab.clone(backbone=_Given(FrozenDict(inner["backbone"])))
    variables = _filled(deeplab)
    out, inner = _apply(deeplab, variables, ["aspp"])
    head = {k: v["auxiliary_head"] for k, v in variables.items()}
    auxiliary = FCNHead(21).apply(head, arrays["lraspp/c3"], train=False)
    arrays |= {"deeplab/out": out, "deeplab/aspp": inner["aspp"]}
    arrays["deeplab/aux"] = jax.image.resize(auxiliary, out.shape, "bilinear")
    return arrays | _prefixed("small", _apply(small, _filled(small))[0])


def _prefixed(prefix, arrays):
    return {f"{prefix}/{k}": v for k, v in arrays.items()}


@pytest.mark.parametrize(
    "name",
    [
        *(f"{net}/c{i}" for net in ("lraspp", "small") for i in range(1, 6)),
        *("lraspp/out", "deeplab/aspp", "deeplab/out", "deeplab/aux"),
    ],
)
def test_it_returns_what_torchvision_returns(found, name):
    with np.load(FOLDER / "golden_mobilenet_v3.npz") as file:
        golden = file[name]
    array = MAKER["sample"](name.split("/")[1], found[name])
    assert array.shape == golden.shape
    np.testing.assert_allclose(array, golden, atol=1e-4 * np.abs(golden).max(), rtol=0)
