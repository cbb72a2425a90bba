"""PSPNet, DUC and RefineNet beside plain PyTorch, stage by stage, for the same weights."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.resnet import BottleneckV1, ResNet
from segjax.layers.head import FCNHead
from segjax.models.duc import DUC
from segjax.models.pspnet import PSPNet
from segjax.models.refinenet import RefineNet
from segjax.ops.resize import resize_bilinear

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_resnet_kin.py"))
BY_NAME = runpy.run_path(str(FOLDER.parent / "fill.py"))["by_name"]
HDC = ((3, (2, 2, 5, 9)), (4, (5, 9, 17)))
DEEP = ResNet(width=MAKER["WIDTH"], deep_stem=True, output_stride=8)
MODELS = {
    "pspnet": PSPNet(
        DEEP.clone(stages=(1, 2, 2, 2), uniform_dilation=True), num_classes=5, auxiliary=True
    ),
    "duc": DUC(
        DEEP.clone(stages=(1, 1, 4, 3), block=BottleneckV1, rates=HDC), num_classes=3, cell=2
    ),
    "refinenet": RefineNet(
        ResNet(stages=(1, 1, 1, 1), width=MAKER["WIDTH"]), num_classes=5, features=8
    ),
}
STAGES = ["c2", "c3", "c4", "c5"]
TAPS = {
    "pspnet": [*STAGES, "ppm", "aux", "out"],
    "duc": [*STAGES, "out"],
    "refinenet": [*STAGES, *(f"refine_{stage}" for stage in STAGES), "out"],
}


def _outputs(name):
    """Returns everything that the golden file has samples of."""
    model, x = MODELS[name], jnp.asarray(MAKER["image"](name))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    variables = BY_NAME(shapes)
    taps = {"backbone", "ppm", *(f"refine_{stage}" for stage in STAGES)}

    def apply(v):
        logits, captured = model.apply(
            v,
            x,
            train=False,
            capture_intermediates=lambda module, _: module.name in taps,
            mutable=["intermediates"],
        )
        found = {k: c["__call__"][0] for k, c in captured["intermediates"].items()}
        found = {**found, **found.pop("backbone"), "out": logits}
        if "auxiliary_head" in v["params"]:
            head = {k: c["auxiliary_head"] for k, c in v.items()}
            aux = FCNHead(5).apply(head, found["c4"], train=False)
            found["aux"] = resize_bilinear(aux, MAKER["SIZES"][name], align_corners=True)
        return found

    return jax.jit(apply)(variables)


@pytest.fixture(scope="module")
def outputs():
    """Outputs of a network, each computed once."""
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = _outputs(name)
        return kept[name]

    return of


@pytest.mark.parametrize("name, tap", [(n, tap) for n, taps in TAPS.items() for tap in taps])
def test_each_stage_returns_what_pytorch_returns(outputs, name, tap):
    with np.load(FOLDER / f"golden_{name}.npz") as golden:
        assert {*golden} == {*TAPS[name]}
        expected = golden[tap]
    found = MAKER["sample"](tap, outputs(name)[tap])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
