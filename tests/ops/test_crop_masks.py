"""Crops of masks against plain loops over samples in float64."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.crop_masks import crop_masks


def _value(mask, y, x):
    """Returns the mask at a point, interpolated between pixels."""
    height, width = mask.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = mask[top, left] * (1 - x + left) + mask[top, right] * (x - left)
    lower = mask[bottom, left] * (1 - x + left) + mask[bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def _crop(mask, box, size):
    """Returns the crop: one sample for each pixel of a bin, rounded up."""
    x0, y0, x1, y1 = (float(each) for each in box)
    height, width = max(y1 - y0, 1) / size, max(x1 - x0, 1) / size
    rows, columns = math.ceil(height), math.ceil(width)
    crop = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            points = [
                (y0 + (i + (k + 0.5) / rows) * height, x0 + (j + (n + 0.5) / columns) * width)
                for k in range(rows)
                for n in range(columns)
            ]
            crop[i, j] = np.mean([_value(mask, *point) for point in points])
    return crop


def test_crops_are_those_of_the_loop_over_samples():
    rng = np.random.default_rng(0)
    masks = rng.random((4, 21, 37)) < 0.5
    first = rng.uniform(0, (36, 20), (40, 2))
    boxes = np.concatenate([first, rng.uniform(first, (37, 21))], 1).astype(np.float32)
    boxes[0] = 0, 0, 37, 21
    index = rng.integers(0, 4, 40).astype(np.int32)
    run = jax.jit(functools.partial(crop_masks, size=5, width=37))
    packed = jnp.asarray(np.packbits(masks, axis=-1))
    found = run(packed, jnp.asarray(boxes), jnp.asarray(index))
    expected = [_crop(masks[i], box, 5) for i, box in zip(index, boxes, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_crops_of_a_batch_are_those_of_its_images():
    rng = np.random.default_rng(0)
    packed = jnp.asarray(np.packbits(rng.random((2, 3, 16, 16)) < 0.5, axis=-1))
    boxes = jnp.asarray([[[1.0, 2, 9, 12], [0, 0, 16, 16]], [[4.0, 4, 5, 5], [3, 0, 8, 16]]])
    index = jnp.asarray([[0, 1], [2, 0]])
    crop = functools.partial(crop_masks, size=4, width=16)
    found = jax.vmap(crop)(packed, boxes, index)
    for i in range(2):
        np.testing.assert_allclose(found[i], crop(packed[i], boxes[i], index[i]), atol=1e-6)


def test_another_width_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="Masks 20 wide have 3 bytes, got"):
        boxes, index = jnp.zeros((1, 4)), jnp.zeros(1, int)
        crop_masks(jnp.zeros((1, 4, 2), jnp.uint8), boxes, index, size=2, width=20)
