"""The draw of anchors and proposals: counts, uniformity, what decides it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.detection.matching import IGNORED, NEGATIVE, POSITIVE
from segjax.detection.sampling import sample


def labels(positive: int, negative: int, ignored: int = 5):
    values = [POSITIVE] * positive + [NEGATIVE] * negative + [IGNORED] * ignored
    return np.random.default_rng(0).permutation(values)


@pytest.mark.parametrize(
    ("positive", "negative", "drawn"),
    [(20, 30, (4, 12)), (2, 30, (2, 14)), (20, 5, (4, 5)), (0, 3, (0, 3)), (0, 0, (0, 0))],
)
def test_negatives_fill_what_positives_leave(positive, negative, drawn):
    label = labels(positive, negative, ignored=60 - positive - negative)
    index, valid = sample(jax.random.key(1), jnp.asarray(label), count=16, positives=4)
    found = label[np.asarray(index)][np.asarray(valid)]
    assert ((found == POSITIVE).sum(), (found == NEGATIVE).sum()) == drawn
    assert len(found) == sum(drawn)
    # Positives come first, then negatives, then slots that are left over.
    assert found.tolist() == sorted(found.tolist(), reverse=True)
    assert np.asarray(valid).tolist() == sorted(np.asarray(valid).tolist(), reverse=True)
    chosen = np.asarray(index)[np.asarray(valid)]
    assert len(set(chosen.tolist())) == len(chosen)


def test_there_are_no_more_slots_than_boxes():
    index, valid = sample(jax.random.key(0), jnp.zeros(3, jnp.int32), count=16, positives=4)
    assert index.shape == valid.shape == (3,)
    assert bool(valid.all())


def test_every_box_of_a_kind_is_drawn_equally_often():
    label = jnp.asarray(labels(8, 24))
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.jit(jax.vmap(lambda key: sample(key, label, count=12, positives=4)))
    index, valid = (np.asarray(each) for each in draw(keys))
    assert valid.all()
    times = np.bincount(index.ravel(), minlength=len(label))
    for kind, share in (POSITIVE, 4 / 8), (NEGATIVE, 8 / 24), (IGNORED, 0):
        of_kind = times[np.asarray(label) == kind] / len(keys)
        # Five standard deviations of a binomial share.
        np.testing.assert_allclose(of_kind, share, atol=5 * 0.5 / np.sqrt(len(keys)))
        assert of_kind.size


def test_pairs_are_drawn_equally_often():
    label = jnp.ones(4, jnp.int32)
    keys = jax.random.split(jax.random.key(2), 6000)
    draw = jax.jit(jax.vmap(lambda key: sample(key, label, count=2, positives=2).index))
    pairs = np.sort(np.asarray(draw(keys)), -1)
    times = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    assert (times > 0).sum() == 6
    np.testing.assert_allclose(times[times > 0] / len(keys), 1 / 6, atol=0.03)


def test_the_key_alone_decides_the_draw():
    label = jnp.asarray(labels(20, 40))
    draw = lambda seed: sample(jax.random.key(seed), label, count=16, positives=4).index
    assert draw(0).tolist() == draw(0).tolist()
    assert draw(0).tolist() != draw(1).tolist()
