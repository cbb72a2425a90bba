"""Activations of torchvision's networks at full depth, stage by stage, for the same weights."""

import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.core import FrozenDict

from segjax.backbones.resnet import ResNet18, ResNet50, ResNet101
from segjax.layers.head import FCNHead
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.fcn import FCN
from segjax.ops.dispatch import plain

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
FILL = runpy.run_path(str(FOLDER.parent / "fill.py"))
MODULES = [
    (r"^(head\.)?classifier$", "classifier.4"),
    (r"^head\.(conv|norm)$", lambda m: f"classifier.{1 + _01(m[1])}"),
    (r"^head\.conv\.(conv|norm)$", lambda m: f"classifier.{_01(m[1])}"),
    (r"^auxiliary_head\.classifier$", "aux_classifier.4"),
    (r"^auxiliary_head\.conv\.(conv|norm)$", lambda m: f"aux_classifier.{_01(m[1])}"),
    (r"^aspp\.convs_4\.(conv|norm)$", lambda m: f"classifier.0.convs.4.{1 + _01(m[1])}"),
    (r"^aspp\.convs_(\d)\.(conv|norm)$", lambda m: f"classifier.0.convs.{m[1]}.{_01(m[2])}"),
    (r"^aspp\.project\.(conv|norm)$", lambda m: f"classifier.0.project.{_01(m[1])}"),
    (r"layer(\d)_(\d+)", r"layer\1.\2"),
    (r"downsample_(conv|bn)", lambda m: f"downsample.{dict(conv=0, bn=1)[m[1]]}"),
]
LEVELS = ("c1", "c2", "c3", "c4", "c5")


def _01(name):
    return ("conv", "norm").index(name)


def _torchvisions(path):
    """Returns the name in torchvision of a Flax path."""
    module = ".".join(path[:-1])
    for pattern, name in MODULES:
        module = re.sub(pattern, name, module)
    return FILL["dotted"]((module, path[-1]))


def _filled(model, x, *within):
    """Returns the variables of a model, each made from its torchvision name."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    return FILL["by_name"](shapes, lambda path: _torchvisions((*within, *path)))


class _Given(nn.Module):
    """The backbone's features, not computed once more."""

    features: FrozenDict
    dtype: type = jnp.float32

    def __call__(self, image, *, train):
        return self.features


def _features(resnet, name, *within):
    """Returns c1 … c5 of the image of that name."""
    x = jnp.asarray(MAKER["image"](name))
    with plain():  # Compiles faster.
        variables = _filled(resnet, x, *within)
        return jax.jit(lambda v: resnet.apply(v, x, train=False))(variables)


def _outputs(model, name):
    """Returns the logits of a model that has features, "aspp", and "aux" as in evaluation."""
    x = jnp.asarray(MAKER["image"](name))
    variables = _filled(model, x)
    apply = lambda v: model.apply(
        v,
        x,
        train=False,
        capture_intermediates=lambda module, _: module.name == "aspp",
        mutable=["intermediates"],
    )
    logits, captured = jax.jit(apply)(variables)
    inner = {k: v["__call__"][0] for k, v in captured.get("intermediates", {}).items()}
    head = {k: v["auxiliary_head"] for k, v in variables.items()}
    auxiliary = FCNHead(21).apply(head, model.backbone.features["c4"], train=False)
    auxiliary = jax.image.resize(auxiliary, logits.shape, "bilinear")
    return inner | {"out": logits, "aux": auxiliary}


def _assert_golden(golden, name, array):
    found, expected = MAKER["sample"](name, array), golden[name]
    assert found.shape == expected.shape and np.std(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def _golden(name):
    with np.load(FOLDER / f"golden_{name}.npz") as file:
        return dict(file)


@pytest.fixture(
    scope="module",
    params=[ResNet50, pytest.param(ResNet101, marks=pytest.mark.slow)],
    ids=["resnet50", "resnet101"],
)
def answers(request):
    """torchvision's answers with a ResNet, and ours."""
    name = {ResNet50: "resnet50", ResNet101: "resnet101"}[request.param]
    features = _features(request.param(output_stride=8), name, "backbone")
    given = {"backbone": _Given(FrozenDict(features)), "num_classes": 21, "auxiliary": True}
    deeplab = _outputs(DeepLabV3(rates=(12, 24, 36), **given), name)
    fcn = _outputs(FCN(**given), name)
    return _golden(name), {**features, **deeplab, "fcn": fcn["out"]}


@pytest.mark.parametrize("name", [*LEVELS, "aspp", "out", "aux", "fcn"])
def test_deeplab_v3_and_fcn_at_output_stride_8_return_what_torchvisions_return(answers, name):
    golden, found = answers
    assert {*golden} == {*found}
    _assert_golden(golden, name, found[name])


def test_resnet18_at_output_stride_32_returns_what_torchvisions_returns():
    golden, features = _golden("resnet18"), _features(ResNet18(), "resnet18")
    assert {*golden} == {*features}
    for name, array in features.items():
        _assert_golden(golden, name, array)
