"""Activations of independent PyTorch transcriptions, stage by stage, for the same weights."""

import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.models.fc_densenet import FCDenseNet
from segjax.models.segnet import SegNet, SegNetBasic
from segjax.models.u2net import U2Net
from segjax.models.unet import EncoderUNet

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_encoder_decoder.py"))
BY_NAME = runpy.run_path(str(FOLDER.parent / "fill.py"))["by_name"]


class Fixed(nn.Module):
    """The backbone that the transcribed decoder stands on."""

    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, image, *, train):
        assert image.shape == (1, 64, 64, 3)
        maps = MAKER["features"]()
        return {f"c{i}": jnp.asarray(array) for i, array in enumerate(maps, start=1)}


MODELS = {
    "fc_densenet": FCDenseNet(num_classes=11, layers=(2, 3, 2, 2, 3), growth=12),
    "segnet": SegNet(num_classes=11, stages=((8, 8), (16, 16), (16, 16, 24))),
    "segnet_basic": SegNetBasic(num_classes=11, features=16),
    "u2net": U2Net(
        num_classes=2,
        encoder=((5, 4, 8), (4, 4, 8), (4, 4, 8)),
        decoder=((5, 4, 8), (4, 4, 8)),
    ),
    "encoder_unet": EncoderUNet(Fixed(), num_classes=2, features=(16, 12, 8, 8, 4)),
}


def _filled(model, x):
    """Returns the model's variables, each made from its path, as the transcriptions' are."""
    return BY_NAME(jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False)))


@pytest.mark.parametrize("name", MODELS)
def test_every_stage_returns_what_the_papers_transcription_returns(name):
    model, x = MODELS[name], jnp.asarray(MAKER["image"](name))
    with np.load(FOLDER / f"golden_{name}.npz") as file:
        golden = dict(file)
    keep = lambda module, method: method == "__call__" and module.name in golden
    apply = lambda v: model.apply(
        v, x, train=False, capture_intermediates=keep, mutable=["intermediates"]
    )
    logits, captured = jax.jit(apply)(_filled(model, x))
    found = {k: v["__call__"][0] for k, v in captured["intermediates"].items()}
    found["out"] = logits
    assert set(found) == set(golden)
    for stage, expected in golden.items():
        array = MAKER["sample"](found[stage])
        assert array.shape == expected.shape
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(array, expected, atol=atol, rtol=0, err_msg=stage)
