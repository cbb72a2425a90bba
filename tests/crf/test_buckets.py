"""One program for images of many sizes against the programs for each size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.crf import bucket_program, buckets
from segjax.crf.dense import Appearance, Smoothness, dense_crf
from segjax.crf.host_lattice import (
    _elevate,
    _sorted,
    build_host_lattice,
    host_features,
    sums_of_ones,
)
from segjax.crf.kernels import appearance_features
from segjax.crf.lattice import build_lattice, lattice_filter
from segjax.crf.simplex import elevation
from segjax.ops.dispatch import plain


def picture(h, w, k=3, channels=3, seed=0):
    """Returns probabilities h w k and an image of two flat colours with noise."""
    rng = np.random.default_rng(seed)
    inside = (np.mgrid[:h, :w] ** 2).sum(0) < 400
    image = np.where(inside[..., None], 170, 60) + rng.normal(size=(h, w, channels)) * 8
    scores = np.eye(k)[inside.astype(int)] + rng.normal(size=(h, w, k))
    return np.asarray(jax.nn.softmax(scores), np.float32), image.astype(np.uint8)


MATRIX = np.random.default_rng(1).normal(size=(5, 5)).astype(np.float32)
CASES = {
    "symmetric": ((40, 30), 3, {}),
    "before": ((40, 30), 3, {"normalization": "before"}),
    "after": ((30, 40), 3, {"normalization": "after"}),
    "none": (
        (30, 40),
        3,
        {
            "normalization": "none",
            "smoothness": Smoothness(0.1),
            "appearance": Appearance(0.02),
        },
    ),
    "two widths": ((33, 50), 5, {"smoothness": Smoothness(2, (1.0, 4.5))}),
    "a matrix": ((33, 50), 5, {"compatibility": MATRIX}),
    "a vector": ((33, 50), 5, {"appearance": Appearance((-3.0, -2.0, 0.0, -1.0, -4.0))}),
    "one row": ((1, 60), 3, {}),
    "one column": ((60, 1), 3, {}),
    "position alone": ((20, 24), 3, {"appearance": None}),
    "appearance alone": ((20, 24), 3, {"smoothness": None}),
    "no kernel": ((20, 24), 3, {"smoothness": None, "appearance": None}),
    "no rounds": ((20, 24), 3, {"iterations": 0}),
    "nine classes": ((20, 24), 9, {"iterations": 1}),
}


@pytest.mark.slow_but("symmetric", "two widths", "a matrix", "no rounds")
@pytest.mark.parametrize("name", CASES)
def test_a_bucket_gives_the_marginals_of_the_size_itself(name, monkeypatch):
    (h, w), k, options = CASES[name]
    probabilities, image = picture(h, w, k)
    with monkeypatch.context() as patch:
        calls, usual = [], bucket_program.infer
        counted = lambda *args, **named: (calls.append(1), usual(*args, **named))[1]
        patch.setattr(bucket_program, "infer", counted)
        found = dense_crf(probabilities, image, **{"iterations": 3} | options)
    with plain():
        expected = dense_crf(probabilities, image, **{"iterations": 3} | options)
    assert calls
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.slow_but("3")
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_number_of_axes_may_be_odd_or_even(channels):
    probabilities, image = picture(20, 24, channels=channels)
    found = dense_crf(probabilities, image, iterations=2)
    with plain():
        expected = dense_crf(probabilities, image, iterations=2)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_points_of_hundreds_of_pixels_are_summed_in_several_levels():
    probabilities, image = picture(48, 44)
    image = np.where(image > 120, 170, 60).astype(np.uint8)
    wide = Appearance(4, 400, 40)
    lattice = build_host_lattice(host_features(image, (400.0, 400.0, 40.0, 40.0, 40.0)))
    assert lattice.degree.max() > buckets.WIDTH**2
    found = dense_crf(probabilities, image, iterations=2, appearance=wide)
    with plain():
        expected = dense_crf(probabilities, image, iterations=2, appearance=wide)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_sizes_counts_and_widths_of_a_bucket_share_one_program():
    options = {"iterations": 2}
    dense_crf(*picture(30, 41, 4), **options)
    ready = bucket_program.infer._cache_size()
    for h, w, k, iterations in ((41, 30, 4, 2), (17, 55, 7, 2), (90, 60, 2, 1)):
        probabilities, image = picture(h, w, k)
        given = {"smoothness": Smoothness(1, 2), "appearance": Appearance(2, 30, 9)}
        dense_crf(probabilities, image, iterations=iterations, **given)
    assert bucket_program.infer._cache_size() == ready


def test_a_lattice_of_more_points_than_pixels_has_a_program_of_its_own():
    probabilities, _ = picture(60, 70)
    image = np.random.default_rng(0).integers(0, 256, (60, 70, 3)).astype(np.uint8)
    lattice = build_host_lattice(host_features(image, (49.0, 49.0, 5.0, 5.0, 5.0)))
    assert len(lattice.degree) > 0.75 * 2**14
    dense_crf(*picture(60, 70), iterations=1)
    ready = bucket_program.infer._cache_size()
    found = dense_crf(probabilities, image, iterations=1)
    assert bucket_program.infer._cache_size() == ready + 1
    with plain():
        expected = dense_crf(probabilities, image, iterations=1)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_sorting_in_two_threads_keeps_the_order_of_equal_keys():
    for count in (1, 2, 1001):
        keys = np.random.default_rng(0).integers(0, 9, count)
        np.testing.assert_array_equal(_sorted(keys), np.argsort(keys, kind="stable"))


def test_features_are_elevated_as_by_the_matrix():
    features = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    np.testing.assert_allclose(_elevate(features), elevation(5) @ features, atol=1e-5)


def test_a_batch_is_its_images():
    parts = [picture(20, 24, seed=seed) for seed in (0, 1)]
    batch = dense_crf(*(np.stack(arrays) for arrays in zip(*parts, strict=True)), iterations=2)
    for found, (probabilities, image) in zip(batch, parts, strict=True):
        np.testing.assert_array_equal(found, dense_crf(probabilities, image, iterations=2))


def test_the_host_builds_the_lattice_that_xla_builds():
    _, image = picture(23, 31)
    widths = (9.0, 8.0, 20.0, 15.0, 20.0)
    lattice = build_host_lattice(host_features(image, widths))
    features = appearance_features(jnp.asarray(image), widths)
    other = jax.jit(build_lattice)(features)
    assert int(other.count) == len(lattice.degree) - 1
    np.testing.assert_allclose(lattice.weight, other.weight, atol=1e-5)
    sums = jax.jit(lattice_filter)(other, features, jnp.ones((len(features), 1)))[:, 0]
    np.testing.assert_allclose(sums_of_ones(lattice), sums, rtol=1e-5)


@pytest.mark.parametrize(
    "h, w, sigmas, taken",
    [
        (375, 500, (3.0, 3.0), True),
        (375, 500, None, True),
        (375, 500, (5.0, 1.0), True),
        (375, 500, (5.1, 1.0), False),
        (2100, 2100, (3.0, 3.0), False),
        (3, 300, (3.0, 3.0), True),
        (3, 300_000, (3.0, 3.0), False),
    ],
)
def test_a_bucket_takes_ordinary_images_and_narrow_widths(h, w, sigmas, taken):
    assert buckets.fits(h, w, sigmas) == taken


def test_keys_of_more_bits_than_a_number_has_are_left_to_the_size_itself():
    probabilities, image = picture(20, 24)
    thin = Appearance(2, 0.01, 0.01)
    assert build_host_lattice(host_features(image, (0.01,) * 5)) is None
    found = dense_crf(probabilities, image, iterations=1, appearance=thin)
    assert np.isfinite(found).all()
