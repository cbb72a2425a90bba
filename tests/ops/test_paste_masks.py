"""Pasting of masks, by hand and in both forms; `test_golden_torchvision.py` has its oracle."""

import jax
import jax.numpy as jnp
import numpy as np

from segjax.ops.paste_masks import paste_mask, paste_masks


def test_a_full_mask_fills_its_box():
    mask = paste_mask(np.ones((28, 28), np.float32), np.asarray([10.0, 20, 38, 48]), (64, 64))
    # The border of zeros takes the half pixel outside, where the mask is about ½.
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 48, 10, 38)
    assert mask.sum() == 29 * 29


def test_left_and_right_halves_stay_left_and_right():
    probabilities = np.zeros((28, 28), np.float32)
    probabilities[:, 14:] = 1
    mask = paste_mask(probabilities, np.asarray([0.0, 0, 40, 40]), (48, 48))
    assert not mask[:, :18].any() and mask[5:35, 23:38].all()


def test_what_leaves_the_image_is_cut_off():
    ones = np.ones((4, 4), np.float32)
    assert paste_mask(ones, np.asarray([-30.0, -30, 40, 40]), (20, 30)).all()
    for box in ([-90.0, 0, -50, 9], [50, 0, 90, 9], [0, -90, 9, -50], [0, 50, 9, 90]):
        assert not paste_mask(ones, np.asarray(box, float), (20, 30)).any()


def test_both_forms_are_one_rule():
    rng = np.random.default_rng(0)
    size, n = (33, 47), 60
    first = rng.uniform(-30, 45, (n, 2))
    boxes = np.concatenate([first, first + rng.uniform(0, 60, (n, 2))], 1).astype("f")
    probabilities = rng.random((n, 14, 14)).astype(np.float32)
    run = jax.jit(lambda p, b: paste_masks(p, b, size))
    found = np.asarray(run(jnp.asarray(probabilities), jnp.asarray(boxes)))
    expected = [paste_mask(*each, size) for each in zip(probabilities, boxes, strict=True)]
    np.testing.assert_array_equal(found, expected)
    assert 0.05 < found.mean() < 0.95
