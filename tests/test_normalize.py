"""Normalisation: its formula, the images it refuses, and the name that runs know it by."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from segjax import experiment, normalize
from segjax.contracts import FULL_SCALE, full_scale
from segjax.description import describe_lines, replace_at
from segjax.errors import InputError
from segjax.normalize import Normalize


def test_normalisation_follows_the_stated_formula():
    image = jnp.asarray([[[[255, 0, 51]]]], jnp.uint8)
    got = Normalize(mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))(image)
    assert jnp.allclose(got, jnp.asarray([[[[1.0, -0.25, 0.1]]]]))
    bgr = Normalize(mean=(1.0, 2.0, 3.0), scale=255.0, reverse_channels=True)(image)
    assert jnp.allclose(bgr, jnp.asarray([[[[50.0, -2.0, 252.0]]]]))
    sixteen = Normalize()(jnp.full((1, 1, 1, 1), 65535, jnp.uint16))
    assert sixteen == 1.0
    with pytest.raises(ValueError, match="mean has 3 numbers, the image 1 .*experiment.UNIT"):
        Normalize(mean=(0.0, 0.0, 0.0))(image[..., :1])


@pytest.mark.parametrize("dtype", sorted(FULL_SCALE))
def test_full_brightness_is_one_in_every_dtype_that_images_may_have(dtype):
    image = np.full((1, 1, 1, 1), FULL_SCALE[dtype], jnp.dtype(dtype))
    assert Normalize()(image) == 1.0 and full_scale(image.dtype) == FULL_SCALE[dtype]


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "uint32"])
def test_an_image_whose_full_brightness_is_not_known_is_refused(dtype):
    with pytest.raises(InputError, match=f"An image is {dtype}, whose full brightness.*uint8"):
        Normalize()(np.ones((1, 1, 1, 1), dtype))


def test_runs_and_scripts_know_normalisation_by_the_experiments_module():
    assert experiment.Normalize is Normalize
    for name in ("UNIT", "SIGNED", "IMAGENET", "CAFFE"):
        assert getattr(experiment, name) is getattr(normalize, name)
    head = next(describe_lines(normalize.CAFFE, path="normalize"))
    assert head == "normalize = segjax.experiment.Normalize"
    assert pickle.loads(pickle.dumps(normalize.CAFFE)) == normalize.CAFFE
    run = replace_at((normalize.UNIT,), "0", "segjax.experiment.CAFFE")
    assert run == (normalize.CAFFE,)
