"""The boundary loss against SciPy's distance transform and the sum over pixels."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from segjax.losses import Boundary
from segjax.losses.boundary import signed_distances

RNG = np.random.default_rng(0)


def blobs(size=(9, 11)) -> np.ndarray:
    """A drawn region, and a smaller one beside it."""
    y, x = np.mgrid[: size[0], : size[1]]
    return ((y - 3) ** 2 + (x - 4) ** 2 < 8) | ((y > 6) & (x > 7))


def authors(inside: np.ndarray) -> np.ndarray:
    """φ as in the paper's repository: of binary masks without ignored pixels."""
    outside = ~inside
    return distance_transform_edt(outside) * outside - (
        (distance_transform_edt(inside) - 1) * inside
    )


def test_the_distances_are_those_of_the_authors_code():
    masks = np.stack([blobs(), ~blobs(), RNG.random((9, 11)) < 0.1], axis=-1)[None]
    found = signed_distances(jnp.asarray(masks), jnp.asarray(~masks))
    expected = np.stack([authors(masks[0, ..., c]) for c in range(3)], axis=-1)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_ignored_pixels_belong_neither_to_a_class_nor_to_the_others():
    inside, ignored = blobs(), RNG.random((9, 11)) < 0.3
    to = lambda sites: distance_transform_edt(~sites)
    expected = np.where(
        inside, 1 - to(~inside & ~ignored), np.where(inside, 0, to(inside & ~ignored))
    )
    shape = lambda x: jnp.asarray(x)[None, ..., None]
    found = signed_distances(shape(inside & ~ignored), shape(~inside & ~ignored))
    np.testing.assert_allclose(found[0, ..., 0], np.where(ignored, 0, expected), atol=1e-5)


def test_a_class_that_is_absent_or_has_all_pixels_has_no_distances():
    nothing = jnp.zeros((1, 3, 4, 1), bool)
    assert not np.any(signed_distances(nothing, ~nothing))
    assert not np.any(signed_distances(~nothing, nothing))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_loss_is_the_mean_of_distance_times_probability(activation):
    region = blobs()
    scores = RNG.normal(size=(1, 9, 11, 2))
    weight = RNG.uniform(0.5, 2, (1, 9, 11)).astype(np.float32)
    planes = np.stack([~region, region], axis=-1)
    if activation == "softmax":
        p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        label = region.astype(np.uint8)[None]
    else:
        p = 1 / (1 + np.exp(-scores))
        label = planes.astype(np.uint8)[None]
    phi = np.stack([authors(planes[..., c]) for c in range(2)], axis=-1)
    total = (weight[0, ..., None] * phi * p[0]).sum()
    batch = {"label": jnp.asarray(label), "weight": jnp.asarray(weight)}
    found = Boundary(activation)(jnp.asarray(scores, jnp.float32), batch)["boundary"]
    np.testing.assert_allclose(found, (total, 2 * weight.sum()), rtol=1e-5)
