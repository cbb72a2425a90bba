"""Activations of torchvision's networks, stage by stage, for the same weights."""

import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from segjax.backbones.resnet import ResNet18, ResNet50
from segjax.layers.head import FCNHead
from segjax.models.deeplab_v3 import DeepLabV3

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
MODULES = [
    (r"^classifier$", "classifier.4"),
    (r"^head\.(conv|norm)$", lambda m: f"classifier.{dict(conv=1, norm=2)[m[1]]}"),
    (r"^auxiliary_head\.classifier$", "aux_classifier.4"),
    (r"^auxiliary_head\.conv\.(conv|norm)$", lambda m: f"aux_classifier.{_01(m[1])}"),
    (r"^aspp\.convs_4\.(conv|norm)$", lambda m: f"classifier.0.convs.4.{1 + _01(m[1])}"),
    (r"^aspp\.convs_(\d)\.(conv|norm)$", lambda m: f"classifier.0.convs.{m[1]}.{_01(m[2])}"),
    (r"^aspp\.project\.(conv|norm)$", lambda m: f"classifier.0.project.{_01(m[1])}"),
    (r"layer(\d)_(\d+)", r"layer\1.\2"),
    (r"downsample_(conv|bn)", lambda m: f"downsample.{dict(conv=0, bn=1)[m[1]]}"),
]


def _01(name):
    return ("conv", "norm").index(name)


def _torchvisions(path):
    """Returns the name in torchvision of a Flax path."""
    module = ".".join(path[:-1])
    for pattern, name in MODULES:
        module = re.sub(pattern, name, module)
    return f"{module}.{LEAVES.get(path[-1], path[-1])}"


def _filled(model, x):
    """Returns the model's variables, each made from its torchvision name."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    flat = traverse_util.flatten_dict(shapes)
    return traverse_util.unflatten_dict({k: _tensor(k[1:], v.shape) for k, v in flat.items()})


def _tensor(path, shape):
    if len(shape) == 1:
        return jnp.asarray(MAKER["fill"](_torchvisions(path), shape))
    height, width, inner, outputs = shape
    tensor = MAKER["fill"](_torchvisions(path), (outputs, inner, height, width))
    return jnp.asarray(tensor.transpose(2, 3, 1, 0))


def _assert_golden(golden, name, array):
    found, expected = MAKER["sample"](name, array), golden[name]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@pytest.fixture(scope="module")
def deeplab():
    """torchvision's answers; ours: logits, features and variables."""
    x = jnp.asarray(MAKER["image"]("deeplab_v3_resnet50"))
    backbone = ResNet50(output_stride=8)
    model = DeepLabV3(backbone, num_classes=21, rates=(12, 24, 36), auxiliary=True)
    variables = _filled(model, x)
    modules = {"backbone", "aspp"}
    apply = lambda v: model.apply(
        v,
        x,
        train=False,
        capture_intermediates=lambda module, _: module.name in modules,
        mutable=["intermediates"],
    )
    logits, captured = jax.jit(apply)(variables)
    outputs = {k: captured["intermediates"][k]["__call__"][0] for k in modules}
    with np.load(FOLDER / "golden_deeplab_v3_resnet50.npz") as golden:
        return (
            dict(golden),
            {"out": logits, "aspp": outputs["aspp"], **outputs["backbone"]},
            variables,
        )


@pytest.mark.parametrize("name", ["c1", "c2", "c3", "c4", "c5", "aspp", "out"])
def test_deeplab_v3_at_output_stride_8_returns_what_torchvision_returns(deeplab, name):
    golden, found, _ = deeplab
    _assert_golden(golden, name, found[name])


def test_the_auxiliary_head_returns_what_torchvision_returns(deeplab):
    golden, found, variables = deeplab
    head = {k: v["auxiliary_head"] for k, v in variables.items()}
    logits = FCNHead(21).apply(head, found["c4"], train=False)
    resized = jax.image.resize(logits, found["out"].shape, "bilinear")
    _assert_golden(golden, "aux", resized)


def test_resnet18_at_output_stride_32_returns_what_torchvision_returns():
    x = jnp.asarray(MAKER["image"]("resnet18"))
    variables = _filled(ResNet18(), x)
    features = jax.jit(lambda v: ResNet18().apply(v, x, train=False))(variables)
    with np.load(FOLDER / "golden_resnet18.npz") as golden:
        for name in ("c2", "c3", "c4", "c5"):
            _assert_golden(golden, name, features[name])
