"""Activations of a PyTorch transcription of DeepLab v3+, stage by stage, for equal weights."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from segjax.backbones.xception import Xception65
from segjax.models.deeplab_v3 import DeepLabV3Plus
from segjax.ops.dispatch import plain

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_deeplab_v3_plus.py"))
IMAGE = jnp.asarray(MAKER["image"]())
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
INNER = ("backbone", "aspp", "decoder_conv1")


def _filled(model):
    """Returns the model's variables, each made from its name in PyTorch."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGE, train=False))
    return jax.tree.unflatten(
        jax.tree.structure(shapes),
        [
            _tensor(".".join([*path[1:-1], LEAVES.get(path[-1], path[-1])]), leaf.shape)
            for path, leaf in sorted(traverse_util.flatten_dict(shapes).items())
        ],
    )


def _tensor(name, shape):
    fill = MAKER["MAKER"]["fill"]
    if len(shape) == 1:
        return jnp.asarray(fill(name, shape))
    height, width, inner, outputs = shape
    return jnp.asarray(fill(name, (outputs, inner, height, width)).transpose(2, 3, 1, 0))


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
