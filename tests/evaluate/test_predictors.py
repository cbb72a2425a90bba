"""A predictor answers for every pixel of its image, whatever the network's own grid."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import InputError
from segjax.evaluate.predictors import WholeImage, at_output_stride
from segjax.experiment import UNIT
from segjax.models.unet import UNet


def made(**fields):
    model = UNet(num_classes=3, depth=1, features=4, **fields)
    image = jnp.zeros((1, *model.canvas(8, 8), 3))
    return model, jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()


@pytest.mark.parametrize("valid", [False, True])
@pytest.mark.parametrize("size", [(9, 6), (1, 13)])
def test_probabilities_have_the_images_size_and_add_up_to_one(valid, size):
    model, variables = made(valid=valid)
    image = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    found = jax.jit(WholeImage(model, UNIT))(variables, image)
    assert found.shape == (2, *size, 3)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_valid_convolutions_see_the_image_with_mirrored_borders():
    model, variables = made(valid=True)
    image = np.random.default_rng(1).integers(0, 256, (1, 10, 10, 3)).astype(np.uint8)
    height, width = model.canvas(10, 10)
    top, left = (height - 10) // 2, (width - 10) // 2
    around = ((0, 0), (top, height - 10 - top), (left, width - 10 - left), (0, 0))
    mirrored = np.pad(image, around, mode="reflect")
    logits = model.apply(variables, jnp.asarray(mirrored, jnp.float32) / 255, train=False)
    inner = (logits.shape[1] - 10) // 2
    expected = jax.nn.softmax(logits[:, inner : inner + 10, inner : inner + 10])
    found = WholeImage(model, UNIT)(variables, jnp.asarray(image))
    np.testing.assert_allclose(found, expected, atol=1e-6)


class _EveryFourthPixel(nn.Module):
    """Scores of two classes: the image's own at every fourth pixel."""

    label_stride: int = 4

    def __call__(self, image, *, train):
        return image[:, ::4, ::4] * 9.0


@pytest.mark.parametrize("size", [(9, 12), (8, 1), (10, 7)], ids=str)
def test_scores_that_lie_apart_are_interpolated_and_the_last_continues(size):
    image = np.random.default_rng(2).uniform(size=(2, *size, 2)).astype(np.float32)
    scores = image[:, ::4, ::4] * 9
    for axis in (1, 2):
        at = np.minimum(np.arange(size[axis - 1]) / 4, scores.shape[axis] - 1)
        low, part = np.floor(at).astype(int), at % 1
        high = np.minimum(low + 1, scores.shape[axis] - 1)
        part = np.expand_dims(part, [i for i in range(4) if i != axis])
        scores = scores.take(low, axis) * (1 - part) + scores.take(high, axis) * part
    found = WholeImage(_EveryFourthPixel(), UNIT)({}, jnp.asarray(image))
    np.testing.assert_allclose(found, jax.nn.softmax(scores), atol=1e-5)


def test_a_network_without_output_stride_keeps_its_own():
    model, _ = made()
    assert at_output_stride(model, None) is model
    with pytest.raises(InputError, match="UNet has no output stride"):
        at_output_stride(model, 8)


def test_a_network_of_one_class_predicts_nothing():
    image = jnp.zeros((1, 4, 4, 1))
    with pytest.raises(InputError, match="one class, whose softmax is 1 .*num_classes=2"):
        jax.eval_shape(WholeImage(_EveryFourthPixel(), UNIT), {}, image)
