"""Dilation: published counts, a score for every eighth pixel, a context that starts idle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.models.dilation import BASIC, LARGE, MARGIN, Context, Dilation, identity_init
from segjax.ops.conv import conv_output_size

SMALL = Dilation(num_classes=3, context=BASIC, width=2, features=4)


def _shapes(model, size=(9, 17), **options):
    image = jnp.zeros((1, *size, 3))
    return jax.eval_shape(lambda: model.init(jax.random.key(0), image, **options))


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _channels_of_large():
    return [21, 42, 42, 84, 168, 336, 672, 672]


@pytest.mark.parametrize(
    "context, count",
    [
        (None, 0),
        (BASIC, 64 * 21**2 + 8 * 21),
        (
            LARGE,
            sum(
                9 * i * o + o
                for i, o in zip(_channels_of_large(), _channels_of_large()[1:], strict=False)
            )
            + 672 * 21
            + 21,
        ),
    ],
    ids=["front end", "basic", "large"],
)
def test_parameters_are_as_many_as_published(context, count):
    params = _shapes(Dilation(num_classes=21, context=context), train=False)["params"]
    assert _count(params) == 134_346_581 + count


@pytest.mark.parametrize("size", [(1, 2), (8, 9), (528, 65)], ids=str)
def test_there_is_a_score_for_every_eighth_pixel_of_any_image(size):
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    apply = lambda v, x: SMALL.apply(v, x, train=False)
    scores = jax.eval_shape(apply, _shapes(SMALL, train=False), image)
    labels = np.zeros(size)[:: SMALL.label_stride, :: SMALL.label_stride]
    assert (scores.shape, scores.dtype) == ((1, *labels.shape, 3), jnp.float32)


def test_a_crop_of_900_pixels_gives_66_scores():
    side = 900
    for stage, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for _ in range(convolutions):
            side = conv_output_size(side, 3, dilation=2 if stage == 5 else 1)
        side = conv_output_size(side, 2, stride=2) if stage <= 3 else side
    assert conv_output_size(side, 7, dilation=4) == 66 == (900 - 2 * MARGIN) // 8


@pytest.mark.slow_but("basic")
@pytest.mark.parametrize("channels", [BASIC, LARGE], ids=["basic", "large"])
def test_a_fresh_context_returns_what_it_is_given_away_from_the_border(channels):
    model = Context(num_classes=3, channels=channels)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 73, 75, 3)), jnp.float32)
    found = jax.jit(lambda x: model.init_with_output(jax.random.key(0), x)[0])(x)
    # Only Large's other weights are noise, of 1% of each share.
    inside = np.s_[:, 33:-33, 33:-33]
    np.testing.assert_allclose(
        found[inside], x[inside], atol=1e-6 if channels == BASIC else 0.1
    )


def test_a_context_sees_33_scores_to_each_side():
    model = Context(num_classes=2)
    x = jnp.zeros((1, 1, 81, 2))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), shapes)
    one = x.at[0, 0, 40, 0].set(1.0)
    apply = jax.jit(lambda x: model.apply(variables, x))
    seen = np.flatnonzero(np.any(apply(one) != apply(x), axis=(0, 1, 3)))
    assert (seen.min(), seen.max(), len(seen)) == (40 - 33, 40 + 33, 67)


def test_the_identity_shares_a_class_among_its_channels():
    key = jax.random.key(0)
    kernel = identity_init(2, noise=0.0)(key, (3, 3, 4, 8))
    expected = np.kron(np.eye(2), np.full((2, 4), 2 / 8))
    np.testing.assert_array_equal(kernel[1, 1], expected)
    assert np.abs(kernel).sum() == expected.sum()
    noisy = identity_init(2)(key, (3, 3, 4, 8))
    assert 0.5 < np.std(noisy[0]) / (0.01 * 2 / 8) < 1.5


def test_scores_of_the_front_end_move_with_the_image():
    model = SMALL.clone(context=None)
    rng = np.random.default_rng(0)
    scale = lambda shape: np.sqrt(2 / np.prod(shape[:3])) if len(shape) == 4 else 0.2
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, scale(leaf.shape), leaf.shape), jnp.float32),
        _shapes(model, train=False),
    )
    # Mirrored twice: a period of 16 pixels, so that the margin goes on like the image.
    half = rng.normal(size=(9, 9, 3))
    image = np.pad(half, ((0, 8), (0, 16), (0, 0)), mode="reflect").astype(np.float32)
    pair = jnp.asarray([image[:, :17], image[:, 8:]])
    one, other = jax.jit(lambda v: model.apply(v, pair, train=False))(variables)
    assert np.std(one) > 1e-3
    np.testing.assert_allclose(other[:, :2], one[:, 1:3], rtol=1e-4, atol=1e-5)
