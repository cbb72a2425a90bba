"""Which networks can be traced for any height and width, and what the others are told."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from segjax.evaluate.predictors import WholeImage
from segjax.evaluate.serialise import frozen, stablehlo
from segjax.experiment import IMAGENET
from segjax.models.unet import UNet

CONTRACT = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "models/test_contract.py"))
NUMBERS_NEEDED = ("deeplab_v1_msc", "deeplab_v2")


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch) -> None:
    """The suite's check of shapes knows integers only."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def answer_of(model):
    variables = CONTRACT["_variables"](model)
    predict = WholeImage(model, IMAGENET)
    return frozen(predict, variables, channels=3, classes=False, fold=False)


@pytest.mark.parametrize("name", [n for n in CONTRACT["MODELS"] if n not in NUMBERS_NEEDED])
def test_the_answer_has_the_images_height_and_width_whatever_they_are(name):
    constraints = ["h >= 32", "w >= 32"]
    shape = jax.export.symbolic_shape("b, h, w, 3", constraints=constraints)
    image = jax.ShapeDtypeStruct(shape, jnp.uint8)
    found = jax.eval_shape(answer_of(CONTRACT["MODELS"][name]), image)
    assert (found.shape, found.dtype) == ((*shape[:3], 3), jnp.float32)


@pytest.mark.parametrize("name", NUMBERS_NEEDED)
def test_a_network_that_needs_numbers_is_refused_and_the_reason_is_one_line(name):
    with pytest.raises(ValueError, match="cannot be traced for any size") as raised:
        stablehlo(answer_of(CONTRACT["MODELS"][name]), size=None, channels=3, platforms=["cpu"])
    assert "\n" not in str(raised.value)


def test_one_file_is_for_all_platforms_and_any_batch():
    model = UNet(num_classes=2, depth=1, features=2)
    exported = stablehlo(
        answer_of(model), size=(8, 6), channels=3, platforms=["cpu", "cuda", "tpu"]
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [str(aval.shape) for aval in exported.in_avals] == ["(b, 8, 6, 3)"]
