"""Which networks can be traced for any height and width, and what the others are told."""

import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from segjax.evaluate.predictors import WholeImage
from segjax.experiment import IMAGENET
from segjax.export.stablehlo import REFUSALS, frozen, reason, stablehlo
from segjax.layers.conv import ConvNorm
from segjax.models.unet import UNet

SMALL = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "models/small_networks.py"))
NUMBERS_NEEDED = ("deeplab_v1_msc", "deeplab_v2")


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch) -> None:
    """The suite's check of shapes knows integers only."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Particular(nn.Module):
    """A network that takes sides of 8n + 1, and with `batches` needs to know the batch."""

    batches: bool = False

    @nn.compact
    def __call__(self, image, *, train):
        batch, *sides, _ = image.shape
        if any(side % 8 != 1 for side in sides):
            raise ValueError(f"Sides are 8n + 1, got {sides[0]}x{sides[1]}.\nSecond line.")
        x = ConvNorm(2, 3, name="conv")(image, train=train)
        return x[:8] if self.batches and batch > 8 else x


def answer_of(model, size=None, *, fold=False):
    if isinstance(model, Particular):
        image = jnp.zeros((1, 33, 33, 3))
        variables = jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()
    else:
        variables = SMALL["variables_of"](model)
    predict = WholeImage(model, IMAGENET)
    return frozen(predict, variables, size=size, channels=3, fold=fold)


@pytest.mark.parametrize("name", [n for n in SMALL["MODELS"] if n not in NUMBERS_NEEDED])
def test_the_answer_has_the_images_height_and_width_whatever_they_are(name):
    constraints = ["h >= 32", "w >= 32"]
    shape = jax.export.symbolic_shape("b, h, w, 3", constraints=constraints)
    image = jax.ShapeDtypeStruct(shape, jnp.uint8)
    found = jax.eval_shape(answer_of(SMALL["MODELS"][name]), image)
    assert (found.shape, found.dtype) == ((*shape[:3], 3), jnp.float32)


@pytest.mark.parametrize("name", NUMBERS_NEEDED)
def test_a_network_that_needs_numbers_is_refused_and_the_reason_is_one_line(name):
    with pytest.raises(ValueError, match="cannot be traced for any size") as raised:
        stablehlo(answer_of(SMALL["MODELS"][name]), size=None, channels=3, platforms=["cpu"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fold", [False, True])
def test_a_network_is_traced_at_the_size_that_is_asked_for(fold):
    answer = answer_of(Particular(), (9, 17), fold=fold)
    exported = stablehlo(answer, size=(9, 17), channels=3, platforms=["cpu"])
    assert str(exported.out_avals[0].shape) == "(b, 9, 17, 2)"
    with pytest.raises(REFUSALS, match="Sides are 8n . 1, got 16x17"):
        answer_of(Particular(), (16, 17), fold=fold)


def test_a_network_that_needs_to_know_the_batch_is_told_so_and_not_that_its_size_is_wrong():
    answer = answer_of(Particular(batches=True), (9, 9))
    with pytest.raises(
        ValueError, match="cannot be traced for any batch .*'b' > '8'"
    ) as raised:
        stablehlo(answer, size=(9, 9), channels=3, platforms=["cpu"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("one\ntwo"), "one"), (TypeError(), "TypeError")]
)
def test_a_reason_is_the_first_line_of_an_error_or_its_name(error, line):
    assert reason(error) == line


def test_one_file_is_for_all_platforms_and_any_batch():
    model = UNet(num_classes=2, depth=1, features=2)
    exported = stablehlo(
        answer_of(model), size=(8, 6), channels=3, platforms=["cpu", "cuda", "tpu"]
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [str(aval.shape) for aval in exported.in_avals] == ["(b, 8, 6, 3)"]
