"""Activations of a PyTorch transcription of DeepLab v3+, stage by stage, for equal weights."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.backbones.xception import Xception65
from segjax.models.deeplab_v3 import DeepLabV3Plus
from segjax.ops.dispatch import plain

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_deeplab_v3_plus.py"))
IMAGE = jnp.asarray(MAKER["image"]())
BY_NAME = runpy.run_path(str(FOLDER.parent / "fill.py"))["by_name"]
INNER = ("backbone", "aspp", "decoder_conv1")


def _filled(model):
    """Returns the model's variables, each made from its name in PyTorch."""
    return BY_NAME(jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False)))


@pytest.fixture(
    scope="module",
    params=["separable_16", pytest.param("ordinary_8", marks=pytest.mark.slow)],
)
def both(request):
    """The golden arrays and ours."""
    options = dict(MAKER["FILES"][request.param])
    backbone = Xception65(middle_units=1, output_stride=options.pop("output_stride"))
    model = DeepLabV3Plus(backbone, num_classes=21, **options)
    apply = lambda v: model.apply(
        v,
        IMAGE,
        train=False,
        capture_intermediates=lambda module, _: module.name in INNER,
        mutable=["intermediates"],
    )
    with plain():  # Compiles faster.
        logits, captured = jax.jit(apply)(_filled(model))
    # A ConvNormReLU hands over what it is as a ConvNorm first.
    inner = {k: captured["intermediates"][k]["__call__"][0] for k in INNER}
    with np.load(FOLDER / f"golden_deeplab_v3_plus_{request.param}.npz") as golden:
        return dict(golden), {"out": logits, **inner, **inner["backbone"]}


@pytest.mark.parametrize("name", list(MAKER["STEPS"]))
def test_it_returns_what_the_transcription_returns(both, name):
    golden, found = both[0][name], MAKER["sample"](name, both[1][name])
    assert found.shape == golden.shape and np.std(golden) > 0
    np.testing.assert_allclose(found, golden, atol=1e-4 * np.abs(golden).max(), rtol=0)
